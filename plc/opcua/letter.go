package opcua

import (
	"time"

	"edgeagent"
	"edgeagent/plc"
)

// keepEach is how many values of a tag one message tells that is no measurement:
// of a bit that went and came back, both changes count.
const keepEach = 10

// letter is what one answer of the server told.
type letter struct {
	at        time.Time
	samples   []edgeagent.Sample
	twice     bool // a tag is told twice
	confirmed []string
	sets      []edgeagent.ConditionSet
	gap       bool
}

// tell adds sets of conditions; what one notification tells is one set.
func (l *letter) tell(sets []edgeagent.ConditionSet) {
	for _, set := range sets {
		if n := len(l.sets); n > 0 && !set.Complete && !l.sets[n-1].Complete {
			l.sets[n-1].Conditions = append(l.sets[n-1].Conditions, set.Conditions...)
			continue
		}
		l.sets = append(l.sets, set)
	}
}

// messages returns what the letter tells. A tag is at most once in each message,
// so that its changes stay apart; they come in the order in which they were told.
func (l *letter) messages() []plc.Heard {
	whole := plc.Heard{At: l.at, Samples: l.samples, Confirmed: l.confirmed, Conditions: l.sets, Gap: l.gap}
	if !l.twice {
		return []plc.Heard{whole}
	}
	var out []plc.Heard
	for _, samples := range apart(l.samples) {
		out = append(out, plc.Heard{At: l.at, Samples: samples})
	}
	out[0].Gap = l.gap
	last := &out[len(out)-1]
	last.Confirmed, last.Conditions = l.confirmed, l.sets
	return out
}

// apart parts samples so that no tag is twice in a part. Of a measurement, and of
// what a server tells without end, the last value wins.
func apart(samples []edgeagent.Sample) (parts [][]edgeagent.Sample) {
	type place struct{ part, at int }
	newest := make(map[string]place)
	for _, s := range samples {
		p, again := newest[s.Tag]
		switch {
		case again && (p.part+1 == keepEach || s.Value.Kind() == edgeagent.KindFloat):
			parts[p.part][p.at] = s
			continue
		case again:
			p.part++
		}
		if p.part == len(parts) {
			parts = append(parts, nil)
		}
		p.at = len(parts[p.part])
		parts[p.part] = append(parts[p.part], s)
		newest[s.Tag] = p
	}
	return parts
}
