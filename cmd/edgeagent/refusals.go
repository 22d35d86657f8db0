package main

import (
	"context"
	"fmt"
	"slices"

	"edgeagent"
	"edgeagent/config"
	"edgeagent/queue"
	"edgeagent/status"
)

// refusals is what upstreams have refused; see [status.Refusals].
type refusals struct{ *agent }

// Parked returns the events that an upstream has refused.
func (x refusals) Parked(upstream string, limit int) ([]edgeagent.ParkedEvent, error) {
	db, err := x.of(upstream)
	if err != nil {
		return nil, err
	}
	return db.Parked(upstream, limit)
}

// Resend has them sent again, at once where the upstream was being left alone:
// a person has mended something.
func (x refusals) Resend(ctx context.Context, upstream, by, reason string) (int, error) {
	db, err := x.of(upstream)
	if err != nil {
		return 0, err
	}
	n, err := db.Resend(ctx, upstream, by)
	if err != nil {
		return n, err
	}
	if n == 0 {
		return 0, nil // nothing changed: the upstream is left alone as it asked
	}
	x.log.Info("refused events are sent again", "upstream", upstream, "events", n, "by", by, "reason", reason)
	if ups := x.ups.Load(); ups != nil {
		for _, u := range *ups {
			if u.Status().Name == upstream {
				u.ProbeNow()
			}
		}
	}
	x.page.Changed(status.KindUpstream, upstream)
	return n, nil
}

func (x refusals) of(upstream string) (*queue.DB, error) {
	if err := knowsUpstream(x.cfg.Load(), upstream); err != nil {
		return nil, err
	}
	db := x.db.Load()
	if db == nil {
		return nil, errChecking
	}
	return db, nil
}

func knowsUpstream(cfg *config.Config, name string) error {
	if !slices.ContainsFunc(cfg.Sync, func(s config.Sync) bool { return s.Name == name }) {
		return fmt.Errorf("no [[sync]] of that name: %w", edgeagent.ErrNotFound)
	}
	return nil
}
