package alarm

import (
	"maps"
	"slices"
	"time"

	"edgeagent"
)

// raiseAll raises what rose in this pass: by the time of the samples, then in
// the order of the rules, but never an alarm before one that mutes it.
func (p *pass) raiseAll() {
	rising := p.rising
	p.rising = nil
	slices.SortStableFunc(rising, func(a, b *rule) int { return a.roseAt.Compare(b.roseAt) })
	for len(rising) > 0 {
		i := max(0, slices.IndexFunc(rising, func(r *rule) bool { return !mutedByAny(r, rising) }))
		r := rising[i]
		rising = slices.Delete(rising, i, i+1)
		if r.muted = p.engine.muter(r) != ""; r.muted {
			r.since = time.Time{}
			continue
		}
		p.raise(r)
	}
}

func mutedByAny(r *rule, others []*rule) bool {
	return slices.ContainsFunc(others, func(o *rule) bool {
		return o != r && o.Device == r.Device && slices.Contains(r.InhibitedBy, o.Code)
	})
}

func (p *pass) raise(r *rule) {
	a := edgeagent.Alarm{
		Device: r.Device, Line: r.Line, Area: r.Area, Code: r.Code, Text: r.Text, Origin: edgeagent.OriginTag,
		Priority: r.Priority, Values: values(r.signals), Observed: edgeagent.ObservedLive, Diagnose: r.Diagnose, Safety: r.Safety,
	}
	if a.Area == "" {
		a.Area = p.engine.areas[r.Line]
	}
	if r.atStart {
		a.Observed = edgeagent.ObservedAtStart
	}
	act, t := p.engine.begin(a, r, p.now)
	r.open, r.since, r.atStart = act, time.Time{}, false
	p.engine.note(r)
	p.stir(r.Device)
	t.Evidence = p.evidence(a.Line, r.Device, r.context())
	p.out = append(p.out, t)
}

// evidence is what the view knows of an alarm that rises now, and the mode its
// line is in.
func (p *pass) evidence(line, device string, tags []string) *edgeagent.Evidence {
	ev := p.view.Evidence(device, tags, p.now)
	if ev != nil {
		ev.Mode = p.engine.Mode(line)
	}
	return ev
}

func values(of []*signal) map[string]edgeagent.Value {
	out := make(map[string]edgeagent.Value, len(of))
	for _, s := range of {
		out[s.tag.ID()] = s.value
	}
	return out
}

// begin opens a new activation. One that only waits to be seen gives way
// before, see [pass.fails].
func (e *Engine) begin(a edgeagent.Alarm, r *rule, now time.Time) (*activation, edgeagent.Transition) {
	a.ID, a.State = edgeagent.NewID(now), edgeagent.AlarmNormal
	a.FirstOut = e.firstOut(a.Line, now)
	k := keyOf(a)
	if s, shelved := e.shelves[k]; shelved && now.Before(s.until) {
		until := s.until
		a.ShelvedUntil, a.ShelveReason, a.Diagnose = &until, s.reason, false
	}
	if a.Values == nil {
		a.Values = map[string]edgeagent.Value{}
	}
	act := &activation{alarm: a, rule: r}
	t, _ := advance(&act.alarm, rise, now) // normal has a row for it
	e.enter(act)
	return act, t
}

// enter makes an alarm one of the open ones. From outside there may be several
// of one name.
func (e *Engine) enter(act *activation) {
	e.open[act.alarm.ID] = act
	e.count(act.alarm, 1)
	if act.alarm.Origin != edgeagent.OriginOutside {
		e.active[keyOf(act.alarm)] = act
	}
}

// firstOut books a raise of the line and reports whether the line was quiet
// before it. Lines that are quiet again are forgotten: from outside come any. A
// raise that is still to come was stored by a clock that was ahead.
func (e *Engine) firstOut(line string, now time.Time) bool {
	maps.DeleteFunc(e.rose, func(_ string, last time.Time) bool { return now.Sub(last) > firstOutQuiet || last.After(now) })
	_, rose := e.rose[line]
	e.rose[line] = now
	return !rose
}

// count keeps how many alarms of a server are open.
func (e *Engine) count(a edgeagent.Alarm, n int) {
	if s := e.servers[a.Device]; s != nil && a.Origin == edgeagent.OriginServer {
		s.open += n
	}
}

// muter returns what keeps a rule from raising now, empty if nothing does.
func (e *Engine) muter(r *rule) string {
	for _, code := range outages {
		if e.isActive(outageKey(r.Device, code)) {
			return code
		}
	}
	switch {
	case e.maintained[r.Device]:
		return edgeagent.ReasonMaintenance
	case !r.settleUntil.IsZero() || r.awaited():
		return muteSettle
	default:
		return e.suppressor(r)
	}
}

// suppressor returns what an open alarm is suppressed by: its line's mode, or
// another alarm of the device.
func (e *Engine) suppressor(r *rule) string {
	if mode := r.byMode(); mode != "" {
		return mode
	}
	return e.inhibitor(r)
}

func (e *Engine) inhibitor(r *rule) string {
	for _, code := range r.InhibitedBy {
		if code != r.Code && e.isActive(key{origin: edgeagent.OriginTag, device: r.Device, code: code}) {
			return code
		}
	}
	return ""
}

func (e *Engine) isActive(k key) bool {
	act := e.active[k]
	return act != nil && act.alarm.State.Active()
}

// mute brings the rules of a device up to date with what mutes them now: open
// alarms say by what they are suppressed, rules that got their voice back are
// looked at again.
func (p *pass) mute(device string) {
	for _, r := range p.engine.byDevice[device] {
		if act := r.open; act != nil {
			if by := p.engine.suppressor(r); by != act.alarm.SuppressedBy && !r.awaited() {
				act.alarm.SuppressedBy = by
				p.change(act, mark)
			}
			continue
		}
		if r.muted && p.engine.muter(r) == "" {
			r.muted = false
			p.enqueue(r)
		}
	}
}
