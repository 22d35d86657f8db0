package queue

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"edgeagent"
)

// crashLimit is how many interrupts under one boot id fail a job: a power cut
// is not its fault, ending the process three times is.
const crashLimit = 3

// Lease gives out the next job that is ready, by priority, then age, then id.
// It returns nil and no error when there is none.
func (db *DB) Lease(ctx context.Context) (*edgeagent.Lease, error) {
	var lease *edgeagent.Lease
	err := db.do(ctx, "lease a job", func(b *batch) (err error) {
		lease, err = b.leaseFirst()
		return errors.Join(err, failpoint("lease"))
	})
	if gone, ok := errors.AsType[*late](err); ok {
		go gone.then(func() { db.putBack(lease) })
	}
	if err != nil {
		return nil, err
	}
	return lease, nil
}

// leaseFirst leases the first job whose records can be read. One whose cannot
// has failed: it must not stand in the way of all others.
func (b *batch) leaseFirst() (*edgeagent.Lease, error) {
	for {
		e, ok := b.w.front(b.now)
		if !ok {
			return nil, nil
		}
		j, err := b.job(e.id.id())
		if err != nil { // not even that it failed can be written then
			b.o.Log.Error("a job cannot be read and is left out until the next start", "job", e.id.id(), "error", err)
			b.unschedule(e.id.id())
			continue
		}
		mark := len(b.undo)
		l, err := b.lease(j)
		if err == nil {
			_, b.jobsWoken = b.w.front(b.now) // the next worker looks after the next job
			return &l, nil
		}
		if !errors.Is(err, errDamaged) {
			return nil, fmt.Errorf("job %s: %w", j.id, err)
		}
		b.rollback(mark)
		b.o.Log.Error("a job cannot be read and has failed", "job", j.id, "error", err)
		if err := b.fail(&j, evSpoil, edgeagent.NewNote("damaged", "its records were damaged on disk: "+err.Error())); err != nil {
			return nil, fmt.Errorf("job %s: %w", j.id, err)
		}
	}
}

func (b *batch) lease(j job) (edgeagent.Lease, error) {
	c, err := b.freeze(j)
	if err != nil {
		return edgeagent.Lease{}, err
	}
	if c.SpentUSD, err = b.spentOn(j); err != nil {
		return edgeagent.Lease{}, err
	}
	if boot := bootHash(b.o.BootID); j.Boot != boot {
		j.Boot, j.BootInterrupts = boot, 0
	}
	if err := b.step(&j, evLease); err != nil {
		return edgeagent.Lease{}, err
	}
	_, _ = rand.Read(j.Token[:]) // never fails
	j.LeasedAt, j.Frozen = b.now, true
	l := edgeagent.Lease{Job: j.id, Token: token(j.Token), Attempt: j.Attempts + 1, Case: c}
	return l, b.note(&j, "leased", nil)
}

// step moves a job by the table.
func (b *batch) step(j *job, ev event) error {
	to, err := next(j.State, ev)
	if err != nil {
		return err
	}
	j.State = to
	if to != edgeagent.JobRunning {
		j.Token = [16]byte{}
	}
	if !unfinished(to) {
		j.Finished = b.now
	}
	return nil
}

// held returns the job of a lease, or ErrLeaseLost.
func (b *batch) held(l edgeagent.Lease) (job, error) {
	j, ok := b.w.running[l.Job]
	if !ok || !j.holds(l.Token) {
		return job{}, fmt.Errorf("job %s: %w", l.Job, edgeagent.ErrLeaseLost)
	}
	return j, nil
}

// Complete stores a diagnosis with its calls and ends the lease. The event
// diagnosis.completed is written in the same commit. It returns ErrLeaseLost
// for a token that is not the job's any more.
func (db *DB) Complete(ctx context.Context, l edgeagent.Lease, o edgeagent.Outcome) error {
	if o.Diagnosis == nil {
		return fmt.Errorf("complete job %s: an outcome without a diagnosis is a Retry", l.Job)
	}
	return db.do(ctx, "complete a job", func(b *batch) error {
		j, err := b.held(l)
		if err != nil {
			return err
		}
		if err := b.keepCalls(&j, o); err != nil {
			return err
		}
		if err := b.putJSON(bucketBodies, part(j.id, partDiagnosis), 0, o.Diagnosis); err != nil {
			return err
		}
		if err := b.step(&j, evComplete); err != nil {
			return err
		}
		j.Attempts++ // an attempt counts when it ends, this way too
		by := edgeagent.NewNote("answered", "by "+o.Diagnosis.By.Provider, "provider", o.Diagnosis.By.Provider)
		if err := b.note(&j, "completed", by); err != nil {
			return err
		}
		// Revision 1: a job has one diagnosis.completed, whatever happened on the way.
		return errors.Join(b.emitJob(j, edgeagent.EventDiagnosisCompleted, 1, o), failpoint("complete"))
	})
}

// Retry ends an attempt that brought no answer. The job waits for after, or has
// failed if that was its last attempt: then job.failed is written. Cause is
// kept as the job's last error.
func (db *DB) Retry(ctx context.Context, l edgeagent.Lease, o edgeagent.Outcome, cause *edgeagent.Note, after time.Duration) error {
	return db.do(ctx, "put a job back", func(b *batch) error {
		j, err := b.held(l)
		if err != nil {
			return err
		}
		if err := b.keepCalls(&j, o); err != nil {
			return err
		}
		if j.Attempts++; j.Attempts >= j.MaxAttempts {
			return b.fail(&j, evExhaust, cause)
		}
		if err := b.step(&j, evRetry); err != nil {
			return err
		}
		j.Wait = max(0, after)
		j.NotBefore = b.now.Add(j.Wait)
		return errors.Join(b.note(&j, "retry", cause), failpoint("retry"))
	})
}

// Release puts a job back because the agent stops. It costs no attempt; the
// calls that were made are kept and paid.
func (db *DB) Release(ctx context.Context, l edgeagent.Lease, o edgeagent.Outcome) error {
	return db.do(ctx, "release a job", func(b *batch) error {
		j, err := b.held(l)
		if err != nil {
			return err
		}
		if err := b.keepCalls(&j, o); err != nil {
			return err
		}
		if err := b.step(&j, evRelease); err != nil {
			return err
		}
		j.NotBefore, j.Wait = b.now, 0
		return errors.Join(b.note(&j, "released", nil), failpoint("release"))
	})
}

// fail ends a job without a diagnosis.
func (b *batch) fail(j *job, ev event, cause *edgeagent.Note) error {
	if err := b.step(j, ev); err != nil {
		return err
	}
	if err := b.note(j, "failed", cause); err != nil {
		return err
	}
	return b.emitJob(*j, edgeagent.EventJobFailed, int(j.revision), edgeagent.Outcome{})
}

// keepCalls stores the calls of a lease and books what they cost.
func (b *batch) keepCalls(j *job, o edgeagent.Outcome) error {
	b.undoWith(b.db.ledger.endLease(j.id, o.CostUSD()))
	if len(o.Calls) == 0 && o.Prompt == "" && o.Raw == "" && len(o.Faulty) == 0 {
		return nil
	}
	n := clampUint16(j.Asks)
	if err := b.putJSON(bucketBodies, numbered(j.id, partCalls, n), 0, o.Calls); err != nil {
		return err
	}
	j.Asks++
	if o.Prompt == "" && o.Raw == "" && len(o.Faulty) == 0 {
		return nil
	}
	return b.putJSON(bucketBodies, numbered(j.id, partPrompt, n), 0, edgeagent.Exchange{Prompt: o.Prompt, Raw: o.Raw, Faulty: o.Faulty})
}

// interrupt deals with a job that was found running at open: its process ended
// without a word, and nobody knows what it spent.
func (b *batch) interrupt(j job) error {
	b.undoWith(b.db.ledger.book(b.o.CrashCostUSD))
	j.Interrupts++
	j.BootInterrupts++
	if j.Boot == bootHash(b.o.BootID) && b.o.BootID != "" && j.BootInterrupts >= crashLimit {
		text := fmt.Sprintf("the agent ended %d times while working on this job", j.BootInterrupts)
		return b.fail(&j, evCrash, edgeagent.NewNote("crash", text))
	}
	if err := b.step(&j, evInterrupt); err != nil {
		return err
	}
	j.NotBefore, j.Wait = b.now, 0
	note := edgeagent.NewNote("interrupted", "the agent ended while working on this job")
	return errors.Join(b.note(&j, "interrupted", note), failpoint("interrupt"))
}
