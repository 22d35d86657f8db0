package alarm

import (
	"testing"
	"time"

	"edgeagent"
)

// A server's clock may count in seconds, and a server may never touch a
// TransitionTime: what was over in between is another activation all the same.
func TestActiveAgainWithTheSameTransitionTime(t *testing.T) {
	at := func(c edgeagent.Condition, d time.Duration) edgeagent.Condition {
		return with(c, func(c *edgeagent.Condition) { c.At = c.At.Add(d) })
	}
	gone := func(c edgeagent.Condition) edgeagent.Condition {
		return with(over(acked(c)), func(c *edgeagent.Condition) { c.Gone = true })
	}
	hi := cond("Hi", began)
	t.Run("a TransitionTime that never changes", func(t *testing.T) {
		p := served(t)
		p.refresh()
		p.tells(hi, at(gone(hi), time.Minute))
		p.expect(p.tells(at(hi, 2*time.Minute)), "raised filler/Hi")
		p.expect(p.tells(at(over(hi), 3*time.Minute)), "cleared filler/Hi")
		p.expect(p.tells(at(hi, 4*time.Minute)), "marked filler/Hi, raised filler/Hi")
		p.expect(p.tells(at(gone(hi), 5*time.Minute)), "cleared filler/Hi")
		p.expect(p.tells(at(hi, 2*time.Minute), at(hi, 4*time.Minute)), "") // told again
	})
	t.Run("all within one second of the server's clock", func(t *testing.T) {
		p := served(t)
		p.tells(hi, with(hi, func(c *edgeagent.Condition) { c.Active = false }))
		p.expect(p.tells(hi), "marked filler/Hi, raised filler/Hi")
		p.expect(p.refresh(hi), "")
	})
	t.Run("in a gap", func(t *testing.T) {
		p := served(t)
		p.tells(hi, over(hi))
		p.expect(p.refresh(hi), "marked filler/Hi, raised filler/Hi at_start")
		p.tells(gone(hi))
		p.expect(p.refresh(), "")
		p.expect(p.refresh(hi), "raised filler/Hi")
	})
	t.Run("after an end within a refresh", func(t *testing.T) {
		p := served(t)
		p.tells(acked(hi))
		still := with(acked(hi), func(c *edgeagent.Condition) { c.Active, c.Gone = false, true })
		p.expect(p.refresh(still), "cleared filler/Hi after_gap")
		p.expect(p.tells(hi), "raised filler/Hi")
	})
	t.Run("over a restart", func(t *testing.T) {
		p := served(t)
		p.tells(hi, over(hi))
		p.restart()
		p.expect(p.refresh(at(hi, time.Minute)), "marked filler/Hi, raised filler/Hi at_start")
		p.tells(gone(hi))
		p.restart()
		p.expect(p.tells(at(hi, 3*time.Minute)), "raised filler/Hi")
	})
	t.Run("without a refresh, over a restart", func(t *testing.T) {
		p := served(t)
		lo := cond("Lo", began)
		p.tells(lo, with(lo, func(c *edgeagent.Condition) { c.Active = false }))
		p.restart()
		p.expect(p.tells(lo), "marked filler/Lo, raised filler/Lo")
		p.tells(hi, over(hi))
		p.restart()
		p.expect(p.tells(at(hi, time.Minute)), "marked filler/Hi, raised filler/Hi")
	})
	t.Run("disabled and enabled while it stands", func(t *testing.T) {
		p := served(t)
		p.tells(hi, with(at(over(hi), time.Minute), func(c *edgeagent.Condition) { c.Gone = true }))
		p.expect(p.tells(at(hi, 2*time.Minute)), "raised filler/Hi")
	})
}

// A server that tells no TransitionTime has only the time of the last event to
// tell after a start; that of the acknowledgement begins no activation.
func TestUndatedOverARestart(t *testing.T) {
	p := served(t)
	hi := with(cond("Hi", began), func(c *edgeagent.Condition) { c.Undated = true })
	seen := with(acked(hi), func(c *edgeagent.Condition) { c.At = began.Add(time.Minute) })
	p.expect(p.tells(hi, seen), "raised filler/Hi, acked filler/Hi")
	p.restart()
	seen.ActiveSince = seen.At
	p.expect(p.refresh(seen), "marked filler/Hi")
	p.restart()
	p.expect(p.refresh(seen), "")
}

// Of a server without a ConditionRefresh an event alone closes a gap.
func TestLaterActivationIsAnotherWithoutARefresh(t *testing.T) {
	p := served(t)
	p.tells(acked(cond("Hi", began)))
	p.expect(p.tells(cond("Hi", began.Add(time.Minute))), "cleared filler/Hi after_gap, raised filler/Hi")
}
