package main

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"edgeagent/internal/retry"
)

// wing is a part of the agent that starts and stops as a whole: the plant
// side, the diagnosis side, the upstream side. A reload restarts only the
// wings whose configuration changed.
type wing struct {
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// runner is one active part: it blocks until ctx ends.
type runner struct {
	name string
	run  func(context.Context) error
}

// startWing runs every part in a goroutine of its own.
func startWing(ctx context.Context, log *slog.Logger, parts ...runner) *wing {
	ctx, cancel := context.WithCancel(ctx)
	w := &wing{cancel: cancel}
	for _, p := range parts {
		w.done.Go(func() { supervise(ctx, log, p) })
	}
	return w
}

// stop ends every part and waits for it. A nil wing is stopped already.
func (w *wing) stop() {
	if w == nil {
		return
	}
	w.cancel()
	w.done.Wait()
}

// supervise starts a part again when it fails before its time: one fault must
// not cost a gateway a part of itself until somebody restarts it. A part that
// ends without an error has nothing to do.
func supervise(ctx context.Context, log *slog.Logger, p runner) {
	for ctx.Err() == nil {
		err := p.run(ctx)
		if err == nil {
			return
		}
		log.Error("part failed", "part", p.name, "error", err, "stopping", ctx.Err() != nil)
		_ = retry.Sleep(ctx, 5*time.Second)
	}
}
