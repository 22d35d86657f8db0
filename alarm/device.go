package alarm

import "edgeagent"

// stopPriority is the priority of device_stopped: a machine that nobody watches
// any more is more than a warning.
const stopPriority = 2

func stopKey(device string) key {
	return key{origin: edgeagent.OriginAgent, device: device, code: edgeagent.CodeDeviceStopped}
}

// device raises and clears the agent's own alarm of a device.
func (p *pass) device(name string, ev edgeagent.DeviceEvent) {
	e := p.engine
	act := e.active[stopKey(name)]
	switch ev.Kind {
	case edgeagent.DeviceEventStopped:
		e.stopped[name] = p.now
		if act == nil || !act.alarm.State.Active() {
			p.supersede(act)
			p.stop(name, ev)
		}
	case edgeagent.DeviceEventResumed:
		delete(e.stopped, name)
		if act != nil && act.alarm.State.Active() {
			p.change(act, fall)
			last := &p.out[len(p.out)-1]
			last.Device, last.By = &ev, ev.By
		}
	}
	p.enqueue(e.byDevice[name]...)
}

// supersede closes an activation that has cleared but was never seen: what
// replaces it is worse news.
func (p *pass) supersede(act *activation) {
	if act != nil {
		p.change(act, rise)
	}
}

func (p *pass) stop(name string, ev edgeagent.DeviceEvent) {
	line := p.engine.lines[name]
	a := edgeagent.Alarm{
		Device: name, Line: line, Area: p.engine.areas[line], Code: edgeagent.CodeDeviceStopped,
		Text: stopText(name, ev.Reason), Origin: edgeagent.OriginAgent, Priority: stopPriority,
		Observed: edgeagent.ObservedLive, Diagnose: true,
	}
	_, t := p.engine.begin(a, nil, p.now)
	t.Device = &ev
	t.Evidence = p.view.Evidence(name, nil, p.now)
	p.out = append(p.out, t)
}

// stopText never says "stopped" alone: the machine may well be running.
func stopText(name string, reason *edgeagent.Note) string {
	text := name + " is NOT BEING READ"
	if reason.String() != "" {
		text += ": " + reason.String()
	}
	return text
}
