package queue

import (
	"errors"
	"strings"

	"go.etcd.io/bbolt"

	"edgeagent"
)

// bodies returns those of a job as the batch leaves them. What was damaged on
// disk is left out: an answer must not be lost because of it.
func (b *batch) bodies(id edgeagent.ID) (map[string][]byte, error) {
	tx, err := b.reader()
	if err != nil {
		return nil, err
	}
	bodies, damage := bodiesOf(tx, id)
	if damage != nil {
		b.o.Log.Error("part of a job cannot be read and is left out", "job", id, "error", damage)
	}
	return bodies, b.overlay(bucketBodies, string(id), bodies)
}

// bodiesOf returns the bodies of an object that can be read, and the damage of
// those that cannot.
func bodiesOf(tx *bbolt.Tx, id edgeagent.ID) (map[string][]byte, error) {
	bodies, damage := make(map[string][]byte), error(nil)
	r, err := rowsOf(tx, bucketBodies)
	if err != nil {
		return bodies, err
	}
	for ok := r.seek(string(id)); ok && strings.HasPrefix(r.key, string(id)); ok = r.next() {
		body, _, err := decodeRecord(bucketBodies, r.key, r.rec)
		if err != nil {
			damage = errors.Join(damage, err)
			continue
		}
		bodies[r.key] = body
	}
	return bodies, damage
}

// assemble puts a job together from its header and its bodies.
func assemble(id edgeagent.ID, h header, bodies map[string][]byte) (edgeagent.Job, error) {
	j := edgeagent.Job{
		ID: id, State: h.State, Line: h.Group.Line, Priority: h.Priority, Attempts: h.Attempts, Interrupts: h.Interrupts,
		MaxAttempts: h.MaxAttempts, CreatedAt: h.Created, FinishedAt: edgeagent.TimePtr(h.Finished),
		Alarms: []edgeagent.ID{}, Reviews: []edgeagent.Diagnosis{}, Timeline: []edgeagent.TimelineEntry{}, Calls: []edgeagent.Call{},
	}
	if h.State == edgeagent.JobPending {
		j.NextTryAt = edgeagent.TimePtr(h.NotBefore)
	}
	if unfinished(h.State) {
		j.FinishedAt = nil // of an earlier end
	}
	for _, key := range sortedKeys(bodies) {
		if err := fill(&j, key, bodies[key]); err != nil {
			return j, err
		}
	}
	return j, nil
}

// fill adds one body to a job.
func fill(j *edgeagent.Job, key string, body []byte) error {
	rest, ok := strings.CutPrefix(key, string(j.ID))
	if !ok || rest == "" {
		return nil
	}
	switch rest[0] {
	case partOpening:
		var g group
		err := unmarshal(bucketBodies, key, body, &g)
		j.Line = g.Line
		return err
	case partTimeline:
		return fillTimeline(j, key, body)
	case partDiagnosis:
		return unmarshal(bucketBodies, key, body, &j.Diagnosis)
	case partReview:
		var d edgeagent.Diagnosis
		err := unmarshal(bucketBodies, key, body, &d)
		j.Reviews = append(j.Reviews, d)
		return err
	case partFeedback:
		return unmarshal(bucketBodies, key, body, &j.Feedback)
	case partCalls:
		var calls []edgeagent.Call
		err := unmarshal(bucketBodies, key, body, &calls)
		j.Calls = append(j.Calls, calls...)
		return err
	}
	return nil // case and prompt are asked for by themselves
}

func fillTimeline(j *edgeagent.Job, key string, body []byte) error {
	var e edgeagent.TimelineEntry
	if err := unmarshal(bucketBodies, key, body, &e); err != nil {
		return err
	}
	j.Timeline = append(j.Timeline, e)
	j.Alarms = appendAlarm(j.Alarms, e)
	switch e.Event {
	case "retry", "failed", "interrupted":
		if !e.Detail.Is("person") {
			j.LastError = e.Detail
		}
	}
	return nil
}
