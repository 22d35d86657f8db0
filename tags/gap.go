package tags

import (
	"fmt"
	"time"
)

// maxGaps is how many interruptions of a device are remembered.
const maxGaps = 8

// gap is a time in which nothing was read from a device.
type gap struct{ from, to time.Duration }

// sees books a value of the device; a pause longer than its
// patience was a gap.
func (d *deviceTags) sees(off time.Duration) {
	switch {
	case d.firstAt == 0:
		d.firstAt = off
	case off-d.lastAt > d.patience:
		d.gaps = append(d.gaps, gap{d.lastAt, off})
		if len(d.gaps) > maxGaps {
			d.gaps = d.gaps[1:]
		}
	}
	d.lastAt = max(d.lastAt, off)
}

// learnPatience sets it to the shortest stale_after of the device's tags.
func (d *deviceTags) learnPatience() {
	d.patience = 0
	for _, e := range d.entries {
		if s := e.def.StaleAfter; s > 0 && (d.patience == 0 || s < d.patience) {
			d.patience = s
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
