package e2e

import (
	"syscall"
	"testing"
	"time"
)

// What can go wrong with a server, and how it ends.
var opcuaFaults = []struct {
	name       string
	begin, end func(p *opcuaPeer)
}{
	{"stopped process", func(p *opcuaPeer) { p.signal(syscall.SIGSTOP) }, func(p *opcuaPeer) { p.signal(syscall.SIGCONT) }},
	{"kill and restart", func(p *opcuaPeer) { p.kill() }, func(p *opcuaPeer) { p.up() }},
	{"TCP cut", func(p *opcuaPeer) { p.chaos.set(chaosCut) }, func(p *opcuaPeer) { p.chaos.set(chaosPass) }},
	{"black hole", func(p *opcuaPeer) { p.chaos.set(chaosHole) }, func(p *opcuaPeer) { p.chaos.set(chaosPass) }},
}

func TestOPCUAFaultsAreNoticedAndGotOver(t *testing.T) {
	mostlyWaits(t)
	p := ownOPCUA(t, "{}")
	keys := watchful(opcuaKeys("Basic256Sha256", "SignAndEncrypt", p.cert, ""))
	a := newAgent(t, plan{devices: opcuaDevice(p.chaos.addr(), keys, quickRetry+"timeout = \"2s\"\n")}.toml(t))
	// Quiet or not: three watchdogs, and one retry step and a handshake.
	soon, again := 9*time.Second, 8*time.Second
	if !full() {
		soon, again = 3*soon, 3*again
	}
	a.start()
	allGood(a, opcuaTags)
	for i, f := range opcuaFaults {
		t.Run(f.name, func(t *testing.T) {
			a.anew("line1")
			allGood(a, opcuaTags)
			began := time.Now()
			f.begin(p)
			a.eventually(15*time.Second, "the loss is noticed", func() bool {
				d := a.device("line1")
				return d.State == "retrying" && d.Tags.Good == 0
			})
			noticed := time.Since(began)
			if noticed > soon {
				t.Errorf("noticed after %v, want %v at most", noticed.Round(100*time.Millisecond), soon)
			}
			f.end(p)
			back := time.Now()
			step := time.Until(a.nextTry("line1")) // the longest that the present step may last
			allGood(a, opcuaTags)
			recovered := time.Since(back)
			if limit := step + again; recovered > limit {
				t.Errorf("recovered %v after the return, want one retry step, %v", recovered.Round(100*time.Millisecond), limit)
			}
			t.Logf("noticed after %.1f s, recovered %.1f s after the return", noticed.Seconds(), recovered.Seconds())
			a.eventually(10*time.Second, "each loss is a gap", func() bool { return a.device("line1").Gaps > uint64(i) })
		})
	}
	t.Run("a node is deleted", func(t *testing.T) { deletedNode(t, p, a) })
}

// deletedNode: what a PLC download took away costs its own tag alone.
func deletedNode(t *testing.T, p *opcuaPeer, a *agent) {
	p.say("delete V7")
	p.chaos.set(chaosCut) // a download interrupts the connection, too
	p.chaos.set(chaosPass)
	a.eventually(40*time.Second, "all but one tag is good again", func() bool {
		d := a.device("line1")
		return d.State == "polling" && d.Tags.Good == opcuaTags-1 && d.Tags.Bad == 1
	})
	if v7 := a.tags("line1")["v7"]; v7.Value != nil || v7.Reason == nil {
		t.Errorf("v7 = %+v, want no value and a reason", v7)
	}
}

// An agent that cannot keep up for a while gets a new subscription, not none, and
// says that values are missing.
func TestOPCUASlowConsumer(t *testing.T) {
	p := startOPCUA(t)
	a := newAgent(t, plan{devices: opcuaDevice(p.chaos.addr(), watchful(opcuaKeys("None", "None", "", "")), quickRetry)}.toml(t))
	a.start()
	allGood(a, opcuaTags)
	late := 10 * time.Second // longer than any silence that is put up with
	if full() {
		late = 70 * time.Second // longer than session and subscription live without a request
	}
	gaps := a.device("line1").Gaps
	_ = syscall.Kill(a.pid(), syscall.SIGSTOP)
	time.Sleep(late)
	_ = syscall.Kill(a.pid(), syscall.SIGCONT)
	p.say("set Level 33.5")
	a.eventually(30*time.Second, "values come again", func() bool {
		level := a.tags("line1")["level"]
		return level.Value == 33.5 && level.Quality == "good"
	})
	allGood(a, opcuaTags)
	a.eventually(10*time.Second, "the gap is recorded", func() bool { return a.device("line1").Gaps > gaps })
}
