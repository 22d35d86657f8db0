package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"edgeagent"
	"edgeagent/config"
	"edgeagent/status"
)

// errRestarting is the cause of the end of a diagnosis beside the queue whose
// providers are replaced.
var errRestarting = errors.New("the agent stops or reads its configuration again; ask once more")

// counter lets people ask the router beside the queue. It lives as long as the
// router does: two routers would ask Ollama two things at a time.
type counter struct {
	aside aside
	mu    sync.Mutex
	asked sync.WaitGroup
	ended chan struct{}
	shut  bool
}

// Run keeps the counter open until ctx ends; then it ends what is being asked, and
// waits for it.
func (d *counter) Run(ctx context.Context) error {
	<-ctx.Done()
	d.mu.Lock()
	if !d.shut {
		d.shut = true
		close(d.ended)
	}
	d.mu.Unlock()
	d.asked.Wait()
	return nil
}

// enter reports whether the counter is open, and counts who is at it.
func (d *counter) enter() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.shut {
		return false
	}
	d.asked.Add(1)
	return true
}

// answer answers q, unless the counter closes meanwhile. The plant may have changed
// since the counter was opened, its providers have not.
func (d *counter) answer(ctx context.Context, cfg *config.Config, q status.AskedCase) (status.AnsweredCase, error) {
	if !d.enter() {
		return status.AnsweredCase{}, fmt.Errorf("%w: %w", edgeagent.ErrConflict, errRestarting)
	}
	defer d.asked.Done()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	left := make(chan struct{})
	defer close(left)
	go func() {
		select {
		case <-d.ended:
			cancel(errRestarting)
		case <-left:
		}
	}()
	x := d.aside
	x.cfg = cfg
	return x.AskCase(ctx, q)
}

// newCounter makes the place where people ask the router that a has now.
func (a *agent) newCounter() *counter {
	db := a.db.Load()
	return &counter{ended: make(chan struct{}), aside: aside{
		router: a.router.Load(), archive: db, present: a.presentEvidence,
		charge: func(job edgeagent.ID, usd float64) error {
			ctx, cancel := context.WithTimeout(context.Background(), chargeTime) // who asked may be gone; the money is too
			defer cancel()
			return db.Charge(ctx, job, usd)
		},
	}}
}

// chargeTime is how long a commit may take before somebody is told that it has
// not come.
const chargeTime = 10 * time.Second

// presentEvidence describes tags as they are now, in the loop that owns them.
func (a *agent) presentEvidence(ctx context.Context, device string, tags []string) (ev *edgeagent.Evidence, err error) {
	err = a.loop.Load().do(ctx, func(l *loop) {
		ev = l.table.Evidence(device, tags, time.Now())
		for _, d := range a.cfg.Load().Devices {
			if d.Name == device {
				ev.Mode = l.engine.Mode(d.Line)
			}
		}
	})
	return ev, err
}

// cases lets the page ask whichever counter is open; see [status.CaseAsker].
type cases struct{ *agent }

// AskCase answers q with the router of now.
func (x cases) AskCase(ctx context.Context, q status.AskedCase) (status.AnsweredCase, error) {
	d := x.counter.Load()
	if d == nil {
		return status.AnsweredCase{}, errChecking
	}
	return d.answer(ctx, x.cfg.Load(), q)
}
