package queue

import (
	"errors"
	"time"

	"edgeagent"
)

const (
	clockTrust  = 36 * time.Hour // a clock that differs by more was set, or is wrong
	clockSettle = 24 * time.Hour // of running on it, before history is deleted by it
	clockSave   = time.Hour
	clockUnset  = 5 * 365 * 24 * time.Hour
	clockBegin  = 2000 // the year before which it cannot be
)

// clock is what ages are counted by. A box without a clock battery starts in
// 1970, and a wrong time server says 2036: neither may delete what was kept for
// thirty days. So this clock goes on at the pace of the machine's own and takes
// over the time of day only while both agree, or when the time of day has stood
// by its word for a day of running. It is the committer's.
type clock struct {
	at    time.Time     // what this clock showed
	mono  time.Time     // when, by the machine; it has a monotonic reading
	held  time.Duration // for how long the time of day has said something else
	saved time.Time     // mono at the last save
}

// savedClock is the clock's record.
type savedClock struct {
	At   time.Time     `json:"at"`
	Held time.Duration `json:"held"`
}

// now advances the clock to the moment that the machine calls wall.
func (c *clock) now(wall time.Time) time.Time {
	if c.at.IsZero() {
		c.at, c.mono = wall.Round(0), wall
		return c.at
	}
	passed := max(0, wall.Sub(c.mono)) // monotonic: nobody sets it
	c.mono = wall
	c.advance(passed, wall.Round(0))
	return c.at
}

// advance goes on by what has passed, and takes over wall if that is believed.
func (c *clock) advance(passed time.Duration, wall time.Time) {
	c.at = c.at.Add(passed)
	if c.held += passed; wall.Sub(c.at).Abs() <= clockTrust || c.held >= clockSettle {
		c.at, c.held = wall, 0
	}
}

// age returns how old something is that happened at t by the time of day. Of what a
// wrong clock has dated the age is not known, and it is as good as new.
func (b *batch) age(t time.Time) time.Duration {
	if !b.dated(t) {
		return 0
	}
	return b.db.clock.now(b.now).Sub(t)
}

// ageOf returns the age of a job or an alarm that was over at t. Of one that a wrong
// clock has dated it counts from when it was first asked for: a box without a battery
// makes some at every start, and nothing says when that was.
func (b *batch) ageOf(id edgeagent.ID, t time.Time) (time.Duration, error) {
	if b.dated(t) {
		return b.age(t), nil
	}
	var seen time.Time
	err := b.getJSON(bucketBodies, part(id, partSeen), &seen)
	if err == nil && b.dated(seen) {
		return b.age(seen), nil
	}
	if err != nil && !errors.Is(err, edgeagent.ErrNotFound) && !errors.Is(err, errDamaged) {
		return 0, err
	}
	return 0, b.putJSON(bucketBodies, part(id, partSeen), 0, b.db.clock.now(b.now))
}

// dated reports whether a time can be believed. One of years before the file is of a
// clock that was not set, and one that is yet to come of a clock that was ahead.
func (b *batch) dated(t time.Time) bool {
	age := b.db.clock.now(b.now).Sub(t)
	return age >= -clockTrust && (age <= clockUnset || !t.Before(b.w.epoch.Time().Add(-clockTrust)))
}

// saveClock writes the clock with a commit that happens anyway.
func (b *batch) saveClock() error {
	c := &b.db.clock
	at := c.now(b.now)
	if !c.saved.IsZero() && b.now.Sub(c.saved) < clockSave {
		return nil
	}
	assign(b, &c.saved, b.now)
	return b.putJSON(bucketMeta, keyClock, 0, savedClock{at, c.held})
}

// loadClock goes on with the clock of the last life of the process.
func (b *batch) loadClock() error {
	var s savedClock
	err := b.getJSON(bucketMeta, keyClock, &s)
	if errors.Is(err, edgeagent.ErrNotFound) || errors.Is(err, errDamaged) {
		return nil // the time of day is all there is
	}
	b.db.clock = clock{at: s.At, mono: b.now, held: s.Held}
	return err
}

const keyClock = "clock"
