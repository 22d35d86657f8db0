package alarm

import (
	"time"

	"edgeagent"
)

// outagePriority is the priority of the agent's own alarms of a device: a
// machine that nobody watches any more is more than a warning.
const outagePriority = 2

// thawedAfter is how long after it was last said to be frozen a device must
// deliver good values to count as alive although nobody said so.
const thawedAfter = time.Minute

// outages are the agent's own alarms of a device that cannot be seen. Both mute
// new alarms of its tags.
var outages = []string{edgeagent.CodeDeviceStopped, edgeagent.CodeDeviceFrozen}

func outageKey(device, code string) key {
	return key{origin: edgeagent.OriginAgent, device: device, code: code}
}

// device raises and clears the agent's own alarms of a device.
func (p *pass) device(name string, ev edgeagent.DeviceEvent) {
	e := p.engine
	switch ev.Kind {
	case edgeagent.DeviceEventStopped:
		delete(e.maintained, name)
		p.recovers(name, edgeagent.CodeDeviceFrozen, ev)
		p.fails(name, edgeagent.CodeDeviceStopped, ev)
		p.loseServer(name)
	case edgeagent.DeviceEventFrozen:
		p.fails(name, edgeagent.CodeDeviceFrozen, ev)
	case edgeagent.DeviceEventThawed:
		p.recovers(name, edgeagent.CodeDeviceFrozen, ev)
	case edgeagent.DeviceEventResumed:
		delete(e.maintained, name)
		p.recovers(name, edgeagent.CodeDeviceStopped, ev)
		p.recovers(name, edgeagent.CodeDeviceFrozen, ev)
	case edgeagent.DeviceEventMaintenance:
		e.maintained[name] = true
		p.recovers(name, edgeagent.CodeDeviceStopped, ev)
		p.recovers(name, edgeagent.CodeDeviceFrozen, ev)
		p.loseServer(name)
	default: // a gap is over when it is told
		return
	}
	p.stir(name)
	p.enqueue(e.byDevice[name]...)
}

// revive clears the outages of a device that delivers good values again without
// anybody having said so: a changed connection starts anew and knows nothing of
// a stop, a restarted agent nothing of a heartbeat that stood still.
func (p *pass) revive(scan edgeagent.Scan) {
	for _, code := range outages {
		if !p.engine.isActive(outageKey(scan.Device, code)) {
			continue
		}
		since := p.engine.failed[outageKey(scan.Device, code)]
		if code == edgeagent.CodeDeviceFrozen {
			if since.IsZero() {
				since = p.engine.options.At
			}
			since = since.Add(thawedAfter)
		}
		if goodSince(scan, since) {
			p.device(scan.Device, edgeagent.DeviceEvent{Kind: edgeagent.DeviceEventResumed, At: p.now})
		}
	}
}

func goodSince(scan edgeagent.Scan, since time.Time) bool {
	for _, s := range scan.Samples {
		if s.Quality == edgeagent.QualityGood && s.At.After(since) {
			return true
		}
	}
	return false
}

// fails raises an outage. One that has cleared but was never seen gives way:
// what replaces it is worse news.
func (p *pass) fails(name, code string, ev edgeagent.DeviceEvent) {
	e, k := p.engine, outageKey(name, code)
	e.failed[k] = p.now
	if e.isActive(k) {
		return
	}
	if seen := e.active[k]; seen != nil {
		p.change(seen, rise)
	}
	t := p.own(edgeagent.Alarm{Device: name, Code: code, Text: outageText(name, code, ev.Reason), Priority: outagePriority, Diagnose: true})
	t.Device = &ev
}

// own raises an alarm of the agent itself and returns its transition.
func (p *pass) own(a edgeagent.Alarm) *edgeagent.Transition {
	a.Line = p.engine.lines[a.Device]
	a.Area, a.Origin, a.Observed = p.engine.areas[a.Line], edgeagent.OriginAgent, edgeagent.ObservedLive
	_, t := p.engine.begin(a, nil, p.now)
	t.Evidence = p.evidence(a.Line, a.Device, nil)
	p.out = append(p.out, t)
	return &p.out[len(p.out)-1]
}

func (p *pass) recovers(name, code string, ev edgeagent.DeviceEvent) {
	k := outageKey(name, code)
	delete(p.engine.failed, k)
	if p.engine.isActive(k) {
		p.change(p.engine.active[k], fall)
		last := &p.out[len(p.out)-1]
		last.Device, last.By = &ev, ev.By
	}
}

// outageText never says "stopped" alone: the machine may well be running.
func outageText(name, code string, reason *edgeagent.Note) string {
	text := name + " is NOT BEING READ"
	if code == edgeagent.CodeDeviceFrozen {
		text = name + " answers, but its heartbeat stands still"
	}
	if reason.String() != "" {
		text += ": " + reason.String()
	}
	return text
}
