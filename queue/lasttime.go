package queue

import (
	"cmp"
	"errors"
	"slices"

	"go.etcd.io/bbolt"

	"edgeagent"
)

// LastTime returns the last activation of an alarm before the one given, and
// what came of it; nil for the first one. Of one so long ago that it is no
// longer kept, what people said of it is.
func (db *DB) LastTime(device, line, code string, before edgeagent.ID) (o *edgeagent.Occurrence) {
	name := occasionNamed(device, line, code)
	db.raisedMu.RLock()
	ids := db.work.activations(name)
	db.raisedMu.RUnlock()
	err := db.viewing("look up the last time", func(tx *bbolt.Tx) error {
		get := getter(tx)
		o = lastTime(ids, before, func(id edgeagent.ID) (edgeagent.Precedent, bool) { return precedentIn(get, id) })
		if o == nil {
			o = rememberedTime(get, name, before)
		}
		return nil
	})
	if err != nil {
		db.options.Load().Log.Error("the last time of an alarm cannot be read", "code", code, "error", err)
	}
	return o
}

func (b *batch) lastTime(name occasion, before edgeagent.ID) *edgeagent.Occurrence {
	o := lastTime(b.w.activations(name), before, b.precedent)
	if o == nil && b.w.learned[name] { // an alarm that nobody ever judged costs nothing to look up
		o = rememberedTime(b.getJSON, name, before)
	}
	return o
}

// precedent returns what came of one activation. Nothing is read for an alarm that
// is open and was not answered yet: in a storm the last time is a moment ago.
func (b *batch) precedent(id edgeagent.ID) (edgeagent.Precedent, bool) {
	a, open := b.w.alarms[id]
	switch {
	case !open:
		return precedentIn(b.getJSON, id)
	case b.unanswered(a):
		return precedentOf(*a, edgeagent.Feedback{}, edgeagent.Diagnosis{}), true
	default:
		return whatCame(b.getJSON, *a), true
	}
}

// unanswered reports whether it is known that nobody has said anything of an alarm:
// answers end a job, and only what is answered is reviewed and judged. A job that a
// person has asked again has ended before.
func (b *batch) unanswered(a *edgeagent.Alarm) bool {
	j, running := b.w.running[a.Job]
	return a.Job == "" || running && j.Finished.IsZero() || b.w.groups[groupOf(*a).key()] == rawOf(a.Job)
}

// lastTime returns the last activation that is kept.
func lastTime(ids []rawID, before edgeagent.ID, precedent func(edgeagent.ID) (edgeagent.Precedent, bool)) *edgeagent.Occurrence {
	for _, raw := range slices.Backward(ids) {
		id := raw.id()
		if id >= before {
			continue
		}
		if p, ok := precedent(id); ok {
			return occurrence(p)
		}
	}
	return nil
}

func rememberedTime(get func(bucket byte, key string, v any) error, name occasion, before edgeagent.ID) *edgeagent.Occurrence {
	var m edgeagent.Memory
	if get(bucketBodies, memoryKey(name), &m) != nil {
		return nil
	}
	past := pastOf(m, before)
	if len(past) == 0 {
		return nil
	}
	return occurrence(slices.MaxFunc(past, func(x, y edgeagent.Precedent) int { return x.At.Compare(y.At) }))
}

func occurrence(p edgeagent.Precedent) *edgeagent.Occurrence {
	return &edgeagent.Occurrence{ID: p.Alarm, At: p.At, Cause: p.Cause, FixedBy: p.FixedBy}
}

// Memory returns what people said of an alarm over all its activations, empty
// when they said nothing yet.
func (db *DB) Memory(device, line, code string) (edgeagent.Memory, error) {
	m := edgeagent.Memory{Device: device, Line: line, Code: code}
	err := db.viewing("read what is remembered of "+code, func(tx *bbolt.Tx) error {
		err := getter(tx)(bucketBodies, memoryKey(occasionNamed(device, line, code)), &m)
		if errors.Is(err, edgeagent.ErrNotFound) {
			return nil
		}
		return err
	})
	return m, err
}

// Memories returns what is remembered of at most limit alarms, those that were
// judged most first.
func (db *DB) Memories(limit int) ([]edgeagent.Memory, error) {
	var all []edgeagent.Memory
	err := db.viewing("list what is remembered", func(tx *bbolt.Tx) error {
		return scanRecords(tx, bucketBodies, memoryPrefix, func(key string, body []byte, _ uint32) error {
			var m edgeagent.Memory
			if !isMemory(key) {
				return nil
			}
			err := unmarshal(bucketBodies, key, body, &m)
			all = append(all, m)
			return err
		})
	})
	slices.SortFunc(all, func(x, y edgeagent.Memory) int {
		return cmp.Or(cmp.Compare(judgedOf(y), judgedOf(x)), cmp.Compare(x.Device, y.Device), cmp.Compare(x.Line, y.Line), cmp.Compare(x.Code, y.Code))
	})
	return all[:min(len(all), limit)], err
}

func judgedOf(m edgeagent.Memory) (n int) {
	for _, row := range m.Judged {
		n += row.Judged()
	}
	return n
}

// Accuracy returns how the diagnoses of every provider and model were judged,
// over all alarms and for as long as the file lives; most judged first.
func (db *DB) Accuracy() []edgeagent.Accuracy {
	all := []edgeagent.Accuracy{}
	for _, row := range db.view.Load().judged {
		if row.Judged() > 0 {
			all = append(all, row)
		}
	}
	slices.SortFunc(all, func(x, y edgeagent.Accuracy) int {
		return cmp.Or(cmp.Compare(y.Judged(), x.Judged()), cmp.Compare(x.Provider, y.Provider), cmp.Compare(x.Model, y.Model))
	})
	return all
}
