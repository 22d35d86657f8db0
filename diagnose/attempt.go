package diagnose

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"edgeagent"
)

// attempt is one lease from its start to what was written of it.
type attempt struct {
	*Worker

	lease edgeagent.Lease
	start time.Time
	work  context.Context // ends when the grace of a shutdown is over
	store context.Context // ends when the agent no longer waits for the data file
}

// answer is what came back from a diagnosis.
type answer struct {
	out   edgeagent.Outcome
	err   error
	panic bool
	stack []byte
}

// errDeadline is the cause of the cancellation of an overdue diagnosis.
var errDeadline = errors.New("took longer than its providers may take together")

func (a *attempt) run() {
	a.start = time.Now()
	ctx, cancel := context.WithCancelCause(a.work)
	defer cancel(nil)
	got := make(chan answer, 1) // buffered: one that is given up can still end
	go func() { got <- ask(ctx, a.o.Diagnoser, a.lease.Case) }()
	ans := a.await(ctx, cancel, got)
	if outcome := a.settle(ctx, ans); outcome != "" { // else it is told when it is written
		a.o.OnJob(outcome, time.Since(a.start))
	}
}

// ask calls the diagnoser and turns a panic into an answer.
func ask(ctx context.Context, d Diagnoser, c edgeagent.Case) (ans answer) {
	defer func() {
		if r := recover(); r != nil {
			ans = answer{err: fmt.Errorf("diagnosis crashed: %s", short(fmt.Sprint(r))), panic: true, stack: debug.Stack()}
		}
	}()
	out, err := d.Diagnose(ctx, c)
	ans = answer{out: out, err: err}
	if crash, ok := errors.AsType[crash](err); ok { // it has caught it itself, to say which calls it made
		ans.panic, ans.stack = true, crash.Stack()
	}
	return ans
}

// crash is the error of a diagnosis that panicked.
type crash interface {
	error
	Stack() []byte
}

// await waits for the answer; past the deadline it dumps what everybody is
// doing, cancels, and gives the diagnosis a last moment to come back with the
// calls it made. The shutdown's cancellation is followed by the same moment.
func (a *attempt) await(ctx context.Context, cancel context.CancelCauseFunc, got <-chan answer) answer {
	var overdue <-chan time.Time
	if a.o.Deadline > 0 {
		t := time.NewTimer(a.o.Deadline)
		defer t.Stop()
		overdue = t.C
	}
	select {
	case ans := <-got:
		return ans
	case <-overdue:
		a.o.Log.Error("goroutines of an overdue diagnosis", "job", a.lease.Job, "stack", string(stacks()))
		cancel(errDeadline)
	case <-ctx.Done():
	}
	t := time.NewTimer(settle)
	defer t.Stop()
	select {
	case ans := <-got:
		return ans
	case <-t.C:
		return answer{err: fmt.Errorf("%w: %w", context.Cause(ctx), ErrStuck)}
	}
}

// settle writes the answer. An answer in hand is completed whatever else
// happened: it may have been paid for.
func (a *attempt) settle(ctx context.Context, ans answer) string {
	cause := context.Cause(ctx)
	switch {
	case ans.out.Diagnosis != nil:
		return a.write("complete", OutcomeCompleted, func(ctx context.Context) error {
			return a.o.Jobs.Complete(ctx, a.lease, ans.out)
		})
	case ans.panic:
		a.o.Log.Error("a diagnosis crashed", "job", a.lease.Job, "err", ans.err, "stack", string(ans.stack))
		return a.retry(OutcomePanic, "panic", ans)
	case errors.Is(cause, errDeadline):
		ans.err = fmt.Errorf("stopped after %v: %w", a.o.Deadline, errDeadline)
		return a.retry(OutcomeDeadline, "deadline", ans)
	case errors.Is(cause, errShutdown):
		return a.write("release", OutcomeReleased, func(ctx context.Context) error {
			return a.o.Jobs.Release(ctx, a.lease, ans.out)
		})
	}
	if ans.err == nil {
		ans.err = errors.New("no provider gave an answer")
	}
	return a.retry(OutcomeRetry, "no_answer", ans)
}

func (a *attempt) retry(outcome, code string, ans answer) string {
	var noted interface{ Note() *edgeagent.Note }
	why := edgeagent.NewNote(code, short(ans.err.Error()))
	if errors.As(ans.err, &noted) && noted.Note() != nil {
		why = noted.Note()
	}
	wait := a.o.Retry(max(a.lease.Attempt, 1))
	return a.write("retry", outcome, func(ctx context.Context) error {
		return a.o.Jobs.Retry(ctx, a.lease, ans.out, why, wait)
	})
}

// write hands a result to the data file and tries again as long as the lease
// lives, with waits of 1, 2, 4 to 30 s. When the worker stops it tries once
// more without a wait; what is not written then goes to the backlog, and the
// outcome is empty.
func (a *attempt) write(what, outcome string, f func(context.Context) error) string {
	log := a.o.Log.With("job", a.lease.Job, "what", what)
	var said string
	for wait := time.Second; ; wait = min(2*wait, 30*time.Second) {
		last := a.work.Err() != nil
		err := f(a.store)
		switch {
		case err == nil:
			return outcome
		case gone(err):
			log.Warn("the job is no longer ours; the result is dropped", "err", err)
			return OutcomeLost
		case last && a.leave(outcome, f):
			log.Warn("the data file did not take the result before the stop; it is kept and tried on", "err", err)
			return ""
		case last:
			log.Error("the data file did not take the result before the stop; it is lost", "err", err)
			return OutcomeLost
		}
		if now := gist(err); now != said { // a full disk says the same for hours
			said = now
			log.Warn("the data file did not take the result; trying on", "err", err)
		}
		a.wait(a.work, nil, wait)
	}
}

// leave gives a result to the backlog, if there is one.
func (a *attempt) leave(outcome string, f func(context.Context) error) bool {
	return a.o.Backlog.take(unwritten{a.lease.Job, f, func(err error) {
		if err != nil {
			outcome = OutcomeLost
		}
		a.o.OnJob(outcome, time.Since(a.start))
	}})
}

// gone reports whether somebody else decided about the job meanwhile.
func gone(err error) bool {
	return errors.Is(err, edgeagent.ErrLeaseLost) || errors.Is(err, edgeagent.ErrNotFound) || errors.Is(err, edgeagent.ErrConflict)
}

// stacks returns what every goroutine does, at most 64 KiB of it.
func stacks() []byte {
	buf := make([]byte, 64<<10)
	return buf[:runtime.Stack(buf, true)]
}

// short bounds a text that others wrote and that goes into the job.
func short(s string) string {
	const limit = 300
	if len(s) > limit {
		s = s[:limit] + "…"
	}
	return strings.ToValidUTF8(s, "")
}
