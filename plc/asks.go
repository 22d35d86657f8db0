package plc

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"edgeagent"
)

const (
	askRefusedAgain = 10 * time.Minute
	defaultScan     = time.Second
)

// asks is how the tags of a device are asked for: the plan, what its refusals
// have taught, and the last answers.
type asks struct {
	tags    []TagSpec
	limits  limits
	classes []class
	refused map[int]refusal
	learned bool // a refusal changed what the plan must be
	knocks  int  // for tags that were refused, when nothing else was left to ask for

	last    []edgeagent.Sample // the last answer to each tag
	quality []edgeagent.Quality
}

// class is the tags that are scanned with one period.
type class struct {
	period   time.Duration
	slot     time.Time // of the next scan
	requests []Request
	gave     time.Time // when its last scan brought a value; zero: it brought none
}

// refusal is a tag that the device refuses to be asked for.
type refusal struct {
	note  *edgeagent.Note
	since time.Time
	again time.Time
	with  []int // the tags at the same addresses: asked for together
}

func newAsks(spec *DeviceSpec) asks {
	a := asks{
		tags:    slices.Clone(spec.Tags),
		limits:  limits{registers: spec.MaxRegisters, bits: spec.MaxBits, gap: spec.MaxGap, never: spec.NeverRead, cuts: make(map[cut]time.Time)},
		refused: make(map[int]refusal),
		last:    make([]edgeagent.Sample, len(spec.Tags)),
		quality: make([]edgeagent.Quality, len(spec.Tags)),
	}
	for i := range a.tags {
		t := &a.tags[i]
		if t.Scan <= 0 {
			t.Scan = spec.Scan
		}
		if t.Scan <= 0 {
			t.Scan = defaultScan
		}
		a.last[i] = a.unread(t)
	}
	a.replan()
	return a
}

// unread is the sample of a tag before its first answer.
func (a *asks) unread(t *TagSpec) edgeagent.Sample {
	text := "not read yet"
	if t.Node == "" && !a.limits.readable(t) {
		text = fmt.Sprintf("cannot be read: %s for %d lies in never_read or exceeds max_registers, max_bits or the address space", t.Addr, t.span())
	}
	return bad(edgeagent.Sample{Tag: t.Name}, edgeagent.ReasonNeverRead, text)
}

// replan keeps the slots of the classes and makes their requests anew.
func (a *asks) replan() {
	a.learned = false
	requests := a.limits.plan(a.tags, func(i int) bool { _, refused := a.refused[i]; return refused })
	if a.classes == nil {
		for i := range a.tags {
			if a.limits.readable(&a.tags[i]) { // a class that asks for nothing would count as answered
				a.class(a.tags[i].Scan)
			}
		}
	}
	for i := range a.classes {
		a.classes[i].requests = nil
	}
	for _, r := range requests {
		c := a.class(r.Scan)
		c.requests = append(c.requests, r)
	}
}

// class returns the class of a period, made if there is none.
func (a *asks) class(period time.Duration) *class {
	for i := range a.classes {
		if a.classes[i].period == period {
			return &a.classes[i]
		}
	}
	a.classes = append(a.classes, class{period: period})
	return &a.classes[len(a.classes)-1]
}

func (a *asks) startSlots(now time.Time) {
	for i := range a.classes {
		a.classes[i].slot = now.Add(a.classes[i].period)
	}
}

// nextSlot returns when the next class is to be read; false where nothing is
// asked for because the device tells by itself.
func (a *asks) nextSlot() (next time.Time, some bool) {
	for _, c := range a.classes {
		if !some || c.slot.Before(next) {
			next, some = c.slot, true
		}
	}
	return next, some
}

// at returns the classes whose slot has come, or all for the zero time.
func (a *asks) at(now time.Time) []*class {
	var out []*class
	for i := range a.classes {
		if c := &a.classes[i]; now.IsZero() || !c.slot.After(now) {
			out = append(out, c)
		}
	}
	return out
}

// advance moves a class to its next slot after now and returns how many slots
// were missed on the way. The slots keep their grid: no drift, no burst.
func (c *class) advance(now time.Time) uint64 {
	if c.slot.After(now) {
		return 0
	}
	passed := now.Sub(c.slot) / c.period
	c.slot = c.slot.Add((passed + 1) * c.period)
	return uint64(passed)
}

// refuse takes tags out of the plan until it is time to ask again. Their
// addresses become a hole that no request reads over.
func (a *asks) refuse(tags []int, note *edgeagent.Note, now time.Time) {
	for _, i := range tags {
		since := now
		if before, still := a.refused[i]; still {
			since = before.since
		}
		a.refused[i] = refusal{note: note, since: since, again: now.Add(askRefusedAgain), with: tags}
	}
	a.learnHoles()
}

// accept takes tags back into the plan. What was cut while they were refused may
// have been refused for the same reason; it is learned again if not. What was cut
// before was not: to learn that again would cost the scans of many other tags.
func (a *asks) accept(tags []int) {
	since := time.Now()
	for _, i := range tags {
		if r, refused := a.refused[i]; refused && r.since.Before(since) {
			since = r.since
		}
		delete(a.refused, i)
	}
	maps.DeleteFunc(a.limits.cuts, func(_ cut, at time.Time) bool { return !at.Before(since) })
	a.learnHoles()
}

// forgetRefusals asks for everything again with the next scan.
func (a *asks) forgetRefusals() {
	if len(a.refused) > 0 || len(a.limits.cuts) > 0 {
		clear(a.refused)
		clear(a.limits.cuts)
		a.learnHoles()
		a.replan()
	}
}

func (a *asks) learnHoles() {
	a.limits.holes = a.limits.holes[:0]
	for i := range a.refused {
		t := &a.tags[i]
		a.limits.holes = append(a.limits.holes, AddressRange{Area: t.Addr.Area, From: t.Addr.Offset, To: uint16(t.end() - 1)})
	}
	a.learned = true
}

func (a *asks) learnCut(at Request) {
	a.limits.cuts[cut{at.Area, at.Offset}] = time.Now()
	a.learned = true
}

// request returns the one request that reads the tags, which are of one area
// and sorted by address.
func (a *asks) request(tags []int) Request {
	first := &a.tags[tags[0]]
	r := Request{Area: first.Addr.Area, Offset: first.Addr.Offset, Scan: first.Scan, Tags: tags}
	for _, i := range tags {
		r.Quantity = uint16(max(r.end(), a.tags[i].end()) - int(r.Offset))
	}
	return r
}

// split halves the tags of a request between two different addresses; false
// when all its tags have the same.
func (a *asks) split(tags []int) (left, right []int, ok bool) {
	same := func(i, j int) bool { return byAddress(&a.tags[tags[i]], &a.tags[tags[j]]) == 0 }
	for step, half := 0, len(tags)/2; step <= half; step++ {
		for _, i := range []int{half - step, half + step} {
			if i > 0 && i < len(tags) && !same(i-1, i) {
				return tags[:i], tags[i:], true
			}
		}
	}
	return nil, nil, false
}

// requests returns what a scan of all tags asks for.
func (a *asks) requests() []Request {
	var out []Request
	for _, c := range a.classes {
		out = append(out, c.requests...)
	}
	return out
}
