package plc

import (
	"fmt"
	"time"

	"edgeagent"
)

// Heartbeat is a tag that a running controller changes all the time. A stopped
// one still answers, with values that stand still and look right.
type Heartbeat struct {
	Tag    string
	Within time.Duration // the longest time between two changes
}

// pulse is what is known of a device's heartbeat.
type pulse struct {
	tag   int // of the device's tags; -1: it has none
	value edgeagent.Value
	at    time.Time // of the last change, or when the device came up; monotonic
}

func pulseOf(spec *DeviceSpec) pulse {
	if spec.Heartbeat != nil && spec.Heartbeat.Within > 0 {
		for i := range spec.Tags {
			if spec.Tags[i].Name == spec.Heartbeat.Tag {
				return pulse{tag: i}
			}
		}
	}
	return pulse{tag: -1}
}

// feel takes an answer of the heartbeat tag and reports whether it beats again
// after it stood still. The first value of all is no change: it proves nothing.
func (d *device) feel(now time.Time, v edgeagent.Value) (thawed bool) {
	if v.IsNone() || v.Equal(d.pulse.value) {
		return false
	}
	known := !d.pulse.value.IsNone()
	d.pulse.value = v
	if !known {
		return false
	}
	d.pulse.at = now
	return d.thaw(now, "the heartbeat beats again")
}

// overdue reports whether the heartbeat of a device that answers is overdue, and
// since or until when. Once it is frozen it cannot be more so.
func (d *device) overdue(now time.Time) (at time.Time, overdue bool) {
	if d.pulse.tag < 0 || d.state != edgeagent.DevicePolling || d.frost != nil {
		return time.Time{}, false
	}
	at = d.pulse.at.Add(d.spec.Heartbeat.Within)
	return at, !at.After(now)
}

func (d *device) freeze(now time.Time) {
	tag, still := d.spec.Heartbeat.Tag, now.Sub(d.pulse.at).Round(100*time.Millisecond)
	text := fmt.Sprintf("the heartbeat %s has stood still for %v: the device answers, but its program may have stopped", tag, still)
	if d.last[d.pulse.tag].Quality == edgeagent.QualityBad {
		text = fmt.Sprintf("the heartbeat %s has had no value for %v: nothing shows that the device's program runs", tag, still)
	}
	d.frost = edgeagent.NewNote(edgeagent.ReasonFrozen, text, "tag", tag)
	d.link = edgeagent.LinkFrozen
	d.mark, d.grade = d.frost, edgeagent.QualityUncertain
	d.events = append(d.events, edgeagent.DeviceEvent{Kind: edgeagent.DeviceEventFrozen, At: now, Reason: d.frost})
	d.note(now, "frozen", d.frost)
}

// thaw reports whether the device was frozen until now.
func (d *device) thaw(now time.Time, why string) bool {
	if d.frost == nil {
		return false
	}
	d.frost = nil
	if d.link == edgeagent.LinkFrozen {
		d.link = edgeagent.LinkUp
	}
	note := edgeagent.NewNote("thawed", why)
	d.events = append(d.events, edgeagent.DeviceEvent{Kind: edgeagent.DeviceEventThawed, At: now, Reason: note})
	d.note(now, "thawed", note)
	return true
}

// listen looks for the heartbeat in what a pass has read. Only an answer counts:
// of a device that is too busy to answer nobody knows whether it stands still.
func (d *device) listen(p *pass, now time.Time) {
	if d.pulse.tag < 0 {
		return
	}
	for i, tag := range p.touched {
		s := p.samples[i]
		if tag != d.pulse.tag || s.Reason.Is(edgeagent.ReasonNoAnswer) || s.Reason.Is(edgeagent.ReasonQuarantined) {
			continue
		}
		d.feel(now, s.Value)
		if _, overdue := d.overdue(now); overdue {
			d.freeze(now)
		}
	}
}

// chill holds samples back while the device is frozen.
func (d *device) chill(samples []edgeagent.Sample) {
	if d.frost == nil {
		return
	}
	for i := range samples {
		samples[i] = heldBack(samples[i], d.frost, edgeagent.QualityUncertain)
	}
}
