package alarm

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"edgeagent"
)

// Apply evaluates what a scan brought and returns what changed, in order. The
// view must know the scan already. Now may be taken from the monotonic clock:
// delays are differences of it.
func (e *Engine) Apply(scan edgeagent.Scan, v View, now time.Time) []edgeagent.Transition {
	p := &pass{engine: e, view: v, now: now}
	for _, ev := range scan.Events {
		p.device(scan.Device, ev)
	}
	if e.alive(scan) {
		p.device(scan.Device, edgeagent.DeviceEvent{Kind: edgeagent.DeviceEventResumed, At: now})
	}
	for _, s := range scan.Samples {
		p.enqueue(e.byTag[scan.Device+"."+s.Tag]...)
	}
	p.settle()
	return p.out
}

// Tick does what is due without a scan: delays and shelvings that end, values
// that have grown stale.
func (e *Engine) Tick(now time.Time, v View) []edgeagent.Transition {
	p := &pass{engine: e, view: v, now: now}
	p.endShelves()
	for _, r := range e.rules {
		if at := r.due(); !at.IsZero() && !now.Before(at) {
			p.enqueue(r)
		}
	}
	p.settle()
	return p.out
}

// alive reports whether a device that is held to be stopped delivers good
// values again without anybody having said so: a changed connection starts anew
// and knows nothing of the stop.
func (e *Engine) alive(scan edgeagent.Scan) bool {
	act := e.active[stopKey(scan.Device)]
	if act == nil || !act.alarm.State.Active() {
		return false
	}
	since := e.stopped[scan.Device]
	return slices.ContainsFunc(scan.Samples, func(s edgeagent.Sample) bool {
		return s.Quality == edgeagent.QualityGood && s.At.After(since)
	})
}

// pass is the work of one call.
type pass struct {
	engine *Engine
	view   View
	now    time.Time
	queue  []*rule
	rising []*rule // conditions that hold and have outlived their delay
	out    []edgeagent.Transition
}

func (p *pass) enqueue(rules ...*rule) {
	for _, r := range rules {
		if !r.queued {
			r.queued = true
			p.queue = append(p.queue, r)
		}
	}
}

// settle looks at every rule in the queue, then raises. A raise or a clear may
// mute other rules or give them their voice back; those are looked at again
// until nothing moves. It ends, for a rule can only rise or fall once a pass.
func (p *pass) settle() {
	for len(p.queue) > 0 {
		queue := p.queue
		p.queue = nil
		slices.SortStableFunc(queue, func(a, b *rule) int { return cmp.Compare(a.order, b.order) })
		devices := map[string]bool{}
		for _, r := range queue {
			r.queued = false
			p.look(r)
			devices[r.Device] = true
		}
		p.raiseAll()
		for _, d := range slices.Sorted(maps.Keys(devices)) {
			p.mute(d)
		}
	}
}

// look evaluates one rule.
func (p *pass) look(r *rule) {
	if !p.load(r) {
		r.since = time.Time{}
		if r.open != nil && !r.held() {
			p.markLost(r, true)
		}
		return
	}
	holds, clears, known := p.evaluate(r)
	switch {
	case !known:
		r.since = time.Time{}
	case r.open != nil:
		p.lookActive(r, clears)
	default:
		p.lookNormal(r, holds)
	}
}

// load takes over the values of a rule, and reports whether it may rest on all
// of them: none is missing, bad, stale or no number.
func (p *pass) load(r *rule) bool {
	usable := true
	r.roseAt, r.freshUntil = time.Time{}, time.Time{}
	for _, s := range r.signals {
		if !s.load(p.view, p.now) {
			usable = false
			if s.held {
				r.freshUntil = earlier(r.freshUntil, s.fresh)
			}
			continue
		}
		r.freshUntil = earlier(r.freshUntil, s.fresh)
		if s.at.After(r.roseAt) {
			r.roseAt = s.at
		}
	}
	if !r.freshUntil.IsZero() && !r.freshUntil.After(p.now) {
		r.freshUntil = p.now.Add(time.Second) // the view still stands by a value that old: ask again
	}
	return usable
}

// held reports whether every value that is missing is merely unanswered for a
// moment: one lost packet on a card-backed agent must not cost two commits.
func (r *rule) held() bool {
	return !slices.ContainsFunc(r.signals, func(s *signal) bool { return !s.usable && !s.held })
}

// evaluate computes both conditions. They are not known before a rate has been
// measured, nor where the arithmetic has no answer: that decides nothing.
func (p *pass) evaluate(r *rule) (holds, clears, known bool) {
	if !r.rated() {
		return false, false, false
	}
	holds, err := r.when.holds(&p.engine.machine)
	if err != nil || r.clear == nil {
		return holds, !holds, err == nil
	}
	clears, err = r.clear.holds(&p.engine.machine)
	return holds, clears && !holds, err == nil // while the condition holds, nothing clears it
}

// rated reports whether every rate has been measured.
func (r *rule) rated() bool {
	for _, c := range []*condition{r.when, r.clear} {
		if c == nil {
			continue
		}
		for _, s := range c.rates {
			if !s.rateKnown {
				return false
			}
		}
	}
	return true
}

func (p *pass) lookActive(r *rule, clears bool) {
	r.looked = true
	if !clears {
		r.since, r.restored = time.Time{}, false
		p.markLost(r, false)
		return
	}
	if r.since.IsZero() {
		r.since = p.now
	}
	if p.now.Sub(r.since) < r.OffDelay {
		p.markLost(r, false)
		return
	}
	act := r.open
	act.alarm.ValueLostSince, act.alarm.SuppressedBy = nil, ""
	if r.restored {
		act.alarm.Observed = edgeagent.ObservedAfterGap
	}
	p.change(act, fall)
}

func (p *pass) lookNormal(r *rule, holds bool) {
	if r.muted = p.engine.muter(r) != ""; r.muted {
		r.since = time.Time{}
		return
	}
	first := !r.looked
	r.looked = true
	if !holds {
		r.since, r.atStart = time.Time{}, false
		return
	}
	r.atStart = r.atStart || first
	if r.since.IsZero() {
		r.since = p.now
	}
	if p.now.Sub(r.since) >= r.OnDelay {
		p.rising = append(p.rising, r)
	}
}

// markLost books that the values of an open alarm were lost or found again.
func (p *pass) markLost(r *rule, lost bool) {
	act := r.open
	if lost == (act.alarm.ValueLostSince != nil) {
		return
	}
	act.alarm.ValueLostSince = nil
	if lost {
		at := p.now.Round(0)
		act.alarm.ValueLostSince = &at
	}
	p.change(act, mark)
}

// change applies an event that the caller knows to fit.
func (p *pass) change(act *activation, ev event) {
	if t, err := p.engine.change(act, ev, p.now); err == nil {
		p.out = append(p.out, t)
	}
}

// endShelves shows again what was shelved until now.
func (p *pass) endShelves() {
	e := p.engine
	for _, act := range e.byAge() {
		if until := e.shelvedUntil(act); !until.IsZero() && !p.now.Before(until) {
			act.alarm.ShelvedUntil, act.alarm.ShelveReason = nil, ""
			p.change(act, unshelve)
		}
	}
	maps.DeleteFunc(e.shelves, func(_ key, s shelf) bool { return !p.now.Before(s.until) })
}

// shelvedUntil is zero for an alarm that is not shelved. The shelf knows the
// moment on the monotonic clock; alarms from outside may share one, and lose it
// when another of their name is shown again.
func (e *Engine) shelvedUntil(act *activation) time.Time {
	if act.alarm.ShelvedUntil == nil {
		return time.Time{}
	}
	if s, ok := e.shelves[keyOf(act.alarm)]; ok {
		return s.until
	}
	return *act.alarm.ShelvedUntil
}

func (e *Engine) byAge() []*activation {
	return slices.SortedFunc(maps.Values(e.open), func(a, b *activation) int { return cmp.Compare(a.alarm.ID, b.alarm.ID) })
}
