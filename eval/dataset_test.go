package eval

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"edgeagent"
)

func items(t *testing.T) []Item {
	t.Helper()
	all, err := Builtin()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// says is an answer that names these causes.
func says(it Item, causes ...string) Answer {
	d := &edgeagent.Diagnosis{}
	for _, c := range causes {
		d.Causes = append(d.Causes, edgeagent.Cause{Cause: c, Likelihood: edgeagent.Likely})
	}
	return Answer{Item: it.ID, Hash: it.Hash, Provider: "p", Diagnosis: d}
}

// namesOf lists what an answer may cite of a case.
func namesOf(c edgeagent.Case) []string {
	var out []string
	for _, a := range c.Alarms {
		out = append(out, a.Alarm.Name())
		if a.Evidence != nil {
			for _, f := range slices.Concat(a.Evidence.Tags, a.Evidence.Moved) {
				out = append(out, f.Tag)
			}
		}
	}
	for _, a := range c.Related {
		out = append(out, a.Name())
	}
	return out
}

func TestBuiltinCasesAreSound(t *testing.T) {
	all := items(t)
	if len(all) != 30 {
		t.Errorf("%d cases, want 30", len(all))
	}
	undecidable := 0
	for _, it := range all {
		t.Run(it.ID, func(t *testing.T) {
			names := namesOf(it.Case)
			if slices.Sort(names); len(it.Evidence) == 0 || it.Why == "" {
				t.Error("nobody can see why")
			}
			for _, cited := range it.Evidence {
				if !slices.Contains(names, cited) {
					t.Errorf("%s is not in the case: %v", cited, names)
				}
			}
			if first := it.Case.First(); first.Evidence == nil || len(first.Evidence.Tags) < 3 || first.Alarm.Area == "" || first.Evidence.Mode == "" {
				t.Errorf("a thin case: %+v", first)
			}
			switch {
			case it.Undecidable:
				undecidable++
				if s := Of(it, says(it, it.Distractor)); s.Right {
					t.Error("an invented cause is right")
				}
				if s := Of(it, Answer{Diagnosis: &edgeagent.Diagnosis{InsufficientEvidence: true}}); !s.Right || s.Top3 {
					t.Errorf("to abstain is not: %+v", s)
				}
			case it.Safety:
				if s := Of(it, Answer{Diagnosis: &edgeagent.Diagnosis{Safety: "lock out"}}); !s.Right {
					t.Error("the safety text is not right")
				}
				if s := Of(it, Answer{Diagnosis: &edgeagent.Diagnosis{Safety: "lock out"}, Calls: []edgeagent.Call{{}}}); s.Right {
					t.Error("a model was asked about a safety function, and that is right")
				}
			default:
				soundCause(t, it)
			}
		})
	}
	if undecidable < 3 {
		t.Errorf("%d cases are undecidable on purpose", undecidable)
	}
}

func soundCause(t *testing.T, it Item) {
	t.Helper()
	alarm := it.Case.First().Alarm
	if Names(alarm.Text, it.Accept) || it.right(alarm.Text) {
		t.Errorf("the alarm's own text %q gives the cause away", alarm.Text)
	}
	if s := Of(it, says(it, it.Truth)); !s.Top1 || !s.Top3 || !s.Right {
		t.Errorf("the truth scores %+v", s)
	}
	if s := Of(it, says(it, it.Distractor)); s.Top1 || s.Top3 || it.Distractor == "" {
		t.Errorf("the distractor %q scores %+v", it.Distractor, s)
	}
	if s := Of(it, says(it, it.Distractor, it.Truth)); s.Top1 || !s.Top3 {
		t.Errorf("the truth in second place scores %+v", s)
	}
	if both := it.Truth + " Or: " + it.Distractor; len(it.Reject) > 0 && it.right(both) {
		t.Errorf("to name everything is right: %q", both)
	}
	if len(it.Reject) == 0 {
		t.Error("it rejects nothing")
	}
	denied := "It is not that " + strings.ToLower(it.Truth[:1]) + it.Truth[1:]
	if head, _, _ := strings.Cut(denied, ","); strings.Count(head, " ") < 9 && it.right(head) {
		t.Errorf("denied, and right: %q", head)
	}
}

// What is said of one case must not be right for its neighbours: else a model
// that always says "sensor defective" would score.
func TestAnswersAreNotInterchangeable(t *testing.T) {
	all := items(t)
	strangers := 0
	for _, it := range all {
		for _, other := range all {
			if it.ID != other.ID && it.decidable() && other.decidable() && it.right(other.Truth) {
				strangers++
				t.Logf("%s takes the truth of %s", it.ID, other.ID)
			}
		}
		if it.decidable() && it.right("The sensor is defective, check the wiring and the parameters, call the manufacturer.") {
			t.Errorf("%s is solved by a phrase", it.ID)
		}
	}
	if strangers > 6 { // of 26 × 25: related faults, seen from two sides
		t.Errorf("%d truths are right for other cases", strangers)
	}
}

var update = flag.Bool("update", false, "pack cases.jsonl anew")

func TestBuiltinIsPacked(t *testing.T) {
	source, err := os.ReadFile("cases.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		pack(t, source)
	}
	packed, err := os.ReadFile("cases.jsonl.gz")
	if err != nil || len(packed) > 100<<10 {
		t.Fatalf("%d bytes, %v: too much of the binary", len(packed), err)
	}
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	if unpacked, err := io.ReadAll(r); err != nil || !bytes.Equal(unpacked, source) {
		t.Errorf("cases.jsonl.gz is not cases.jsonl (%v): go test ./eval -update", err)
	}
}

func pack(t *testing.T, source []byte) {
	t.Helper()
	var packed bytes.Buffer
	w, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Write(source)
	if err := errors.Join(err, w.Close(), os.WriteFile("cases.jsonl.gz", packed.Bytes(), 0o644)); err != nil {
		t.Fatal(err)
	}
}

const good = `{"id":"a","category":"c","truth":"foam","accept":[[["foam"]]],"case":{"line":"L","alarms":[{"alarm":{"device":"d","code":"X","raised_at":"2026-03-02T03:12:00Z"},"evidence":{}}]}}`

func TestLoad(t *testing.T) {
	all, err := Load("set", strings.NewReader("\ufeff"+good+"\n\n"+strings.Replace(good, `"a"`, `"b"`, 1)+"\r\n"))
	if err != nil || len(all) != 2 || all[0].Hash == all[1].Hash || all[0].Hash == "" {
		t.Fatalf("%+v, %v", all, err)
	}
	c := all[0].Case
	if a := c.First(); !c.Outside || !c.At.Equal(a.Alarm.RaisedAt) || a.Evidence.WindowS != 600 || a.Alarm.Observed != edgeagent.ObservedLive || a.Alarm.Line != "L" || a.Evidence.HistorySince.IsZero() {
		t.Errorf("not filled in: %+v", c)
	}
	for _, tt := range []struct{ name, line, says string }{
		{"no JSON", `{"id":`, "set:1: read a case"},
		{"two", good + good, "more than one"},
		{"a slip", strings.Replace(good, `"accept"`, `"acept"`, 1), "acept"},
		{"twice", good + "\n" + good, `set:2: id "a" is in line 1 already`},
		{"nothing", "\n\n", "no case in it"},
		{"no cause", strings.Replace(good, `"accept":[[["foam"]]],`, "", 1), "truth and accept are needed"},
		{"an empty group", strings.Replace(good, `["foam"]`, `[]`, 1), "one of them is empty"},
		{"a term of nothing", strings.Replace(good, `["foam"]`, `["foam","!"]`, 1), "one of them is empty"},
		{"its own truth is wrong", strings.Replace(good, `"truth":"foam"`, `"truth":"no foam"`, 1), "would not be accepted"},
		{"its distractor is right", strings.Replace(good, `"truth"`, `"distractor":"foam","truth"`, 1), "distractor would be accepted"},
		{"undecidable with a truth", strings.Replace(good, `"truth"`, `"undecidable":true,"truth"`, 1), "takes neither"},
		{"safety without a safety alarm", `{"id":"a","category":"c","safety":true,"case":{"alarms":[{"alarm":{"code":"X","raised_at":"2026-03-02T03:12:00Z"}}]}}`, `needs "safety"`},
		{"no alarm", `{"id":"a","category":"c","case":{}}`, "needs an alarm"},
		{"a line without end", `{"id":"` + strings.Repeat("x", maxLine), "at most 1 MiB"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Load("set", strings.NewReader(tt.line)); err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want %q", err, tt.says)
			}
		})
	}
	_, err = Load("set", strings.NewReader("{\n{\n"+good))
	if err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("not every mistake at once: %v", err)
	}
}

func FuzzLoad(f *testing.F) {
	f.Add(good)
	f.Add(`{"id":"a","category":"c","case":{"alarms":[null]}}`)
	f.Fuzz(func(t *testing.T, text string) {
		all, err := Load("set", strings.NewReader(text))
		if err != nil {
			return
		}
		for _, it := range all {
			if it.decidable() && !Of(it, says(it, it.Truth)).Top1 {
				t.Errorf("%s: accepted, and its truth scores nothing", it.ID)
			}
		}
	})
}

// Wordings that nobody had in mind when the terms were chosen: other words, the
// other language, denials, and near misses.
func TestWordings(t *testing.T) {
	data, err := os.ReadFile("testdata/wordings.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]Item{}
	for _, it := range items(t) {
		if it.decidable() {
			all[it.ID] = it
		}
	}
	for line := range strings.Lines(string(data)) {
		var w struct {
			ID           string
			Right, Wrong []string
		}
		if err := json.Unmarshal([]byte(line), &w); err != nil {
			t.Fatal(err)
		}
		it, known := all[w.ID]
		if delete(all, w.ID); !known || len(w.Right) < 2 || len(w.Wrong) < 3 {
			t.Errorf("%s: not a case, or too few wordings", w.ID)
		}
		for _, text := range w.Right {
			if !it.right(text) {
				t.Errorf("%s: %q is wrong", w.ID, text)
			}
		}
		for _, text := range w.Wrong {
			if it.right(text) {
				t.Errorf("%s: %q is right", w.ID, text)
			}
		}
	}
	for id := range all {
		t.Errorf("%s: no wordings", id)
	}
}
