package alarm

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"edgeagent"
)

// plant is the table of a test: values with an age on the clock of the test.
type plant struct {
	t        *testing.T
	now      time.Time
	defs     []edgeagent.Tag
	values   map[string]edgeagent.Reading
	evidence [][]string // tags that evidence was asked for
	engine   *Engine
	rules    []Rule
	options  Options
	log      []edgeagent.Transition
}

var began = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

// defs are the tags of both devices of a test.
func defs() []edgeagent.Tag {
	var out []edgeagent.Tag
	for _, device := range []string{"filler", "packaging"} {
		for name, typ := range map[string]edgeagent.DataType{
			"level": edgeagent.TypeFloat32, "flow": edgeagent.TypeFloat32, "state": edgeagent.TypeUint16,
			"run": edgeagent.TypeBool, "eye": edgeagent.TypeBool, "recipe": edgeagent.TypeString,
			"alm1": edgeagent.TypeUint16, "alm2": edgeagent.TypeUint32, "alm3": edgeagent.TypeInt16, "fault_no": edgeagent.TypeUint16,
		} {
			out = append(out, edgeagent.Tag{Device: device, Name: name, Type: typ, StaleAfter: 3 * time.Second})
		}
	}
	return out
}

// high is the rule of most tests: level > 80, clears below 75.
func high() Rule {
	return Rule{Device: "filler", Line: "L1", Area: "A", Code: "F212", When: "level > 80", Clear: "level < 75", Priority: 2, Text: "Level", Diagnose: true}
}

func start(t *testing.T, rules ...Rule) *plant {
	t.Helper()
	return startWith(t, Options{}, rules...)
}

func startWith(t *testing.T, o Options, rules ...Rule) *plant {
	t.Helper()
	o.Lines, o.Devices = map[string]string{"L1": "A"}, map[string]string{"filler": "L1", "packaging": "L1"}
	p := &plant{t: t, now: began, defs: defs(), values: map[string]edgeagent.Reading{}, rules: rules, options: o}
	p.restart()
	return p
}

// restart makes a new engine of the same rules and gives it the open alarms of
// the old.
func (p *plant) restart() []edgeagent.Transition {
	p.t.Helper()
	var open []edgeagent.Alarm
	if p.engine != nil {
		open = p.engine.Open()
	}
	p.options.At = p.now
	e, err := New(p.rules, p.defs, p.options)
	if err != nil {
		p.t.Fatal(err)
	}
	p.engine = e
	return p.keep(e.Restore(open))
}

func (p *plant) keep(ts []edgeagent.Transition) []edgeagent.Transition {
	p.log = append(p.log, ts...)
	return ts
}

func (p *plant) Reading(device, tag string) (edgeagent.Reading, bool) {
	for _, d := range p.defs {
		if d.Device == device && d.Name == tag {
			r, ok := p.values[d.ID()]
			switch {
			case !ok:
				r.Reason = edgeagent.NewNote(edgeagent.ReasonNeverRead, "")
			case p.now.Sub(latest(r)) > d.StaleAfter:
				r.Quality, r.Reason = edgeagent.QualityUncertain, edgeagent.NewNote(edgeagent.ReasonStale, "")
			}
			return r, true
		}
	}
	return edgeagent.Reading{}, false
}

func latest(r edgeagent.Reading) time.Time {
	if r.ConfirmedAt != nil && r.ConfirmedAt.After(*r.At) {
		return *r.ConfirmedAt
	}
	return *r.At
}

func (p *plant) Evidence(_ string, tags []string, at time.Time) *edgeagent.Evidence {
	p.evidence = append(p.evidence, tags)
	return &edgeagent.Evidence{At: at}
}

func value(v any) edgeagent.Value {
	switch v := v.(type) {
	case bool:
		return edgeagent.Bool(v)
	case int:
		return edgeagent.Int(int64(v))
	case float64:
		return edgeagent.Float(v)
	case string:
		return edgeagent.String(v)
	default:
		return edgeagent.Value{}
	}
}

// scan puts pairs of tag and value of the filler; nil is a bad value.
func (p *plant) scan(pairs ...any) []edgeagent.Transition {
	p.t.Helper()
	return p.scanOf("filler", pairs...)
}

func (p *plant) scanOf(device string, pairs ...any) []edgeagent.Transition {
	p.t.Helper()
	s := edgeagent.Scan{Device: device, At: p.now}
	for i := 0; i < len(pairs); i += 2 {
		sample := edgeagent.Sample{Tag: pairs[i].(string), Value: value(pairs[i+1]), Quality: edgeagent.QualityGood, At: p.now}
		if sample.Value.IsNone() {
			sample.Quality, sample.Reason = edgeagent.QualityBad, edgeagent.NewNote(edgeagent.ReasonException, "")
		}
		s.Samples = append(s.Samples, sample)
	}
	return p.apply(s)
}

func (p *plant) apply(s edgeagent.Scan) []edgeagent.Transition {
	p.t.Helper()
	for _, x := range s.Samples {
		at := x.At
		p.values[s.Device+"."+x.Tag] = edgeagent.Reading{Device: s.Device, Tag: x.Tag, Value: x.Value, Quality: x.Quality, Reason: x.Reason, At: &at}
	}
	for _, name := range s.Confirmed {
		r, at := p.values[s.Device+"."+name], p.now
		r.ConfirmedAt = &at
		p.values[s.Device+"."+name] = r
	}
	return p.keep(p.engine.Apply(s, p, p.now))
}

func (p *plant) event(kind edgeagent.DeviceEventKind) []edgeagent.Transition {
	p.t.Helper()
	reason := map[edgeagent.DeviceEventKind]string{
		edgeagent.DeviceEventStopped: edgeagent.ReasonDeviceStopped, edgeagent.DeviceEventFrozen: edgeagent.ReasonFrozen,
		edgeagent.DeviceEventMaintenance: edgeagent.ReasonMaintenance,
	}[kind]
	if reason != "" {
		for id, r := range p.values {
			if strings.HasPrefix(id, "filler.") {
				r.Value, r.Quality, r.Reason = edgeagent.Value{}, edgeagent.QualityBad, edgeagent.NewNote(reason, "")
				p.values[id] = r
			}
		}
	}
	return p.apply(edgeagent.Scan{Device: "filler", At: p.now, Events: []edgeagent.DeviceEvent{
		{Kind: kind, At: p.now, Reason: edgeagent.NewNote("no_answer", "no answer for 60 s")},
	}})
}

// wait lets time pass and ticks whenever the engine asked for it.
func (p *plant) wait(d time.Duration) []edgeagent.Transition {
	p.t.Helper()
	var out []edgeagent.Transition
	end := p.now.Add(d)
	for range 1000 {
		at, ok := p.engine.Next()
		if !ok || at.After(end) {
			p.now = end
			return out
		}
		if at.After(p.now) {
			p.now = at
		}
		out = append(out, p.keep(p.engine.Tick(p.now, p))...)
	}
	p.t.Fatalf("the engine asks for ticks without end; next %v", p.now)
	return nil
}

// words writes transitions as "raised filler/F212", with what is special.
func words(ts []edgeagent.Transition) string {
	var out []string
	for _, t := range ts {
		w := fmt.Sprintf("%s %s", t.Kind, t.Alarm.Name())
		if t.Alarm.Observed != edgeagent.ObservedLive {
			w += " " + string(t.Alarm.Observed)
		}
		if t.Alarm.ValueLostSince != nil {
			w += " lost"
		}
		if t.Alarm.SuppressedBy != "" {
			w += " by " + t.Alarm.SuppressedBy
		}
		if t.Alarm.Removed {
			w += " removed"
		}
		out = append(out, w)
	}
	return strings.Join(out, ", ")
}

func (p *plant) expect(ts []edgeagent.Transition, want string) {
	p.t.Helper()
	if got := words(ts); got != want {
		p.t.Errorf("at +%v: %q, want %q", p.now.Sub(began), got, want)
	}
}
