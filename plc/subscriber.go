package plc

import (
	"context"
	"time"

	"edgeagent"
)

// Subscriber is a connection that is told of changes: an OPC UA client. It is
// used by one goroutine at a time.
type Subscriber interface {
	// Episode connects, subscribes and tells what it hears until the connection
	// cannot be trusted any more, and says why; also when ctx has ended. All is
	// made anew each time, and tell is not called after it returned, nor twice at
	// the same time; it must not wait, for nobody reads from the server meanwhile.
	// Errors wrap [ErrUnreachable], [ErrSilent] or [ErrRefused] as a driver's do.
	Episode(ctx context.Context, tell func(Heard)) error
	// Fetch reads all tags once, over the episode's connection if one runs, else
	// over one of its own.
	Fetch(ctx context.Context) ([]edgeagent.Sample, error)
}

// Heard is one message of an episode.
type Heard struct {
	// Up is set once, when session and subscriptions stand; first values are in
	// this message or follow.
	Up         bool
	Security   string // with Up: as negotiated, "Basic256Sha256/SignAndEncrypt"
	At         time.Time
	Samples    []edgeagent.Sample
	Confirmed  []string // tags that a keep-alive confirmed; see edgeagent.Scan
	Conditions []edgeagent.ConditionSet
	Gap        bool // the server lost values before these
	Requests   int
}
