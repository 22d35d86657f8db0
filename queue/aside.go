package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"edgeagent"
)

// What people ask beside the queue: again about a job's case, or about an alarm
// that has none. Nothing here changes a job.

// Case returns the case of a job as it was frozen, with whatever of its evidence
// can still be read. It returns ErrNotFound without the job or the case: a job
// that was never begun has none, and old cases go when the file fills up.
func (db *DB) Case(job edgeagent.ID) (c edgeagent.Case, err error) {
	err = db.viewing("read the case of job "+string(job), func(tx *bbolt.Tx) error {
		if _, err := readHeader(tx, job); err != nil {
			return err
		}
		stored, err := optional[edgeagent.Case](getter(tx), bucketBodies, part(job, partCase))
		switch {
		case err != nil:
			return err
		case stored == nil:
			return fmt.Errorf("it has no case: it was not begun yet, or its case is no longer kept: %w", edgeagent.ErrNotFound)
		}
		c = *stored
		return whole(tx, &c)
	})
	return c, err
}

// whole puts back what [lean] has left out. What is gone or damaged is said in
// the case's own gaps: whoever reads the answer must know of it.
func whole(tx *bbolt.Tx, c *edgeagent.Case) error {
	for i := range c.Alarms {
		a := &c.Alarms[i]
		if a.Evidence != nil {
			continue
		}
		ev, err := optional[edgeagent.Evidence](getter(tx), bucketBodies, part(a.Alarm.ID, partEvidence))
		switch {
		case errors.Is(err, errDamaged):
			ev = &edgeagent.Evidence{At: a.Alarm.RaisedAt, Gaps: []string{"evidence was damaged on disk"}}
		case err != nil:
			return err
		case ev == nil:
			ev = &edgeagent.Evidence{At: a.Alarm.RaisedAt, Gaps: []string{"evidence is no longer kept"}}
		}
		a.Evidence = ev
	}
	return nil
}

// Around returns c with what the file knows about its first alarm: the other
// alarms of the line around its raise, and what it was before.
func (db *DB) Around(c edgeagent.Case) (edgeagent.Case, error) {
	first := c.First().Alarm
	m, err := db.Memory(first.Device, first.Line, first.Code)
	if err != nil && !errors.Is(err, errDamaged) {
		return c, err
	}
	c.Before = pastOf(m, first.ID)
	c.Before = c.Before[:min(len(c.Before), maxBefore)]
	c.Related = []edgeagent.Alarm{}
	end := edgeagent.FirstID(first.RaisedAt.Add(relatedWindow))
	err = db.viewing("read the alarms around "+first.Code, func(tx *bbolt.Tx) error {
		seen := 0
		return db.backwards(tx, bucketAlarms, end, func(id edgeagent.ID) (bool, error) {
			if seen++; seen > maxSighted || first.RaisedAt.Sub(id.Time()) > relatedWindow+time.Minute {
				return false, nil
			}
			a, err := readAlarm(tx, id)
			if err == nil && a.Line == c.Line && a.ID != first.ID && a.RaisedAt.Sub(first.RaisedAt).Abs() <= relatedWindow {
				a.Hint = nil
				c.Related = append(c.Related, a)
			}
			return len(c.Related) < maxRelated, err
		})
	})
	slices.SortFunc(c.Related, oldestFirst)
	return c, err
}

// Charge writes down what calls outside any lease have cost, in US dollars: what
// was settled for job, and whatever of usd was not. It waits for the disk, so that
// the cap of the day holds over a restart.
func (db *DB) Charge(ctx context.Context, job edgeagent.ID, usd float64) error {
	return db.do(ctx, "book what was asked beside the queue", func(b *batch) error {
		b.undoWith(b.db.ledger.endLease(job, usd))
		body, _, changed, err := b.db.ledger.snapshot()
		if err != nil || !changed {
			return err
		}
		return b.put(bucketMeta, keySpend, 0, body)
	})
}

// Job returns one job, as [DB.Job] does.
func (r *Reader) Job(id edgeagent.ID) (edgeagent.Job, error) { return r.db.Job(id) }

// Case returns the case of a job, as [DB.Case] does.
func (r *Reader) Case(job edgeagent.ID) (edgeagent.Case, error) { return r.db.Case(job) }

// Around completes a case, as [DB.Around] does.
func (r *Reader) Around(c edgeagent.Case) (edgeagent.Case, error) { return r.db.Around(c) }

// Evidence returns what was known when an alarm rose, as [DB.Evidence] does.
func (r *Reader) Evidence(alarm edgeagent.ID) (*edgeagent.Evidence, error) {
	return r.db.Evidence(alarm)
}

// SpentUSD returns what the local day has cost so far by the file, in US dollars.
func (r *Reader) SpentUSD(at time.Time) (usd float64, err error) {
	err = r.db.viewing("read the spend", func(tx *bbolt.Tx) error {
		days, err := optional[map[string]float64](getter(tx), bucketMeta, keySpend)
		if err == nil && days != nil {
			usd = (*days)[at.Format(time.DateOnly)]
		}
		return err
	})
	return usd, err
}
