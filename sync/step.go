package upsync

import (
	"context"
	"log/slog"
	"time"

	"edgeagent"
)

// step looks the event up in the machine, changes the state and acts.
func (u *Uploader) step(r result) {
	u.trial = false
	for _, row := range machine {
		if row.from == u.state && row.on == r.event {
			u.enter(row.to, r)
			u.do(row.do, r)
			return
		}
	}
	u.o.Log.Error("no row for this in the upstream's machine", "upstream", u.o.Name, "state", u.state, "event", r.event)
	u.wait(time.Now().Add(u.o.Retry.Max))
}

// enter notes the state and why; a change is logged once.
func (u *Uploader) enter(to edgeagent.UpstreamState, r result) {
	u.mu.Lock()
	from := u.state
	u.state = to
	if from != to {
		u.since = time.Now()
	}
	switch {
	case r.err != nil:
		u.text = r.err.Error()
	case r.event != halfway: // a heartbeat does not mend what the events met
		u.text = ""
	}
	text := u.text
	u.mu.Unlock()
	if from != to {
		level := slog.LevelInfo
		if to == edgeagent.UpstreamPaused { // no outage: somebody has to look
			level = slog.LevelWarn
		}
		u.o.Log.Log(context.Background(), level, "upstream changed its state", "upstream", u.o.Name, "from", from, "to", to, "why", text)
	}
	if u.o.OnChange != nil {
		u.o.OnChange()
	}
	if to != edgeagent.UpstreamUp {
		u.portion.doubt()
		u.trusted = false
		if u.outage.IsZero() {
			u.outage = time.Now()
		}
	}
}

func (u *Uploader) do(what action, r result) {
	switch what {
	case goOn:
		u.fails = 0
	case resume:
		u.comeBack()
	case try:
		u.trial = true
	case backOff, slowDown:
		u.failed(r)
	case halve:
		u.fails = 0
		u.portion.refused(r)
	case hold:
		u.fails = 0
		u.wait(time.Now().Add(pauseFor))
	}
}

// comeBack starts sending again. After an outage that others shared, a random
// start and a slow flow keep a fleet from knocking its upstream over.
func (u *Uploader) comeBack() {
	gone := u.gone()
	u.fails, u.outage = 0, time.Time{}
	u.pace.end()
	if gone >= 10*time.Second {
		u.pace.begin()
		u.flow = time.Now().Add(u.share(spreadOver(gone)))
	}
}

// gone returns how long nothing was confirmed. After a start that is the age
// of the oldest event: the power may have come back for everybody.
func (u *Uploader) gone() time.Duration {
	var d time.Duration
	if !u.outage.IsZero() {
		d = time.Since(u.outage)
	}
	if b := u.o.Book.Backlog(u.o.Name); !u.takesEvents && b.Events > 0 {
		d = max(d, time.Since(b.Oldest))
	}
	return d
}

func spreadOver(gone time.Duration) time.Duration {
	if gone > 5*time.Minute {
		return time.Minute
	}
	return 5 * time.Second
}

// failed waits before the same is sent again: what the upstream asked for and
// up to half more, or the back-off, all of it random but half its first step.
func (u *Uploader) failed(r result) {
	u.fails++
	if len(r.batch.events) > 0 {
		u.pace.bad()
		u.portion.slow(r)
	}
	if after := min(r.err.RetryAfter, time.Hour); after > 0 {
		u.ordered = true
		u.wait(time.Now().Add(after + u.share(after/2)))
		return
	}
	least := u.o.Retry.First / 2
	u.wait(time.Now().Add(least + u.share(u.o.Retry.Wait(u.fails)-least)))
}

// share returns a random part of d.
func (u *Uploader) share(d time.Duration) time.Duration {
	return time.Duration(u.random() * float64(d))
}
