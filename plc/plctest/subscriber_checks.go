package plctest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"time"

	"edgeagent"
)

// losses are the ways to lose a server, and to get it back.
var losses = []Behaviour{HangingUp, Gone, Frozen, HalfOpen, Mute, Halted, Ending, Flapping}

// unanswered are those in which nothing is read: what is good afterwards is of afterwards.
var unanswered = []Behaviour{Gone, Frozen}

// SubscriberChecks returns all of the suite. They say what a driver must do, not
// how: none knows a protocol.
func SubscriberChecks() []SubscriberCheck {
	checks := []SubscriberCheck{
		{Name: "every change is told, in order", check: everyChange},
		{Name: "a bad status costs its own tag", check: spoilt},
		{Name: "a node that is deleted costs its own tag", check: deleted},
		{Name: "what stands is confirmed", check: confirmed},
		{Name: "all is fetched at once", check: fetched},
		{Name: "what the server lost is a gap, and read again", check: gapped},
		{Name: "slow is not dead", check: slow},
		{Name: "its context ends it, and nothing is told afterwards", check: func(l *listening) error { return contextEnds(l, Healthy) }},
		{Name: "its context ends it though the server is frozen", check: func(l *listening) error { return contextEnds(l, Frozen) }},
		{Name: "many connections leave nothing", check: leavesNothing, alone: true},
	}
	for _, b := range losses {
		checks = append(checks, SubscriberCheck{
			Name: "noticed, a gap, and got over: " + string(b), check: func(l *listening) error { return lost(l, b) },
		})
	}
	return checks
}

func everyChange(l *listening) error {
	if err := l.fresh(l.o.Timeout); err != nil {
		return err
	}
	first := l.round()
	for range 8 {
		l.say()
	}
	if err := l.fresh(l.o.Notice); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, t := range l.tags {
		for round := first; round <= l.said; round++ {
			if !slices.Contains(t.rounds, round) {
				return fmt.Errorf("%s was told %v: round %d is missing", name, t.rounds, round)
			}
		}
	}
	if l.gaps > 0 {
		return fmt.Errorf("%d gaps in health", l.gaps)
	}
	return nil
}

func spoilt(l *listening) error {
	if err := l.fresh(l.o.Timeout); err != nil {
		return err
	}
	one := l.peer.Tags()[0].Name
	l.peer.Spoil(one)
	if err := l.bad(one); err != nil {
		return err
	}
	return l.others(one, l.o.Notice)
}

// deleted: also whoever connects anew gets the others.
func deleted(l *listening) error {
	if err := l.fresh(l.o.Timeout); err != nil {
		return err
	}
	one := l.peer.Tags()[0].Name
	l.peer.Delete(one)
	if err := l.bad(one); err != nil {
		return err
	}
	if err := l.others(one, l.o.Notice); err != nil {
		return err
	}
	ended := l.episodes()
	if err := l.behave(HangingUp); err != nil {
		return err
	}
	if err := l.until("the connection ends", l.o.Notice, func() bool { return l.ended > ended }); err != nil {
		return err
	}
	l.peer.Behave(Healthy)
	if err := l.others(one, l.patience()); err != nil {
		return err
	}
	return l.bad(one)
}

// bad waits until a tag has no value, and others wait until all but it are good.
func (l *listening) bad(one string) error {
	return l.until(one+" is bad", l.o.Notice, func() bool { return l.tags[one].last.Quality == edgeagent.QualityBad })
}

func (l *listening) others(one string, within time.Duration) error {
	l.say()
	return l.until("all others are good", within, func() bool {
		for name, t := range l.tags {
			if name != one && !l.isFresh(t) {
				return false
			}
		}
		return l.tags[one].last.Quality == edgeagent.QualityBad
	})
}

func confirmed(l *listening) error {
	if err := l.fresh(l.o.Timeout); err != nil {
		return err
	}
	return l.until("all tags are confirmed twice", 2*l.o.Notice, func() bool {
		for _, t := range l.tags {
			if t.confirmed < 2 {
				return false
			}
		}
		return true
	})
}

// fetched reads beside the subscription; the device's supervisor lets nobody read
// two at a time.
func fetched(l *listening) error {
	if err := l.fresh(l.o.Timeout); err != nil {
		return err
	}
	l.say()
	scan, err := l.device.Probe(context.Background(), "device")
	if err != nil || len(scan.Samples) != len(l.tags) {
		return fmt.Errorf("fetched %d of %d tags: %w", len(scan.Samples), len(l.tags), err)
	}
	for _, s := range scan.Samples {
		if s.Quality != edgeagent.QualityGood || !s.Value.Equal(edgeagent.Uint(uint64(spoken(s.Tag, l.round())))) {
			return fmt.Errorf("fetched %s = %v (%s), want %#x", s.Tag, s.Value, s.Quality, spoken(s.Tag, l.round()))
		}
	}
	if err := l.behave(Frozen); err != nil {
		return err
	}
	defer l.peer.Behave(Healthy)
	ctx, cancel := context.WithTimeout(context.Background(), l.o.Timeout)
	defer cancel()
	if scan, err = l.device.Probe(ctx, "device"); err == nil {
		return fmt.Errorf("fetched %d tags of a frozen server", len(scan.Samples))
	}
	return nil
}

func gapped(l *listening) error {
	if err := l.fresh(l.o.Timeout); err != nil {
		return err
	}
	ended := l.episodes()
	if err := l.behave(Losing); err != nil {
		return err
	}
	l.say()
	if err := l.fresh(l.o.Notice); err != nil {
		return fmt.Errorf("of what was lost: %w", err)
	}
	if err := l.until("the gap is told", l.o.Notice, func() bool { return l.gaps > 0 }); err != nil {
		return err
	}
	if l.episodes() > ended {
		return errors.New("the connection was given up for a message that was lost")
	}
	return nil
}

// slow looks thrice: a busy machine is not too slow three times in a row.
func slow(l *listening) error {
	if err := l.fresh(l.o.Timeout); err != nil {
		return err
	}
	if err := l.behave(Slow); err != nil {
		return err
	}
	var ended int
	for range slowPlays {
		before, over := l.episodes(), time.Now().Add(l.o.Notice/3)
		for time.Now().Before(over) {
			l.say()
			if err := l.fresh(l.patience()); err != nil {
				return err
			}
		}
		if ended = l.episodes() - before; ended == 0 {
			return nil
		}
	}
	return fmt.Errorf("%d connections ended in %v though all was answered", ended, l.o.Notice/3)
}

func lost(l *listening, b Behaviour) error {
	if err := l.fresh(l.o.Timeout); err != nil {
		return err
	}
	ended := l.episodes()
	if err := l.behave(b); err != nil {
		return err
	}
	if b == Ending || b == Flapping {
		l.say() // something must be told
	}
	if err := l.until("the loss is noticed", l.o.Notice, func() bool { return l.ended > ended }); err != nil {
		return err
	}
	l.say()
	l.mu.Lock()
	if slices.Contains(unanswered, b) {
		l.floor = l.said
	}
	l.mu.Unlock()
	if err := l.behave(Healthy); err != nil {
		return err
	}
	if err := l.fresh(l.patience()); err != nil {
		return err
	}
	return l.until("the gap is told", l.o.Notice, func() bool { return l.gaps > 0 })
}

// patience is within what a server that is back must be listened to again: the
// request that hangs, the step of retrying that follows, and the way up.
func (l *listening) patience() time.Duration {
	step := l.o.Step << max(l.device.Status()[0].Attempt, 0)
	return 2*l.o.Timeout + step + step/2
}

func contextEnds(l *listening, b Behaviour) error {
	if err := l.fresh(l.o.Timeout); err != nil {
		return err
	}
	if err := l.behave(b); err != nil {
		return err
	}
	if err := l.end(); err != nil {
		l.peer.Behave(Healthy)
		return err
	}
	l.peer.Behave(Healthy)
	l.say() // into nobody's ear: the verdict looks
	return l.until("", l.o.Step, nil)
}

func leavesNothing(l *listening) error {
	if err := l.fresh(l.o.Timeout); err != nil {
		return err
	}
	if err := l.end(); err != nil {
		return err
	}
	goroutines, files := l.settled(), descriptors()
	for i := range l.o.Episodes {
		l.begin(context.Background())
		if err := l.fresh(l.patience()); err != nil {
			return err
		}
		if ended := l.episodes(); i%2 == 0 {
			l.peer.Behave(HangingUp)
			if err := l.until("the connection ends", l.o.Notice, func() bool { return l.ended > ended }); err != nil {
				return err
			}
			l.peer.Behave(Healthy)
		}
		if err := l.end(); err != nil {
			return err
		}
	}
	if err := l.until("", l.o.Notice, func() bool { return runtime.NumGoroutine() <= goroutines && descriptors() <= files }); err != nil {
		return fmt.Errorf("%d goroutines and %d descriptors after one connection, %d and %d after %d more",
			goroutines, files, runtime.NumGoroutine(), descriptors(), l.o.Episodes)
	}
	return nil
}

// settled returns how many goroutines there are once their number stands still.
func (l *listening) settled() int {
	n, same := runtime.NumGoroutine(), 0
	_ = l.until("", l.o.Notice, func() bool {
		now := runtime.NumGoroutine()
		if same++; now != n {
			n, same = now, 0
		}
		return same > 20
	})
	return n
}

// descriptors counts the open files of this process; where the system does not
// say, none.
func descriptors() int {
	open, _ := os.ReadDir("/proc/self/fd")
	return len(open)
}

func (l *listening) behave(b Behaviour) error {
	if !l.peer.Behave(b) {
		return fmt.Errorf("a server that is %s: %w", b, errUnknown)
	}
	return nil
}

func (l *listening) round() uint16 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.said
}

func (l *listening) episodes() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ended
}

// isFresh reports whether a tag's newest value is good and of this round. The
// caller holds mu.
func (l *listening) isFresh(t *heardTag) bool {
	return t.last.Quality == edgeagent.QualityGood && len(t.rounds) > 0 && t.rounds[len(t.rounds)-1] == l.said
}

// fresh waits until all tags are good and of this round.
func (l *listening) fresh(within time.Duration) error {
	return l.until("all tags are good and new", within, func() bool {
		for _, t := range l.tags {
			if !l.isFresh(t) {
				return false
			}
		}
		return true
	})
}

// until waits for what is told; without a condition, for the time to pass. Of a
// time in which this process stood still next to nothing counts: what was to be
// told could not come.
func (l *listening) until(what string, within time.Duration, is func() bool) error {
	pace := max(within/1000, time.Millisecond)
	look := time.NewTicker(pace)
	defer look.Stop()
	for waited, last := time.Duration(0), time.Now(); ; {
		l.mu.Lock()
		yes := is != nil && is()
		l.mu.Unlock()
		if yes || is == nil && waited >= within {
			return nil
		}
		if waited >= within {
			return l.waited(what, within)
		}
		<-look.C
		now := time.Now()
		waited, last = waited+min(now.Sub(last), 10*pace), now
	}
}

func (l *listening) waited(what string, within time.Duration) error {
	d := l.device.Status()[0]
	l.mu.Lock()
	defer l.mu.Unlock()
	state := fmt.Sprintf("%s (%s), %d episodes ended, %d gaps", d.State, d.Error, l.ended, l.gaps)
	for name, t := range l.tags {
		if !l.isFresh(t) {
			return fmt.Errorf("waited %v until %s: %s; %s is %v (%s) after rounds %v of %d",
				within, what, state, name, t.last.Value, t.last.Quality, t.rounds, l.said)
		}
	}
	return fmt.Errorf("waited %v until %s: %s", within, what, state)
}
