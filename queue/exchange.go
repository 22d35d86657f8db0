package queue

import (
	"errors"
	"strings"

	"go.etcd.io/bbolt"

	"edgeagent"
)

// Exchanges returns what was sent for a job and what came back, an entry an
// attempt that asked a model; answers of no use name their call of the job. They
// are the first to go when the file fills up; ErrNotFound without the job.
func (db *DB) Exchanges(job edgeagent.ID) (all []edgeagent.Exchange, err error) {
	all = []edgeagent.Exchange{}
	err = db.viewing("read what was sent for job "+string(job), func(tx *bbolt.Tx) error {
		if _, err := readHeader(tx, job); err != nil {
			return err
		}
		bodies, damage := bodiesOf(tx, job)
		if damage != nil { // what is whole is shown
			db.options.Load().Log.Error("part of a job cannot be read and is left out", "job", job, "error", damage)
		}
		all, err = exchanges(job, bodies)
		return err
	})
	return all, err
}

// exchanges reads the bodies of calls and prompts, which are numbered alike.
func exchanges(job edgeagent.ID, bodies map[string][]byte) ([]edgeagent.Exchange, error) {
	all, earlier := []edgeagent.Exchange{}, 0
	calls, prompts := part(job, partCalls), part(job, partPrompt)
	for _, key := range sortedKeys(bodies) {
		number, ok := strings.CutPrefix(key, calls)
		if !ok {
			continue
		}
		var sent []edgeagent.Call
		if err := unmarshal(bucketBodies, key, bodies[key], &sent); err != nil {
			return all, err
		}
		if body, asked := bodies[prompts+number]; asked {
			var e edgeagent.Exchange
			if err := unmarshal(bucketBodies, prompts+number, body, &e); err != nil {
				return all, err
			}
			for i := range e.Faulty {
				e.Faulty[i].Call += earlier
			}
			all = append(all, e)
		}
		earlier += len(sent)
	}
	return all, nil
}

// cutReviews returns how many reviews of a job the end of the process cut off.
func (b *batch) cutReviews(id edgeagent.ID) (n int, err error) {
	err = b.scan(part(id, partTimeline), func(key string, body []byte) error {
		var e edgeagent.TimelineEntry
		if err := unmarshal(bucketBodies, key, body, &e); err != nil {
			return err
		}
		if e.Event == "review" && e.Detail.Is("interrupted") {
			n++
		}
		return nil
	})
	if errors.Is(err, errDamaged) { // what can be read counts
		err = nil
	}
	return n, err
}

// spentOn returns what a job has cost so far, in US dollars: its calls, and for
// each end of the process midway what one call costs at worst, as the day's cap
// counts it too.
func (b *batch) spentOn(j job) (usd float64, err error) {
	cut, err := b.cutReviews(j.id)
	usd = max(0, b.o.CrashCostUSD) * float64(j.Interrupts+cut)
	if err != nil || j.Asks == 0 {
		return usd, err
	}
	err = b.scan(part(j.id, partCalls), func(key string, body []byte) error {
		var calls []edgeagent.Call
		if err := unmarshal(bucketBodies, key, body, &calls); err != nil {
			return err
		}
		usd += edgeagent.Outcome{Calls: calls}.CostUSD()
		return nil
	})
	if errors.Is(err, errDamaged) { // an alarm is not left without an answer for it
		b.o.Log.Error("what a job has cost cannot be read whole and counts as one call more", "job", j.id, "error", err)
		return usd + max(0, b.o.CrashCostUSD), nil
	}
	return usd, err
}
