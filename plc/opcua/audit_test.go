package opcua

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gopcua/opcua/ua"

	"edgeagent"
	"edgeagent/plc"
)

// confirmedLately reports whether a tag was confirmed since the ear forgot.
func (e *ear) confirmedLately(tag string) bool {
	return e.count(func(h plc.Heard) bool { return slices.Contains(h.Confirmed, tag) }) > 0
}

// confirmedAndOver ends a run in which a was good again.
func (r *running) confirmedAndOver(t *testing.T) {
	t.Helper()
	r.forget()
	settle(10 * time.Second)
	if !r.confirmedLately("a") {
		t.Error("good again, and never confirmed: it would be stale from now on")
	}
	r.finish(t)
}

// TestWhatAnAuditFoundGoodIsConfirmedAgain: a server that once could not read a
// node of which it tells has no reason to tell its value anew afterwards. Nobody
// may take that for a value that grows stale.
func TestWhatAnAuditFoundGoodIsConfirmedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newRig()
		p.set("ns=1;s=a", true)
		good := p.values["ns=1;s=a"]
		r := start(t, p, Options{Tags: []plc.TagSpec{node("a", edgeagent.TypeBool)}})
		settle(90 * time.Second)
		p.do(func() { p.values["ns=1;s=a"] = &ua.DataValue{Status: ua.StatusBadCommunicationError} }) // read, but not told
		settle(time.Minute)
		if s := r.last("a"); s.Quality != edgeagent.QualityBad {
			t.Fatalf("the audit found it %s", s.Quality)
		}
		p.do(func() { p.values["ns=1;s=a"] = good })
		settle(time.Minute)
		if s := r.last("a"); s.Quality != edgeagent.QualityGood {
			t.Fatalf("the next audit found it %s", s.Quality)
		}
		r.confirmedAndOver(t)
	})
}

// TestWhatAGapHidIsConfirmed: the notification that a value is good again may be
// the one that was lost.
func TestWhatAGapHidIsConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newRig()
		p.set("ns=1;s=a", true)
		good := p.values["ns=1;s=a"]
		p.set("ns=1;s=b", int16(1))
		r := start(t, p, Options{Tags: []plc.TagSpec{node("a", edgeagent.TypeBool), node("b", edgeagent.TypeInt16)}})
		settle(20 * time.Second)
		p.tell("ns=1;s=a", &ua.DataValue{Status: ua.StatusBadNotConnected})
		settle(time.Second)
		p.do(func() {
			p.values["ns=1;s=a"] = good
			p.subs[1].skip = 1
		})
		p.set("ns=1;s=b", int16(2))
		settle(time.Second)
		if s := r.last("a"); s.Quality != edgeagent.QualityGood {
			t.Fatalf("after the gap it is %s", s.Quality)
		}
		r.confirmedAndOver(t)
	})
}
