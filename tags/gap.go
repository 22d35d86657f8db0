package tags

import (
	"fmt"
	"time"

	"edgeagent"
)

// maxGaps is how many interruptions of a device are remembered.
const maxGaps = 8

// gap is a time in which nothing was read from a device.
type gap struct{ from, to time.Duration }

// sees books a value of the device; a pause longer than its patience was a gap,
// whether or not its driver told of one.
func (d *deviceTags) sees(off time.Duration) {
	switch {
	case d.firstAt == 0:
		d.firstAt = off
	case off-d.lastAt > d.patience:
		d.addGap(gap{d.lastAt, off})
	}
	d.lastAt = max(d.lastAt, off)
}

// told books a gap that the driver tells of. It may be shorter than patience:
// who lost a connection knows that values are missing.
func (d *deviceTags) told(from, to time.Duration) {
	if from == 0 { // it does not know since when
		from = d.lastAt
	}
	if from >= to || d.firstAt == 0 {
		return
	}
	d.addGap(gap{max(from, d.firstAt), to})
	d.lastAt = max(d.lastAt, to)
}

// addGap remembers a gap. One that overlaps the last is the same, seen twice.
func (d *deviceTags) addGap(g gap) {
	if n := len(d.gaps); n > 0 && g.from < d.gaps[n-1].to && d.gaps[n-1].from < g.to {
		last := &d.gaps[n-1]
		last.from, last.to = min(last.from, g.from), max(last.to, g.to)
		return
	}
	d.gaps = append(d.gaps, g)
	if len(d.gaps) > maxGaps {
		d.gaps = d.gaps[1:]
	}
}

// learnPatience sets it to the shortest stale_after of the device's tags, and
// writes the reasons of those that grow stale: once, not for every tag.
func (d *deviceTags) learnPatience() {
	d.patience, d.staleNotes = 0, map[time.Duration]*edgeagent.Note{}
	for _, e := range d.entries {
		s := e.def.StaleAfter
		if s > 0 && (d.patience == 0 || s < d.patience) {
			d.patience = s
		}
		if d.staleNotes[s] == nil {
			d.staleNotes[s] = edgeagent.NewNote(edgeagent.ReasonStale, "older than "+s.String(), "stale_after", s.String())
		}
	}
	d.patience = max(d.patience, time.Second)
}

// describe lists the gaps that reach into the window from..to, in words; the one
// that has not ended yet is the last.
func (d *deviceTags) describe(from, to time.Duration, wall func(time.Duration) time.Time) []string {
	var out []string
	for _, g := range d.gaps {
		if g.to > from && g.from < to {
			out = append(out, fmt.Sprintf("%s: nothing read from %s to %s", d.name, clock(wall(g.from)), clock(wall(g.to))))
		}
	}
	if d.firstAt == 0 {
		return append(out, d.name+": never read since the agent started")
	}
	if to-d.lastAt > d.patience {
		out = append(out, fmt.Sprintf("%s: nothing read since %s", d.name, clock(wall(d.lastAt))))
	}
	return out
}

func clock(t time.Time) string { return t.Format("2006-01-02 15:04:05 -07:00") }
