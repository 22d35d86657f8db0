package status

import (
	"strings"
	"testing"
	"time"

	"edgeagent"
)

func TestAdviceBeginsWithWhatIsLikely(t *testing.T) {
	p := newPlant(time.Now())
	j := p.jobs[idJob]
	j.Diagnosis = &edgeagent.Diagnosis{By: edgeagent.Provenance{Kind: "runbook"}, Causes: []edgeagent.Cause{
		{Cause: "cause one", Likelihood: edgeagent.Unlikely}, {Cause: "cause two", Likelihood: edgeagent.Possible},
		{Cause: "cause three", Likelihood: edgeagent.Likely}, {Cause: "cause four", Likelihood: edgeagent.Likely},
	}, Checks: []string{"check one", "check two"}}
	p.jobs[idJob] = j
	s := newServer(p)
	body := ask(t, s, "GET", "/alarms/"+string(idPressure), "").Body.String()
	last := 0
	for _, cause := range []string{"cause three", "cause four", "cause two", "cause one"} {
		at := strings.Index(body, cause)
		if at < last {
			t.Errorf("%q stands at %d, before %d", cause, at, last)
		}
		last = at
	}
	first := ask(t, s, "GET", "/", "").Body.String()
	if !strings.Contains(first, "cause three") || strings.Contains(first, "cause one") || !strings.Contains(first, "<b>First check:</b> <bdi>check one</bdi>") {
		t.Error("the first page does not show the likeliest cause and the first check")
	}
	if j.Diagnosis.Causes[0].Cause != "cause one" {
		t.Error("drawing the page changed the answer itself")
	}
}

// A person must never take another machine's entry for this one's: it is said
// once where all is of it, and on each line where only some is.
func TestWhatIsOfASimilarMachineSaysSo(t *testing.T) {
	const mark, banner = "Similar, not this machine: ", "From a similar machine, not this one."
	for _, tt := range []struct {
		name   string
		d      edgeagent.Diagnosis
		banner bool
		has    []string
		never  string
	}{
		{"all of it", edgeagent.Diagnosis{Safety: mark + "lock out", Checks: []string{mark + "look"}, Causes: []edgeagent.Cause{{Cause: mark + "worn"}}},
			true, []string{"<bdi>lock out</bdi>", "<bdi>look</bdi>", "<bdi>worn</bdi>"}, mark},
		{"in German", edgeagent.Diagnosis{Checks: []string{"Ähnlich, nicht diese Maschine: sehen"}}, true, []string{"<bdi>sehen</bdi>"}, "Ähnlich"},
		{"one line is not", edgeagent.Diagnosis{Checks: []string{mark + "look"}, Causes: []edgeagent.Cause{{Cause: "worn"}}},
			false, []string{mark + "look", "<bdi>worn</bdi>"}, banner},
		{"the safety line is not", edgeagent.Diagnosis{Safety: "lock out", Checks: []string{mark + "look"}}, false, []string{mark + "look", "<bdi>lock out</bdi>"}, banner},
		{"nothing", edgeagent.Diagnosis{Summary: "no entry"}, false, []string{"no entry"}, banner},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPlant(time.Now())
			tt.d.By = edgeagent.Provenance{Kind: "runbook"}
			j := p.jobs[idJob]
			j.Diagnosis = &tt.d
			p.jobs[idJob] = j
			a := p.alarms[idPressure]
			a.Hint = nil
			p.alarms[idPressure] = a
			body := ask(t, newServer(p), "GET", "/alarms/"+string(idPressure), "").Body.String()
			if strings.Contains(body, banner) != tt.banner {
				t.Errorf("banner: %v", !tt.banner)
			}
			for _, text := range tt.has {
				if !strings.Contains(body, text) {
					t.Errorf("does not say %q", text)
				}
			}
			if strings.Contains(body, tt.never) {
				t.Errorf("says %q", tt.never)
			}
		})
	}
}

func TestHeldInWords(t *testing.T) {
	model := edgeagent.Provenance{Kind: "openai"}
	for want, d := range map[string]edgeagent.Diagnosis{
		"":                           {By: edgeagent.Provenance{Kind: "runbook"}, Grounded: edgeagent.Grounded{Checked: 9, Held: 9}},
		"Nothing of it was checked.": {By: model, Unstructured: "text"},
		"It cites no value":          {By: model},
		"Nothing it cites was found": {By: model, Grounded: edgeagent.Grounded{Checked: 2}},
		"1 of 2 citations found":     {By: model, Grounded: edgeagent.Grounded{Checked: 2, Held: 1}},
		"Everything it cites was":    {By: model, Grounded: edgeagent.Grounded{Checked: 2, Held: 2}},
	} {
		if got := heldWords(d); !strings.HasPrefix(got, want) || want == "" && got != "" {
			t.Errorf("%+v: %q, want %q", d.Grounded, got, want)
		}
	}
}

// "First out" says something only where others came with it.
func TestFirstOutIsSaidOfAGroup(t *testing.T) {
	p := newPlant(time.Now())
	a := p.alarms[idPressure]
	a.FirstOut = true
	p.alarms[idPressure] = a
	for n, want := range map[int]bool{1: false, 2: true} {
		j := p.jobs[idJob]
		j.Alarms = []edgeagent.ID{idPressure, idStopped}[:n]
		p.jobs[idJob] = j
		for _, path := range []string{"/", "/alarms", "/alarms/" + string(idPressure)} {
			body := ask(t, newServer(p), "GET", path, "").Body.String()
			if got := strings.Contains(body, "first out of 2"); got != want || strings.Contains(body, "together</") {
				t.Errorf("%s of %d alarms: %v", path, n, got)
			}
		}
	}
}

// What was said of the last time stands with the alarm, not twice.
func TestTheLastTimeIsToldOnce(t *testing.T) {
	p := newPlant(time.Now())
	a := p.alarms[idPressure]
	a.LastTime = &edgeagent.Occurrence{ID: idBefore, At: a.RaisedAt, Cause: "the model's guess"}
	p.alarms[idPressure] = a
	body := ask(t, newServer(p), "GET", "/alarms/"+string(idPressure), "").Body.String()
	if n := strings.Count(body, "rinsed the probe"); n != 1 {
		t.Errorf("what fixed it stands %d times", n)
	}
	if strings.Contains(body, "the model&#39;s guess") || !strings.Contains(body, "confirmed by an engineer") {
		t.Error("a model's guess stands where a person's word is known")
	}
}

// The runbook answers a group with the entry of its first alarm: beside another
// alarm of it, that other entry must not stand for its own.
func TestAnAlarmOfAGroupKeepsItsOwnHint(t *testing.T) {
	for kind, own := range map[string]bool{"runbook": true, "openai": false} {
		p := newPlant(time.Now())
		j := p.jobs[idJob]
		j.Alarms = []edgeagent.ID{idStopped, idPressure}
		j.Diagnosis = &edgeagent.Diagnosis{Summary: "entry of the other alarm", By: edgeagent.Provenance{Kind: kind}}
		p.jobs[idJob] = j
		a := p.alarms[idPressure]
		a.FirstOut = false
		p.alarms[idPressure] = a
		s := newServer(p)
		for _, path := range []string{"/", "/alarms"} {
			_, body, _ := strings.Cut(ask(t, s, "GET", path, "").Body.String(), `id="a-`+string(idPressure))
			body, _, _ = strings.Cut(body, `id="a-`)
			if strings.Contains(body, "entry of the other alarm") == own || !strings.Contains(body, "one of 2 together") {
				t.Errorf("%s, answered by %s: the group's answer stands for the alarm's: %v", path, kind, !own)
			}
		}
		body := ask(t, s, "GET", "/alarms/"+string(idPressure), "").Body.String()
		hint, answer := strings.Index(body, "Foam on the level probe"), strings.Index(body, "entry of the other alarm")
		if hint < 0 || answer < 0 || (hint < answer) != own || !strings.Contains(body, "2 alarms of the line came together; the first is") {
			t.Errorf("answered by %s: hint at %d, the group's answer at %d", kind, hint, answer)
		}
	}
}

func TestWhatIsWrongComesFirstAmongDevices(t *testing.T) {
	p := newPlant(time.Now())
	well, stopped := p.status.Devices[0], p.status.Devices[1]
	p.status.Devices = nil
	for i := range 64 {
		d := well
		if i%2 == 1 {
			d = stopped
		}
		d.Name = "station-" + string(rune('a'+i/8)) + string(rune('a'+i%8))
		p.status.Devices = append(p.status.Devices, d)
	}
	s := newServer(p)
	list := ask(t, s, "GET", "/devices", "").Body.String()
	if last, first := strings.Index(list, `id="d-station-hh"`), strings.Index(list, `id="d-station-aa"`); last < 0 || first < last {
		t.Errorf("the last stopped one at %d, the first that is well at %d", last, first)
	}
	if body := ask(t, s, "GET", "/", "").Body.String(); !strings.Contains(body, "12 more devices") || strings.Contains(body, "station-hh") {
		t.Error("the first page does not end after twenty devices")
	}
}

// A number that has a word shows the word it had when the alarm rose.
func TestNumbersHaveTheirWordsAtTheAlarm(t *testing.T) {
	for _, tt := range []struct {
		name       string
		then       int64
		frozen     string
		paths      []string
		want, deny string
	}{
		{"the same as now", 6, "", []string{"/", "/alarms", "/alarms/" + string(idPressure)}, "<b><bdi>Execute</bdi></b> at the alarm", "<bdi>6</bdi>"},
		{"another, in the evidence", 9, "Aborted", []string{"/alarms/" + string(idPressure)}, "<b><bdi>Aborted</bdi></b> at the alarm, now <b><bdi>Execute", "<bdi>9</bdi>"},
		{"another, nowhere", 9, "", []string{"/", "/alarms/" + string(idPressure)}, "<b><bdi>9</bdi></b> at the alarm, now <b><bdi>Execute", "<bdi>Execute</bdi></b> at"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPlant(time.Now())
			a := p.alarms[idPressure]
			a.Values = map[string]edgeagent.Value{"filler.state": edgeagent.Int(tt.then)}
			p.alarms[idPressure] = a
			p.evidence[idPressure] = &edgeagent.Evidence{Tags: []edgeagent.Feature{{Tag: "filler.state", Value: edgeagent.Int(tt.then), Text: tt.frozen}}}
			s := newServer(p)
			for _, path := range tt.paths {
				body := strings.ReplaceAll(ask(t, s, "GET", path, "").Body.String(), "</bdi></b><br>", "</bdi></b> at the alarm")
				if !strings.Contains(body, tt.want) || strings.Contains(body, tt.deny+" at the alarm") {
					t.Errorf("%s does not say %q", path, tt.want)
				}
			}
		})
	}
}
