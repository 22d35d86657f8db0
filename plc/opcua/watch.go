package opcua

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gopcua/opcua/id"
	"github.com/gopcua/opcua/ua"

	"edgeagent/internal/retry"
	"edgeagent/plc"
)

const (
	// misses is how many answers may be missing in a row.
	misses = 2
	// silences is how many expected messages of a subscription may be missing.
	silences = 3
)

// errState is wrapped when the server itself says that it does not run.
var errState = errors.New("the server does not run")

// serverStates are the names of Part 5, 12.6, but Running.
var serverStates = map[int32]string{
	1: "Failed", 2: "NoConfiguration", 3: "Suspended", 4: "Shutdown", 5: "Test", 6: "CommunicationFault", 7: "Unknown",
}

// watching asks the server how it is: a server that froze keeps its connection,
// and its subscriptions say nothing of it. An answer must come within less than
// a watchdog, so that two missing ones take less than three.
func (e *episode) watching(ctx context.Context) error {
	missed, wait := 0, e.watchdog
	for {
		if err := retry.Sleep(ctx, wait); err != nil {
			return err
		}
		err := e.check(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			missed, wait = 0, e.watchdog
		case !errors.Is(err, context.DeadlineExceeded):
			return broken("watchdog", err)
		default:
			missed, wait = missed+1, 0
		}
		if missed >= misses {
			return fmt.Errorf("watchdog: %w: %d questions for the server's state were not answered", plc.ErrSilent, missed)
		}
	}
}

// check asks for ServerState. A server without it is alive, since it answers.
func (e *episode) check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, e.watchdog*4/5)
	defer cancel()
	values, err := e.conn.read(ctx, []*ua.ReadValueID{{
		NodeID: ua.NewNumericNodeID(0, id.Server_ServerStatus_State), AttributeID: ua.AttributeIDValue,
	}})
	if err != nil {
		if _, answered := itemRefusal(err); answered {
			return nil
		}
		return err
	}
	dv := values[0]
	if dv == nil || isBad(dv.Status) || dv.Value == nil {
		return nil
	}
	if state, ok := dv.Value.Value().(int32); ok && state != 0 {
		return fmt.Errorf("%w: %w: its state is %s", plc.ErrSilent, errState, stateName(state))
	}
	return nil
}

func stateName(state int32) string {
	if name, known := serverStates[state]; known {
		return name
	}
	return fmt.Sprint(state)
}

// listening ends the episode when the connection ends, or when a subscription
// is silent while the server answers.
func (e *episode) listening(ctx context.Context) error {
	look := time.NewTimer(0)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-e.conn.done():
			if err := e.conn.err(); err != nil {
				return broken("connection", err)
			}
			return fmt.Errorf("connection: %w: it ended", plc.ErrUnreachable)
		case <-e.sooner:
		case <-look.C:
		}
		next, err := e.silent(time.Now())
		if err != nil {
			return err
		}
		look.Reset(next)
	}
}

// silent finds a subscription that should have told something by now, and
// returns when the next one may be silent for too long: to look more often
// would only wake the machine.
func (e *episode) silent(now time.Time) (next time.Duration, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	next = lifetime
	for _, s := range e.subs {
		quiet := now.Sub(s.heard)
		if quiet > silences*s.pause {
			return 0, fmt.Errorf("subscription: %w: no keep-alive for %v, expected every %v", plc.ErrSilent,
				quiet.Round(time.Millisecond), s.pause)
		}
		next = min(next, silences*s.pause-quiet+time.Millisecond)
	}
	return next, nil
}
