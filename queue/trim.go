package queue

import (
	"errors"
	"fmt"

	"edgeagent"
)

const (
	tidyTrims = 32 // finished jobs that are looked at with one commit
	trimEvery = 10 * tidyEvery
)

// bulky are the bodies of a finished job that only help to understand it later:
// what was sent and what came back. Its diagnosis, calls and timeline stay.
var bulky = []byte{partCase, partPrompt}

// trim deletes the bulky bodies of finished jobs, oldest first, while the file
// is filling up. A failed one keeps them: a person may have it tried again.
func (b *batch) trim() error {
	w := b.w
	if w.trimAt == "" && b.now.Sub(w.trimmed) < trimEvery || b.space().pressure() < pressureTrim {
		return nil
	}
	ids, err := b.jobsAfter(w.trimAt, tidyTrims)
	if err != nil {
		return err
	}
	assign(b, &w.trimAt, "")
	if len(ids) == tidyTrims {
		assign(b, &w.trimAt, ids[tidyTrims-1])
		b.w.untidy = true
	} else {
		assign(b, &w.trimmed, b.now)
	}
	for _, id := range ids {
		if err := b.trimJob(id); err != nil && !errors.Is(err, errDamaged) {
			return fmt.Errorf("trim job %s: %w", id, err)
		}
	}
	return nil
}

// trimJob deletes what is bulky of a job that needs it no more, and the evidence
// of its alarms, which its case repeated.
func (b *batch) trimJob(id edgeagent.ID) error {
	body, _, err := b.get(bucketJobs, string(id))
	if err != nil {
		return err
	}
	h, err := decodeHeader(body)
	if err != nil || h.State != edgeagent.JobCompleted && h.State != edgeagent.JobDiscarded {
		return err
	}
	for _, kind := range bulky {
		if err := b.dropPart(id, kind); err != nil {
			return err
		}
	}
	alarms, err := b.alarmsOf(id)
	if err != nil {
		return err
	}
	for _, a := range alarms {
		if err := b.dropPart(a, partEvidence); err != nil {
			return err
		}
	}
	return nil
}

// dropPart deletes all bodies of one kind of an object.
func (b *batch) dropPart(id edgeagent.ID, kind byte) error {
	return b.scan(part(id, kind), func(key string, _ []byte) error {
		b.drop(bucketBodies, key)
		return nil
	})
}

// jobsAfter returns the next jobs of the file, in the order of their ids.
func (b *batch) jobsAfter(id edgeagent.ID, limit int) ([]edgeagent.ID, error) {
	tx, err := b.reader()
	if err != nil {
		return nil, err
	}
	r, err := rowsOf(tx, bucketJobs)
	if err != nil {
		return nil, err
	}
	var ids []edgeagent.ID
	for ok := r.seek(string(id)); ok && len(ids) < limit; ok = r.next() {
		if next := edgeagent.ID(r.key); next > id {
			ids = append(ids, next)
		}
	}
	return ids, nil
}
