package queue

import (
	"slices"
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

// spentOn returns what a job has cost so far, in US dollars: its calls, and what
// one call costs at worst for each end of the process midway, as the day's cap
// counts it too, and for each record of calls that cannot be read any more.
func (b *batch) spentOn(j job) (usd float64, err error) {
	bodies, err := b.bodies(j.id)
	if err != nil {
		return 0, err
	}
	usd, read := costOf(j.id, bodies)
	lost := max(0, j.Asks-read)
	if lost > 0 { // an alarm is not left without an answer for it
		b.o.Log.Error("what a job has cost cannot be read whole; each record that is lost counts as the dearest call", "job", j.id, "lost", lost)
	}
	return usd + max(0, b.o.CrashCostUSD)*float64(j.Interrupts+cutReviews(j.id, bodies)+lost), nil
}

// costOf adds up the calls of a job, and counts the records they were read from.
func costOf(id edgeagent.ID, bodies map[string][]byte) (usd float64, read int) {
	for _, key := range ofKind(id, partCalls, bodies) {
		var calls []edgeagent.Call
		if unmarshal(bucketBodies, key, bodies[key], &calls) == nil {
			usd += edgeagent.Outcome{Calls: calls}.CostUSD()
			read++
		}
	}
	return usd, read
}

// cutReviews returns how many reviews of a job the end of the process cut off, as
// far as its timeline can be read.
func cutReviews(id edgeagent.ID, bodies map[string][]byte) (n int) {
	for _, key := range ofKind(id, partTimeline, bodies) {
		var e edgeagent.TimelineEntry
		if unmarshal(bucketBodies, key, bodies[key], &e) == nil && e.Event == "review" && e.Detail.Is("interrupted") {
			n++
		}
	}
	return n
}

// ofKind returns the keys of one kind of an object's bodies, in their order: so
// money is added up alike every time.
func ofKind(id edgeagent.ID, kind byte, bodies map[string][]byte) []string {
	return slices.DeleteFunc(sortedKeys(bodies), func(key string) bool { return !strings.HasPrefix(key, part(id, kind)) })
}
