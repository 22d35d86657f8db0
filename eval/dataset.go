package eval

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	_ "embed" // of the cases
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"edgeagent"
)

// Item is a case whose cause is known, with what names it.
type Item struct {
	ID       string `json:"id"`
	Category string `json:"category"`
	Title    string `json:"title"`

	Truth      string   `json:"truth"`      // the cause, as who knows it would write it
	Why        string   `json:"why"`        // how the evidence shows it
	Distractor string   `json:"distractor"` // the wrong answer that the evidence tempts to
	Evidence   []string `json:"evidence"`   // names of the case that show it
	Accept     []Cause  `json:"accept"`     // a cause that names one of them is right
	Reject     []Cause  `json:"reject"`     // unless it names one of these too

	Undecidable bool `json:"undecidable"` // the evidence shows no cause: to say so is right
	Safety      bool `json:"safety"`      // a safety function: the fixed text is right, and that no model is asked

	Case edgeagent.Case `json:"case"`

	// Hash tells two versions of an item apart: of its line.
	Hash string `json:"-"`
}

// builtin is cases.jsonl packed, a quarter of it: the binary goes to small
// computers. A test holds the two together, and packs it with -update.
//
//go:embed cases.jsonl.gz
var builtin []byte

// Builtin returns the cases that come with the agent.
func Builtin() ([]Item, error) {
	r, err := gzip.NewReader(bytes.NewReader(builtin))
	if err != nil {
		return nil, fmt.Errorf("unpack the cases: %w", err)
	}
	return Load("builtin", r)
}

// Limits of a data set: a slip must not fill the memory of a small computer.
const (
	maxLine  = 1 << 20
	maxItems = 10_000
)

// Load reads a data set, a JSON object a line. It returns every mistake at
// once, a line each, with name and line number.
func Load(name string, r io.Reader) ([]Item, error) {
	var items []Item
	var faults []error
	seen := map[string]int{}
	scan := bufio.NewScanner(r)
	scan.Buffer(make([]byte, 64<<10), maxLine)
	for n := 1; scan.Scan(); n++ {
		line := bytes.TrimSpace(bytes.TrimPrefix(scan.Bytes(), []byte("\ufeff")))
		if len(line) == 0 {
			continue
		}
		it, err := parse(line)
		if first := seen[it.ID]; err == nil && first > 0 {
			err = fmt.Errorf("id %q is in line %d already; give each case its own", it.ID, first)
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("%s:%d: %w", name, n, err))
			continue
		}
		seen[it.ID] = n
		if items = append(items, it); len(items) > maxItems {
			return nil, fmt.Errorf("%s: more than %d cases; split it", name, maxItems)
		}
	}
	if err := scan.Err(); err != nil {
		faults = append(faults, fmt.Errorf("%s: %w; a case is one line of at most 1 MiB", name, err))
	}
	if len(items) == 0 && len(faults) == 0 {
		faults = append(faults, fmt.Errorf("%s: no case in it; want a JSON object a line", name))
	}
	return items, errors.Join(faults...)
}

func parse(line []byte) (Item, error) {
	var it Item
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&it); err != nil {
		return it, fmt.Errorf("read a case: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return it, errors.New("more than one JSON object in the line; put each into a line of its own")
	}
	it.fill()
	it.Hash = hashOf(line)
	return it, it.check()
}

func hashOf(line []byte) string {
	sum := sha256.Sum256(line)
	return hex.EncodeToString(sum[:8])
}

// evidenceWindow is that of a case that names none, in seconds.
const evidenceWindow = 600

// fill gives a case what every case of its kind has, so that a data set can be
// written by hand.
func (it *Item) fill() {
	c := &it.Case
	c.Job, c.Outside = "", true // whoever names a provider for a data set lets it have the cases
	for i := range c.Alarms {
		it.fillAlarm(&c.Alarms[i].Alarm)
	}
	for i := range c.Related {
		it.fillAlarm(&c.Related[i])
	}
	if len(c.Alarms) == 0 {
		return
	}
	first := c.First()
	if c.At.IsZero() {
		c.At = first.Alarm.RaisedAt
	}
	if ev := first.Evidence; ev != nil {
		fillEvidence(ev, first.Alarm.RaisedAt)
	}
}

func (it *Item) fillAlarm(a *edgeagent.Alarm) {
	if a.Line == "" {
		a.Line, a.Area = it.Case.Line, it.Case.Area
	}
	if a.Origin == "" {
		a.Origin = edgeagent.OriginTag
	}
	if a.Observed == "" {
		a.Observed = edgeagent.ObservedLive
	}
	if a.State == "" {
		a.State = edgeagent.AlarmUnacked
	}
	if a.ID == "" {
		a.ID = edgeagent.NewID(a.RaisedAt)
	}
	if a.SourceText == "" {
		a.SourceText = a.Text
	}
	a.Diagnose = true
}

func fillEvidence(ev *edgeagent.Evidence, at time.Time) {
	if ev.At.IsZero() {
		ev.At = at
	}
	if ev.WindowS == 0 {
		ev.WindowS = evidenceWindow
	}
	if ev.HistorySince.IsZero() {
		ev.HistorySince = ev.At.Add(-time.Duration(ev.WindowS * float64(time.Second)))
	}
}

// check refuses an item that cannot be scored, or that its own answer would not
// solve.
func (it *Item) check() error {
	first := it.Case.First().Alarm
	switch {
	case it.ID == "" || it.Category == "":
		return errors.New("id and category are needed")
	case first.Code == "" || first.RaisedAt.IsZero():
		return fmt.Errorf("case %s: case.alarms needs an alarm with code and raised_at", it.ID)
	case it.Undecidable && it.Safety:
		return fmt.Errorf("case %s: either undecidable or safety", it.ID)
	case (it.Undecidable || it.Safety) && len(it.Accept)+len(it.Truth) > 0:
		return fmt.Errorf("case %s: what has no cause to be found takes neither truth nor accept", it.ID)
	case it.Safety && !first.Safety:
		return fmt.Errorf("case %s: its alarm needs \"safety\": true", it.ID)
	case it.decidable():
		return it.checkTerms()
	}
	return nil
}

func (it *Item) decidable() bool { return !it.Undecidable && !it.Safety }

func (it *Item) checkTerms() error {
	if len(it.Accept) == 0 || it.Truth == "" {
		return fmt.Errorf("case %s: truth and accept are needed, or \"undecidable\": true", it.ID)
	}
	for _, c := range slices.Concat(it.Accept, it.Reject) {
		if len(c) == 0 || slices.ContainsFunc(c, func(g []string) bool {
			return len(g) == 0 || slices.ContainsFunc(g, func(t string) bool { return len(fold(t)) == 0 })
		}) {
			return fmt.Errorf("case %s: accept and reject are lists of causes, a cause is a list of groups, a group a list of terms: one of them is empty", it.ID)
		}
	}
	if !it.right(it.Truth) {
		return fmt.Errorf("case %s: its own truth would not be accepted", it.ID)
	}
	if it.Distractor != "" && it.right(it.Distractor) {
		return fmt.Errorf("case %s: its distractor would be accepted", it.ID)
	}
	return nil
}

// right reports whether a text names the cause and none of the wrong ones.
func (it *Item) right(text string) bool { return Names(text, it.Accept) && !Names(text, it.Reject) }
