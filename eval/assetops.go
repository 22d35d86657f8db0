package eval

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"edgeagent"
)

// Files of AssetOpsBench's sample data, github.com/IBM/AssetOpsBench. Meters
// need not be there.
const (
	fileRules   = "alert_rule.csv"
	filePairs   = "alert_rule_failure_code_mapping.csv"
	fileCodes   = "primary_failure_codes.csv"
	fileAllCode = "failure_codes.csv"
	fileMeters  = "alert_rule_meter_mapping.csv"
)

// AssetOps is what was read of the benchmark's files.
type AssetOps struct {
	Items []Item
	Rules int // of the rules' file
	Pairs int // of rule and failure code
	Codes int // failure codes that are known
	Notes []string
}

// LoadAssetOps makes an item of every rule: the alarm is the rule, its meters
// are tags without a value, and the failures that the benchmark maps to it are
// accepted, by their words. A missing or malformed file is an error; a rule
// without a failure, or with one that nobody describes, is noted and left out.
func LoadAssetOps(folder fs.FS) (AssetOps, error) {
	rules, err1 := readCSV(folder, fileRules, "rule_id", "rule_name")
	pairs, err2 := readCSV(folder, filePairs, "rule_id", "primary_code", "primary_code_description")
	codes, err3 := readCSV(folder, fileCodes, "primary_code", "primary_code_description")
	if errors.Is(err3, fs.ErrNotExist) {
		codes, err3 = readCSV(folder, fileAllCode, "primary_code", "primary_code_description")
	}
	meters, err4 := readCSV(folder, fileMeters, "rule_id", "meter")
	if errors.Is(err4, fs.ErrNotExist) {
		meters, err4 = nil, nil
	}
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return AssetOps{}, err
	}
	known := map[string]string{}
	for _, c := range codes {
		known[c["primary_code"]] = c["primary_code_description"]
	}
	b := AssetOps{Rules: len(rules), Pairs: len(pairs), Codes: len(known)}
	for _, r := range rules {
		b.add(r, where(pairs, r), where(meters, r), known)
	}
	if len(b.Items) == 0 {
		return b, errors.New("no rule has a failure that is described; check that the files belong together")
	}
	return b, nil
}

func where(rows []map[string]string, rule map[string]string) []map[string]string {
	return slices.DeleteFunc(slices.Clone(rows), func(r map[string]string) bool { return r["rule_id"] != rule["rule_id"] })
}

func (b *AssetOps) add(rule map[string]string, pairs, meters []map[string]string, known map[string]string) {
	it := Item{ID: rule["rule_id"], Category: "assetopsbench", Title: rule["rule_name"]}
	for _, p := range pairs {
		code, text := p["primary_code"], p["primary_code_description"]
		if text == "" {
			text = known[code]
		}
		if known[code] == "" {
			b.Notes = append(b.Notes, fmt.Sprintf("%s: failure code %s is not in the list of codes", it.ID, code))
		}
		if c := causeOf(text); len(c) > 0 {
			it.Accept = append(it.Accept, c, Cause{{code}})
		}
		if it.Truth == "" {
			it.Truth = withoutBrackets(text)
		}
		it.Why += code + " " + text + "; "
	}
	it.Why = strings.TrimSuffix(it.Why, "; ")
	it.Case = ruleCase(rule, meters)
	it.fill()
	it.Hash = hashOf([]byte(it.ID + it.Title + it.Why))
	if err := it.check(); err != nil {
		b.Notes = append(b.Notes, fmt.Sprintf("%s is left out: %v", it.ID, err))
		return
	}
	b.Items = append(b.Items, it)
}

// ruleTime stands for the time of an alarm that has none.
var ruleTime = time.Date(2020, 11, 24, 19, 0, 0, 0, time.UTC)

func ruleCase(rule map[string]string, meters []map[string]string) edgeagent.Case {
	asset, _, _ := strings.Cut(rule["rule_name"], " - ")
	device := strings.ToLower(strings.Join(fold(asset), "_"))
	ev := &edgeagent.Evidence{At: ruleTime, Gaps: []string{"no value was recorded"}}
	for _, m := range meters {
		tag := device + "." + strings.Join(fold(m["meter"]), "_")
		if !slices.ContainsFunc(ev.Tags, func(f edgeagent.Feature) bool { return f.Tag == tag }) {
			ev.Tags = append(ev.Tags, edgeagent.Feature{Tag: tag, Reason: edgeagent.NewNote(edgeagent.ReasonNeverRead, "no value was recorded")})
		}
	}
	a := edgeagent.Alarm{Device: device, Code: rule["rule_id"], Text: strings.Join(strings.Fields(rule["rule_name"]), " "), Priority: 3, RaisedAt: ruleTime, FirstOut: true}
	return edgeagent.Case{Line: asset, Area: "Utilities", Alarms: []edgeagent.CaseAlarm{{Alarm: a, Evidence: ev}}}
}

// causeOf makes groups of the words of a failure's description.
func causeOf(text string) Cause {
	var c Cause
	for _, word := range fold(withoutBrackets(text)) {
		if len(word) <= shortTerm && word != "vfd" || idle[word] {
			continue
		}
		if alike, known := synonyms[word]; known {
			c = append(c, alike)
			continue
		}
		c = append(c, []string{stem(word)})
	}
	return c
}

func withoutBrackets(s string) string {
	head, rest, found := strings.Cut(s, "(")
	if !found {
		return s
	}
	_, tail, _ := strings.Cut(rest, ")")
	return head + tail
}

// idle words say nothing of a failure.
var idle = map[string]bool{"issues": true, "issue": true, "general": true, "other": true, "system": true, "with": true, "from": true}

var failing = []string{"fail", "fault", "defect", "broken", "malfunction", "breakdown", "damage", "error", "defekt", "ausfall", "ausgefallen", "stoer"}

// synonyms are the words that a person might write in place of the benchmark's.
var synonyms = map[string][]string{
	"failure": failing, "malfunction": failing, "fault": failing,
	"plugged": {"plug", "clog", "block", "foul", "scal", "obstruct", "verstopft", "verschmutz"},
	"leak":    {"leak", "*leck", "undicht"}, "leakage": {"leak", "*leck", "undicht"}, "seepage": {"seep", "leak", "*leck", "undicht"},
	"sensor": {"sensor", "transducer", "transmitter", "probe", "*fuehler", "*geber"}, "transducer": {"sensor", "transducer", "transmitter"},
	"calibration": {"calibrat", "kalibr", "*kalibr"}, "drift": {"drift", "offset", "out of calibration", "inaccura", "verstellt"},
	"overloading": {"overload", "excessive load", "*ueberlast"}, "overheating": {"overheat", "excessive temperature", "*ueberhitz"},
	"vibration": {"vibrat", "*schwing"}, "vfd": {"vfd", "variable frequency drive", "variable speed drive", "inverter", "drive", "*umrichter"},
	"control": {"control", "controller", "bms", "plc", "*steuerung", "*regelung", "setpoint"}, "compressor": {"compressor", "*verdichter", "*kompressor"},
	"condenser": {"condenser", "*verfluessiger", "*kondensator"}, "deformation": {"deform", "bent", "warp", "distort", "verformt", "verbogen"},
	"wear": {"wear", "worn", "*verschleiss", "verschliss"}, "piping": {"pip", "pipe", "*rohr", "*leitung"}, "tube": {"tube", "*rohr"},
}

// stem cuts the endings that a description and an answer write differently.
func stem(word string) string {
	for _, end := range []string{"ing", "ion", "ed", "es", "s"} {
		if cut, ok := strings.CutSuffix(word, end); ok && len(cut) > shortTerm+1 {
			return cut
		}
	}
	return word
}

// maxFile is more than any of the files has.
const maxFile = 16 << 20

// readCSV reads the rows of a file by the names of its columns; columns that are
// not asked for are read too.
func readCSV(folder fs.FS, name string, needed ...string) ([]map[string]string, error) {
	f, err := folder.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read the benchmark: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(data, []byte("\ufeff"))))
	r.FieldsPerRecord, r.LazyQuotes = -1, true
	rows, err := r.ReadAll()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("%s is empty; want a line of headings", name)
	}
	for _, n := range needed {
		if !slices.Contains(rows[0], n) {
			return nil, fmt.Errorf("%s:1: no column %q; it has %s", name, n, strings.Join(rows[0], ", "))
		}
	}
	return byName(rows), nil
}

func byName(rows [][]string) []map[string]string {
	var out []map[string]string
	for _, row := range rows[1:] {
		m := map[string]string{}
		for i, cell := range row[:min(len(row), len(rows[0]))] {
			m[rows[0][i]] = strings.TrimSpace(cell)
		}
		out = append(out, m)
	}
	return out
}
