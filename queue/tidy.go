package queue

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"go.etcd.io/bbolt"

	"edgeagent"
)

const (
	tidyEvents = 256 // deleted with one commit at most
	tidyJobs   = 32
	tidyAlarms = 128
	tidyEvery  = time.Minute // while nothing was left over the last time
)

// tidy deletes what nobody needs any more. It rides on commits that happen
// anyway: an idle agent writes nothing, not even to clean up.
func (b *batch) tidy() error {
	if b.now.Before(b.w.tidied.Add(tidyEvery)) && !b.w.untidy && !b.wantsRoom {
		return nil
	}
	b.w.tidied, b.w.untidy = b.now, false
	b.tidyFloods()
	return errors.Join(b.saveClock(), b.tidyOutbox(), b.tidyJobs(), b.tidyAlarms(), b.trim())
}

// tidyOutbox deletes events that every required destination has and that are
// old enough. The newest event of a stream of this epoch stays: it remembers
// the number.
func (b *batch) tidyOutbox() error {
	left := tidyEvents
	for _, s := range slices.Collect(maps.Keys(b.w.last)) {
		limit := b.w.last[s]
		if s.epoch == b.w.epoch {
			limit--
		}
		for _, d := range b.o.Destinations {
			if d.Required {
				limit = min(limit, b.w.position(cursorKey{d.Name, s}))
			}
		}
		seq := b.w.floor[s] + 1
		for ; seq <= limit && left > 0 && b.expired(s, seq); seq++ {
			b.dropEvent(s, seq)
			left--
		}
		b.w.untidy = b.w.untidy || left == 0
		if seq > b.w.floor[s]+1 {
			set(b, b.w.floor, s, seq-1)
			b.outboxChanged = true
		}
		if s.epoch != b.w.epoch && seq > b.w.last[s] {
			if err := b.skipGone(); err != nil { // with the stream goes who has how much of it
				return err
			}
			b.forgetStream(s)
		}
	}
	return b.skipGone()
}

// skipGone moves the cursors of destinations for which events are gone: those
// that were configured later, and those that are not waited for. Whoever counts
// numbers is told; nothing is dropped in silence.
func (b *batch) skipGone() error {
	for _, d := range b.o.Destinations {
		for s, floor := range b.w.floor {
			c := cursorKey{d.Name, s}
			at := b.w.cursors[c].at
			if at >= floor {
				continue
			}
			if err := b.putCursor(c, cursor{floor, b.w.cursors[c].confirmed}); err != nil {
				return err
			}
			reason := edgeagent.NewNote("not_kept", "deleted before "+d.Name+" had it", "upstream", d.Name)
			gap := edgeagent.Gap{Epoch: s.epoch, Stream: s.stream, From: at + 1, To: floor, Reason: reason}
			if err := b.emit(outgoing{edgeagent.EventGap, edgeagent.NewID(b.now), 1, "", b.now, gap}); err != nil {
				return err
			}
		}
	}
	return nil
}

// expired reports whether an event has been kept long enough. One that cannot
// be read has: keeping it would keep everything after it.
func (b *batch) expired(s streamKey, seq uint64) bool {
	at, err := b.writtenAt(s, seq)
	if errors.Is(err, errDamaged) || errors.Is(err, edgeagent.ErrNotFound) {
		return true
	}
	if err != nil {
		return false
	}
	keep, age := b.o.keep(), b.age(at)
	if !b.dated(at) {
		age = b.ageBehind(s, seq)
	}
	for _, d := range b.o.Destinations {
		if p := (parkedKey{cursorKey{d.Name, s}, seq}); b.w.parked[p] {
			keep = max(keep, b.o.Retain) // a person may want to look at it
			age = min(age, b.refusedFor(p))
		}
	}
	return age >= keep
}

func (b *batch) writtenAt(s streamKey, seq uint64) (time.Time, error) {
	body, _, err := b.get(bucketOutbox, s.key(seq))
	if err != nil {
		return time.Time{}, err
	}
	e, err := decodeOutgoing(s.key(seq), body)
	return e.At, err
}

// ageBehind returns the age of what comes right behind events that a wrong clock has
// dated: they are older, and must not keep all that was written since. There may be
// thousands of them, and few of all are read.
func (b *batch) ageBehind(s streamKey, seq uint64) time.Duration {
	wrong, right := seq, seq
	for step := uint64(1); wrong == right || !b.datedAt(s, right); step *= 2 {
		if right == b.w.last[s] {
			return 0
		}
		wrong, right = right, min(right+step, b.w.last[s])
	}
	for right-wrong > 1 {
		if mid := wrong + (right-wrong)/2; b.datedAt(s, mid) {
			right = mid
		} else {
			wrong = mid
		}
	}
	at, _ := b.writtenAt(s, right) // it was read a moment ago
	return b.age(at)
}

// datedAt reports whether the date of an event can be believed.
func (b *batch) datedAt(s streamKey, seq uint64) bool {
	at, err := b.writtenAt(s, seq)
	return err == nil && b.dated(at)
}

// refusedFor returns how long nothing was done about a refused event: since it
// was refused, or since a person wanted it sent again. A refusal that cannot be
// read, or that a wrong clock has dated, keeps nothing.
func (b *batch) refusedFor(p parkedKey) time.Duration {
	var is parked
	if err := b.getJSON(bucketMeta, p.key(), &is); err != nil {
		return math.MaxInt64
	}
	since := is.At
	if is.Asked != nil && b.dated(is.Asked.At) {
		since = is.Asked.At
	}
	if !b.dated(since) {
		return math.MaxInt64
	}
	return b.age(since)
}

func (b *batch) dropEvent(s streamKey, seq uint64) {
	b.drop(bucketOutbox, s.key(seq))
	for p := range b.w.parked {
		if p.streamKey == s && p.seq == seq {
			b.unpark(p)
		}
	}
}

// forgetStream ends the stream of an earlier life of the file.
func (b *batch) forgetStream(s streamKey) {
	remove(b, b.w.last, s)
	remove(b, b.w.floor, s)
	b.outboxChanged = true
	for c := range b.w.cursors {
		if c.streamKey == s {
			remove(b, b.w.cursors, c)
			b.drop(bucketMeta, c.key())
		}
	}
}

// tidyFloods forgets the groups and lines that were quiet for so long that they
// remember nothing: an alarm from outside may name any line.
func (b *batch) tidyFloods() {
	for g, f := range b.w.flood {
		if last := f.raises[len(f.raises)-1]; b.now.Sub(last) >= max(floodWindow, b.o.FloodWindow) {
			remove(b, b.w.flood, g)
		}
	}
	for line, seen := range b.w.lines {
		if b.now.Sub(seen[len(seen)-1].at) > relatedWindow {
			remove(b, b.w.lines, line)
		}
	}
	shed(b, &b.w.groups, &b.w.most.groups)
	shed(b, &b.w.flood, &b.w.most.flood)
	shed(b, &b.w.lines, &b.w.most.lines)
}

// shed gives back the memory of a map that was much larger once, as an outage
// leaves it: a map never does so by itself.
func shed[K comparable, V any](b *batch, m *map[K]V, most *int) {
	*most = max(*most, len(*m))
	if *most <= leastEntries || len(*m) > *most/4 {
		return
	}
	small := make(map[K]V, len(*m))
	maps.Copy(small, *m)
	assign(b, m, small)
	*most = len(small)
}

// tidyJobs deletes jobs that were finished long ago.
func (b *batch) tidyJobs() error {
	return b.oldest(bucketJobs, tidyJobs, func(id edgeagent.ID) (bool, error) {
		body, _, err := b.get(bucketJobs, string(id))
		if err != nil {
			return false, err
		}
		h, err := decodeHeader(body)
		if err != nil || unfinished(h.State) {
			return false, err
		}
		if age, err := b.ageOf(id, h.Finished); err != nil || age < b.o.Retain {
			return false, err
		}
		set(b, b.w.counts, h.State, b.w.counts[h.State]-1)
		b.drop(bucketJobs, string(id))
		return true, b.dropBodies(id)
	})
}

// tidyAlarms deletes alarms that were over long ago, unless their job still
// needs them.
func (b *batch) tidyAlarms() error {
	for id, a := range b.w.alarms {
		if lapsed(a, b.now) {
			b.forgetAlarm(id)
		}
	}
	return b.oldest(bucketAlarms, tidyAlarms, func(id edgeagent.ID) (bool, error) {
		var a edgeagent.Alarm
		if err := b.getJSON(bucketAlarms, string(id), &a); err != nil {
			return false, err
		}
		if _, open := b.w.alarms[id]; open {
			return false, nil
		}
		if age, err := b.ageOf(id, lastChange(a)); err != nil || age < b.o.Retain {
			return false, err
		}
		if j, err := b.job(a.Job); err == nil && unfinished(j.State) {
			return false, nil
		}
		return true, b.dropAlarm(a)
	})
}

// dropAlarm deletes an alarm with all that was kept for it.
func (b *batch) dropAlarm(a edgeagent.Alarm) error {
	key, _, err := b.get(bucketBodies, part(a.ID, partKey))
	switch {
	case err == nil:
		b.drop(bucketKeys, string(key))
	case !errors.Is(err, edgeagent.ErrNotFound) && !errors.Is(err, errDamaged):
		return err
	}
	b.forget(a)
	b.drop(bucketAlarms, string(a.ID))
	return b.dropBodies(a.ID)
}

// forget takes an alarm out of those that LastTime looks for.
func (b *batch) forget(a edgeagent.Alarm) {
	b.db.raisedMu.Lock()
	defer b.db.raisedMu.Unlock()
	key := occasionOf(a)
	ids := slices.DeleteFunc(b.w.activations(key), func(id rawID) bool { return id == rawOf(a.ID) })
	if len(ids) < 2 {
		remove(b, b.w.before, key)
	} else {
		set(b, b.w.before, key, ids[:len(ids)-1])
	}
	if len(ids) == 0 {
		remove(b, b.w.raised, key)
		return
	}
	set(b, b.w.raised, key, ids[len(ids)-1])
}

func lastChange(a edgeagent.Alarm) time.Time {
	at := a.RaisedAt
	for _, t := range []*time.Time{a.ClearedAt, a.AckedAt} {
		if t != nil && t.After(at) {
			at = *t
		}
	}
	return at
}

// dropBodies deletes all bodies of an object, readable or not.
func (b *batch) dropBodies(id edgeagent.ID) error {
	tx, err := b.reader()
	if err != nil {
		return err
	}
	keys, err := objectKeys(tx, id)
	if err != nil {
		return err
	}
	for _, key := range keys {
		b.drop(bucketBodies, key)
	}
	for name := range b.puts { // written by this batch
		if key, ours := strings.CutPrefix(name, string(bucketBodies)); ours && strings.HasPrefix(key, string(id)) {
			b.drop(bucketBodies, key)
		}
	}
	return nil
}

// oldest offers the next old ids of a bucket for deletion.
func (b *batch) oldest(bucket byte, limit int, visit func(edgeagent.ID) (dropped bool, err error)) error {
	ids, more, err := b.nextIDs(bucket, limit)
	if err != nil {
		return err
	}
	for _, id := range ids {
		dropped, err := visit(id)
		if errors.Is(err, errDamaged) {
			b.o.Log.Error("a record cannot be read and stays", "id", id, "error", err)
			continue
		}
		if err != nil {
			return fmt.Errorf("%c/%s: %w", bucket, id, err)
		}
		b.w.untidy = b.w.untidy || dropped && more
	}
	return nil
}

// nextIDs returns the old ids that are looked at next, and whether there are
// more of them. Ids sort by age; those that are yet to come are of a clock that was
// ahead. It goes on where it stopped the last time: what has to stay, as an alarm that
// nobody ever clears, must not keep what is behind it.
func (b *batch) nextIDs(bucket byte, limit int) (ids []edgeagent.ID, more bool, err error) {
	tx, err := b.reader()
	if err != nil {
		return nil, false, err
	}
	r, err := rowsOf(tx, bucket)
	if err != nil {
		return nil, false, err
	}
	ahead := string(edgeagent.FirstID(b.now.Add(clockTrust)))
	for ok := r.seek(string(b.w.tidyAt[bucket])); ok; ok = r.next() {
		if young := b.now.Sub(edgeagent.ID(r.key).Time()) < b.o.Retain; young && r.key < ahead && !r.seek(ahead) {
			break
		}
		if len(ids) == limit {
			b.w.tidyAt[bucket] = edgeagent.ID(r.key)
			return ids, true, nil
		}
		ids = append(ids, edgeagent.ID(r.key))
	}
	delete(b.w.tidyAt, bucket) // from the beginning again
	return ids, false, nil
}

// measure notes how much of the file has ever been used: it grows in steps, and
// what lies behind the last page is free too.
func (db *DB) measure() error {
	return db.bolt.View(func(tx *bbolt.Tx) error {
		db.used.Store(tx.Size())
		return nil
	})
}
