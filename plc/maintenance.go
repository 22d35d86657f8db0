package plc

import (
	"fmt"
	"time"

	"edgeagent"
)

// longestMaintenance keeps a device from being forgotten.
const longestMaintenance = 30 * 24 * time.Hour

// maintain takes a device out of service; see Connection.Maintain.
func (r *roster) maintain(device, by, reason string, length time.Duration) error {
	if length <= 0 || length > longestMaintenance {
		return fmt.Errorf("maintenance of device %q for %v: want a time of more than 0 and at most 30 days", device, length)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	d, err := r.find(device)
	if err != nil {
		return err
	}
	if d.off() {
		return fmt.Errorf("maintenance of device %q: it is %s and not read anyway: %w", device, d.state, edgeagent.ErrConflict)
	}
	d.maintain(time.Now(), by, reason, length)
	r.conclude(d)
	r.poke()
	return nil
}

// maintain takes the device out of service, or changes for how long. What is
// being read at this moment is not told any more.
func (d *device) maintain(now time.Time, by, reason string, length time.Duration) {
	refused := d.barred()
	d.life++
	d.next, d.until = now.Add(length), now.Add(length).Round(0)
	text := fmt.Sprintf("out of service for %s by %s", short(length.Round(time.Second)), by)
	if reason != "" {
		text += ": " + reason
	}
	d.reason = edgeagent.NewNote(edgeagent.ReasonMaintenance, text,
		"by", by, "reason", reason, "until", d.until.Format(time.RFC3339))
	if refused {
		d.reason.Params[paramRefused] = "true"
	}
	d.resumer = by
	d.fire(eventMaintain, now, nil)
	d.since = now
}

// pause is the machine's way into maintenance.
func (d *device) pause(now time.Time, _ error) {
	d.missing(d.reason)
	d.thaw(now, "in maintenance")
	d.attempt, d.suspects, d.unconfirmed = 0, 0, 0
	d.link, d.err, d.good = edgeagent.LinkDown, nil, time.Time{}
	d.standing = true
	d.mark, d.grade = d.reason, edgeagent.QualityBad
	d.events = append(d.events, edgeagent.DeviceEvent{Kind: edgeagent.DeviceEventMaintenance, At: now, By: d.resumer, Reason: d.reason})
	d.note(now, "maintenance", d.reason)
	d.resumer = ""
}

// endMaintenance lets the device be tried again. One whose credentials were
// refused before stays stopped: its time of rest has not made them right.
func (d *device) endMaintenance(now time.Time) {
	if d.barred() {
		d.fire(eventOverBarred, now, nil)
		return
	}
	d.fire(eventOver, now, nil)
}

// bar goes back to a stop that only a person ends.
func (d *device) bar(now time.Time, _ error) {
	d.reason = edgeagent.NewNote(edgeagent.ReasonDeviceStopped,
		"credentials or certificate were refused before the maintenance: only a person resumes it", paramRefused, "true")
	d.mark, d.grade = d.reason, edgeagent.QualityBad
	d.events = append(d.events, edgeagent.DeviceEvent{Kind: edgeagent.DeviceEventStopped, At: now, Reason: d.reason})
	d.note(now, "stopped", d.reason)
}

// restoreMaintenance goes on with what is left of it. A clock that was set back
// leaves at most its whole length.
func (d *device) restoreMaintenance(m edgeagent.DeviceMemory, now time.Time) {
	d.state, d.until = edgeagent.DeviceMaintenance, m.Until
	d.next = now.Add(restOf(m.Since, m.Until.Sub(m.Since), now))
	d.mark, d.grade = d.reason, edgeagent.QualityBad
	d.events = append(d.events, edgeagent.DeviceEvent{Kind: edgeagent.DeviceEventMaintenance, At: m.Since, Reason: d.reason})
}
