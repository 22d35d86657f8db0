package queue

import (
	"context"
	"fmt"

	"edgeagent"
)

// RetryJob gives a failed job another set of attempts, and lets a waiting one
// wait no longer. It returns ErrNotFound and ErrConflict.
func (db *DB) RetryJob(ctx context.Context, id edgeagent.ID, by string) error {
	return db.do(ctx, "retry job "+string(id), func(b *batch) error {
		j, err := b.job(id)
		if err != nil {
			return err
		}
		fresh := j.State == edgeagent.JobFailed
		if err := b.step(&j, evPersonRetry); err != nil {
			return err
		}
		if fresh {
			j.Attempts, j.Interrupts, j.BootInterrupts, j.MaxAttempts = 0, 0, 0, b.o.MaxAttempts
		}
		j.NotBefore, j.Wait = b.now, 0
		return b.note(&j, "retry", edgeagent.NewNote("person", "asked for by "+by, "by", by))
	})
}

// Discard ends a job without a diagnosis; a running one loses its lease. It
// returns ErrNotFound and ErrConflict.
func (db *DB) Discard(ctx context.Context, id edgeagent.ID, by, reason string) error {
	return db.do(ctx, "discard job "+string(id), func(b *batch) error {
		j, err := b.job(id)
		if err != nil {
			return err
		}
		if err := b.step(&j, evDiscard); err != nil {
			return err
		}
		text := fmt.Sprintf("by %s: %s", by, reason)
		return b.note(&j, "discarded", edgeagent.NewNote("person", text, "by", by, "reason", reason))
	})
}

// job returns any job: those that nobody works on, and that no alarm has joined
// lately, are read from the file.
func (b *batch) job(id edgeagent.ID) (job, error) {
	if j, ok := b.w.running[id]; ok {
		return j, nil
	}
	if j, ok := b.w.joined[rawOf(id)]; ok {
		return *j, nil
	}
	body, revision, err := b.get(bucketJobs, string(id))
	if err != nil {
		return job{}, err
	}
	h, err := wholeHeader(b.getJSON, id, body)
	return job{header: h, id: id, revision: revision, was: h.State}, err
}
