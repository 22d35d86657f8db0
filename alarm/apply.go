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
	if e.fresh[scan.Device] { // of before a restart may be suppressed by what is no more
		delete(e.fresh, scan.Device)
		p.stir(scan.Device)
	}
	p.awaitModes()
	for _, ev := range scan.Events {
		p.device(scan.Device, ev)
	}
	p.revive(scan)
	p.read(scan)
	p.conditions(scan)
	p.settle()
	return p.out
}

// Tick does what is due without a scan: delays and shelvings that end, modes
// that settle, values that have grown stale.
func (e *Engine) Tick(now time.Time, v View) []edgeagent.Transition {
	p := &pass{engine: e, view: v, now: now}
	p.endShelves()
	for _, m := range e.modes {
		if p.reached(m.freshUntil) {
			p.lines([]*lineModes{m})
		}
	}
	for device, s := range e.servers {
		if p.reached(s.lostAt) {
			p.loseServer(device)
		}
	}
	for r := range e.live {
		if p.reached(r.due()) {
			p.enqueue(r)
		}
	}
	p.settle()
	return p.out
}

// reached reports whether it is time; zero is never.
func (p *pass) reached(at time.Time) bool { return !at.IsZero() && !p.now.Before(at) }

// pass is the work of one call.
type pass struct {
	engine *Engine
	view   View
	now    time.Time
	queue  []*rule
	rising []*rule         // conditions that hold and have outlived their delay
	moved  map[string]bool // devices whose muting may have changed
	out    []edgeagent.Transition
}

// stir says that what mutes the rules of a device may have changed.
func (p *pass) stir(device string) {
	if p.moved == nil {
		p.moved = map[string]bool{}
	}
	p.moved[device] = true
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
// until nothing moves. It ends, for a rule can only rise or fall once a pass;
// a number without a row, which may do both, is named once.
func (p *pass) settle() {
	for len(p.queue) > 0 || len(p.moved) > 0 {
		queue := p.queue
		p.queue = nil
		slices.SortStableFunc(queue, func(a, b *rule) int { return cmp.Compare(a.order, b.order) })
		for _, r := range queue {
			r.queued = false
			p.look(r)
		}
		p.raiseAll()
		moved := p.moved
		p.moved = nil
		for _, d := range slices.Sorted(maps.Keys(moved)) {
			p.mute(d)
		}
	}
}

// look evaluates one rule.
func (p *pass) look(r *rule) {
	defer p.engine.note(r)
	if p.reached(r.settleUntil) {
		r.settleUntil = time.Time{}
	}
	usable := p.load(r)
	_, held := standing(r.signals)
	r.held = held && !usable
	switch {
	case r.held: // its delay goes on: who loses a packet now and then would never hear of it
		return
	case !usable:
		r.since = time.Time{}
		if r.open != nil {
			p.markLost(r, true)
		}
		return
	}
	holds, clears, known := r.question.answer()
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
	r.freshUntil = p.ahead(r.freshUntil)
	return usable
}

// ahead returns when a value must be looked at again that is fresh until at. If
// that is past already, the view still stands by a value that old: ask again.
func (p *pass) ahead(at time.Time) time.Time {
	if p.reached(at) {
		return p.now.Add(time.Second)
	}
	return at
}

// standing reports whether all signals are usable, and, if not, whether those
// that are missing are merely unanswered for a moment: one lost packet on a
// card-backed agent must not cost two commits.
func standing(signals []*signal) (usable, held bool) {
	usable, held = true, true
	for _, s := range signals {
		usable = usable && s.usable
		held = held && (s.usable || s.held)
	}
	return usable, held
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
		r.since, r.looked = time.Time{}, r.looked || !holds
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
	t, err := p.engine.change(act, ev, p.now)
	if err != nil {
		return
	}
	p.out = append(p.out, t)
	if t.Kind == edgeagent.TransitionCleared {
		p.stir(t.Alarm.Device)
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
