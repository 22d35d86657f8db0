//go:build qemu

package e2e

import (
	"bytes"
	"testing"
	"time"

	"edgeagent/e2e/qemu"
)

// The power of a whole computer is cut, again and again: arm64, Debian's kernel,
// ext4, a drive with a volatile write cache. It has to start by itself each time
// and to have all that it ever answered to.
func TestPowerCutsOfAMachine(t *testing.T) {
	r := newGateway(t, "")
	began := time.Now()
	for range 4 {
		r.image = bytes.Clone(r.empty)
		r.liveAndDie(creating)
		r.liveAndDie(created)
	}
	for i := range 21 {
		r.liveAndDie(moments[i%len(moments)])
	}
	r.lastLife()
	if r.endings > 0 {
		t.Errorf("the agent ended by itself %d times", r.endings)
	}
	if r.dirty < 5 {
		t.Errorf("at %d cuts alone the drive's cache held anything: this proves little", r.dirty)
	}
	t.Logf("%d power cuts (%s), %d of them with writes in the drive's cache, %d boots, %d promises of which %d alarms acknowledged, %d acknowledged by people and %d jobs shown completed, "+
		"%d flushes, %.0f s, seed %d",
		r.boots-1, r.cutsByMoment(), r.dirty, r.boots, len(r.promises), r.count("ALARM"), r.count("ACK"), r.count("JOB"),
		r.flushes, time.Since(began).Seconds(), *seed)
}

// A rig that cannot fail proves nothing. The mutants must lose what they
// acknowledged, by cuts that an honest drive and the agent as it is survive.
func TestPowerCutsOfAMachineCatchMutants(t *testing.T) {
	for _, c := range []struct {
		name, tag string
		lies      bool
		holds     bool
	}{
		{name: "nothing is wrong", holds: true},
		{name: "never synced", tag: "mutant_nosync"},
		{name: "acknowledged before the commit", tag: "mutant_early_ack"},
		{name: "one flush in five ignored", lies: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			const most = 24 // with one sync a commit a cut seldom falls between an early word and its commit
			r := newGateway(t, c.tag)
			r.fates = fates(0)
			if c.lies {
				r.lie = func() bool { return r.random.IntN(5) == 0 }
			}
			for cuts := range most + 1 {
				broken := r.ackAndDie()
				if broken != "" && c.holds {
					r.fail(broken)
				}
				if broken != "" {
					t.Logf("caught after %d cuts of at most %d: %s", cuts, most, broken)
					return
				}
			}
			if c.holds {
				return
			}
			t.Fatalf("not caught in %d cuts: this rig proves nothing", most)
		})
	}
}

// A moment is when in its life a machine loses its power.
type moment string

const (
	creating     moment = "creating its file"         // on an empty disk
	created      moment = "on what its creation left" // nothing has been promised yet
	starting     moment = "starting"
	working      moment = "posting"
	draining     moment = "draining"
	acknowledged moment = "around an acknowledgement"
)

// moments is the order in which they come, once there is a file.
var moments = []moment{working, working, draining, starting, working, draining, working}

// liveAndDie is one life of the computer, until its power is cut at a moment.
func (r *gateway) liveAndDie(at moment) {
	r.t.Helper()
	// What is created anew is another file: upstream must not know of it before it
	// stays.
	r.closed.Store(at == creating || at == created || at == draining)
	if at == creating || at == starting {
		if err := r.on(); err != nil {
			r.fail(err.Error())
		}
		r.strike(1500*time.Millisecond, 40)
		r.cut(at)
		return
	}
	if broken := r.up(); broken != "" {
		r.fail(broken)
	}
	if at == created {
		r.strike(time.Second, 9)
		r.cut(at)
		return
	}
	stop := r.people()
	r.pass(2 * time.Second)
	if at == draining {
		r.drain()
	}
	r.strike(time.Second, 120)
	r.cut(at)
	stop()
}

// drain opens the upstream and returns when it has begun to take what was
// waiting.
func (r *gateway) drain() {
	select {
	case <-r.took:
	default:
	}
	r.closed.Store(false)
	select {
	case <-r.took:
	case <-time.After(2 * time.Minute): // after an outage it takes up to one
		r.fail("nothing came upstream within two minutes")
	}
}

// strike returns at the moment of the power cut: a third of them at a random
// time, a third at a random write or flush, a third at a flush, when what was
// written since the last one is in the drive's cache.
func (r *gateway) strike(most time.Duration, requests int) {
	var failed <-chan struct{}
	switch r.boots % 3 {
	case 0:
		r.pass(most)
		return
	case 1:
		failed = r.disk.FailAfter(r.random.IntN(requests), qemu.AnyRequest)
	case 2:
		failed = r.disk.FailAfter(r.random.IntN(requests/3), qemu.AnyFlush)
	}
	select {
	case <-failed:
	case <-time.After(3 * most): // an agent at rest writes nothing
	}
}

// pass lets a random time pass, up to most.
func (r *gateway) pass(most time.Duration) {
	time.Sleep(time.Duration(r.random.Int64N(int64(most)))) // what the rig is about: there is nothing to wait for
}

func (r *gateway) fail(why string) {
	r.t.Helper()
	_ = r.machine.Cut()
	r.t.Fatalf("boot %d: %s\n%s", r.boots, why, tail(r.machine.Console.String(), 4000))
}

// lastLife brings everything to its end and judges all promises there ever were.
func (r *gateway) lastLife() {
	r.t.Helper()
	r.judged = 0
	if broken := r.up(); broken != "" {
		r.fail(broken)
	}
	for len(r.open) > 0 {
		if _, err := r.raise(r.key(0)); err != nil {
			r.fail(err.Error())
		}
	}
	r.agent.eventually(3*time.Minute, "everything is diagnosed and confirmed", func() bool {
		var s statusDoc
		return r.agent.get("/api/v1/status", &s) == nil && s.Jobs.Pending+s.Jobs.Running == 0 && s.Upstream[0].Backlog == 0
	})
	r.books.judge(r.t, r.kept())
	if err := r.machine.Cut(); err != nil {
		r.t.Logf("the disk's server ended: %v", err)
	}
	if len(r.kept()) < 100 {
		r.t.Errorf("only %d promises were made: this proves little", len(r.promises))
	}
}

// ackAndDie cuts the power right after an alarm was acknowledged, of a lying
// drive after an acknowledgement that rests on a lie. It says what was broken by
// the cuts before.
func (r *gateway) ackAndDie() (broken string) {
	r.t.Helper()
	if broken := r.up(); broken != "" {
		return broken
	}
	if r.lie == nil && r.boots%2 == 0 {
		r.dieAtFlush()
		return ""
	}
	for range 100 {
		if _, err := r.raise(r.key(0)); err != nil {
			return "the agent does not answer: " + err.Error()
		}
		if _, withheld := r.disk.Flushes(); withheld || r.lie == nil {
			break
		}
	}
	r.cut(acknowledged)
	return ""
}

// dieAtFlush lets the power fail at the flush of an alarm's commit: nobody may
// be told of an alarm that waits for it. One is answered to before, for what a
// start writes is flushed too, and who asks meanwhile waits behind that.
func (r *gateway) dieAtFlush() {
	r.t.Helper()
	if _, err := r.raise(r.key(0)); err != nil {
		r.fail("the agent does not answer: " + err.Error())
	}
	failed, answered := r.disk.FailAfter(0, qemu.AnyFlush), make(chan struct{})
	go func() {
		defer close(answered)
		_, _ = r.raise(r.key(0)) // only an answer counts, and that is a promise
	}()
	select {
	case <-failed:
	case <-time.After(10 * time.Second): // whoever never flushes goes on
	}
	select {
	case <-answered:
	case <-time.After(5 * time.Second): // for an answer that rests on nothing; on a busy host it takes its time
	}
	r.cut(acknowledged)
	<-answered
}
