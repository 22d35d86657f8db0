package queue

import (
	"bytes"
	"cmp"
	"slices"

	"go.etcd.io/bbolt"
)

// What a damaged data file does not have yet is in its journal, and lies over
// what was salvaged of it: frame by frame, deletions too. Where the file does not
// say any more which frames those are, they are records like others that were
// found, and the newest counts.

// overlay lays the frames over what was salvaged.
func (v *salvager) overlay() error {
	mark := v.tree.mark
	if mark == nil {
		if v.tree.damage == nil {
			return nil // it never had a journal
		}
		return v.loose()
	}
	if c, err := v.journal.after(mark); err != nil && len(c.frames) == 0 {
		v.untold += lostUntold // how many commits it held nobody knows
	}
	for _, f := range v.journal.since(*mark) {
		err := v.to.Update(func(tx *bbolt.Tx) error {
			_, err := replay(tx, []journalFrame{f})
			return err
		})
		if err != nil {
			return err
		}
		v.recall(f)
	}
	return nil
}

// loose takes the records of all frames, but those that a later one deletes.
func (v *salvager) loose() error {
	id, any := v.journal.owner()
	if !any {
		return nil
	}
	frames := v.journal.since(journalMark{id: id, open: true})
	gone := deletedBy(frames)
	for _, f := range frames {
		v.recall(f)
		err := f.each(func(kind byte, key string, rec []byte) error {
			if rec == nil || gone[string(kind)+key] {
				return nil
			}
			_, revision, err := decodeRecord(kind, key, rec)
			if err != nil {
				return err
			}
			return v.keep(stray{kind: kind, key: key, revision: revision, rec: rec}, true)
		})
		if err != nil {
			return err
		}
	}
	return v.flush()
}

// deletedBy returns the records, kind and key, whose last word in frames is their
// deletion. One that does not hold says nothing.
func deletedBy(frames []journalFrame) map[string]bool {
	gone := make(map[string]bool)
	for _, f := range frames {
		_ = f.each(func(kind byte, key string, rec []byte) error {
			if rec == nil {
				gone[string(kind)+key] = true
			} else {
				delete(gone, string(kind)+key)
			}
			return nil
		})
	}
	return gone
}

// newestID returns the newest id of an alarm or a job that any frame holds: what came
// last is often in the journal alone.
func (j *journalFile) newestID() (newest string) {
	for i := range j.parts {
		for f := range j.parts[i].all {
			_ = f.each(func(kind byte, key string, rec []byte) error { // what does not hold says nothing
				if (kind == bucketAlarms || kind == bucketJobs) && rec != nil {
					newest = max(newest, key)
				}
				return nil
			})
		}
	}
	return newest
}

// recall takes over what a frame says of the streams.
func (v *salvager) recall(f journalFrame) {
	_ = f.each(func(kind byte, key string, rec []byte) error { // what does not hold says nothing
		if kind != bucketTally || rec == nil {
			return nil
		}
		body, _, err := decodeRecord(kind, key, rec)
		if err != nil {
			return err
		}
		t, err := decodeTally(0, body)
		if err != nil {
			return err
		}
		for s, n := range t.spans {
			v.spans[s] = span{max(v.spans[s].floor, n.floor), max(v.spans[s].last, n.last)}
		}
		return nil
	})
}

// since returns the frames of the generation of a mark and of those behind it, in
// their order. Of each part the newest generation counts: what is left of older
// ones is not whole.
func (j *journalFile) since(m journalMark) []journalFrame {
	newest := [journalParts]uint64{m.generation, m.generation, m.generation}
	for i := range j.parts {
		for f := range j.parts[i].all {
			if f.id == m.id {
				newest[i] = max(newest[i], f.generation)
			}
		}
	}
	var out []journalFrame
	for i := range j.parts {
		for f := range j.parts[i].all {
			if f.id == m.id && f.generation == newest[i] && (m.open || f.generation > m.generation) {
				f.entries = bytes.Clone(f.entries)
				out = append(out, f)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b journalFrame) int {
		return cmp.Or(cmp.Compare(a.generation, b.generation), cmp.Compare(a.sequence, b.sequence))
	})
	return out
}
