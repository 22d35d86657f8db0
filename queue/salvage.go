package queue

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"go.etcd.io/bbolt"

	"edgeagent"
)

// Salvage reads a damaged file record by record, from the bytes alone, and puts
// what is whole into a new one. The tree is asked for one thing only: which
// pages are in use. A page that is not holds records of before, older copies of
// what was changed since, and of what was deleted: ghosts. From them is taken
// only what cannot be a ghost, and only where the tree has a hole.

const (
	salvageChunk = 1 << 20 // bytes that are written to the new file at a time
	maxTrees     = 8       // that are tried, the newest first
)

// A salvager moves what is whole of one file into another.
type salvager struct {
	pages    pageFile
	tree     *survey
	newer    []*survey          // of commits behind the tree's that were not whole
	spans    map[streamKey]span // what is known of each stream
	attempts int                // of a job that has to be given a new header
	retain   time.Duration      // what is older was deleted
	behind   bool               // the tree is that of the last commit but one
	newest   string             // id in the tree
	last     string             // id in any page
	epoch    edgeagent.ID       // of the damaged file
	untold   uint64             // commits that left no tally
	to       *bbolt.DB
	lean     bool // leave out what a finished job can do without
	chunk    []stray
	size     int
	journal  journalFile
	sent     *working        // the tree's cursors
	guests   map[string]bool // events that were taken from pages not in use
	twofold  map[string]bool // and those of which there are two
	found    int
}

// salvageFile writes what is whole of the data file to fresh.
func salvageFile(o Options, fresh string, lean bool) (salvaged, error) {
	pages, f, err := openPages(o.Path)
	if err != nil {
		return salvaged{}, err
	}
	defer func() { _ = f.Close() }() // only read
	v := &salvager{pages: pages, lean: lean, attempts: o.MaxAttempts, retain: o.Retain, sent: newWorking(), guests: make(map[string]bool), twofold: make(map[string]bool)}
	v.journal, _ = readJournal(o.Path + journalSuffix) // what cannot be read of it is not there
	defer func() { _ = v.journal.close() }()           // only read
	if err := v.chooseTree(); err != nil {
		return salvaged{}, err
	}
	if err := os.Remove(fresh); err != nil && !errors.Is(err, os.ErrNotExist) {
		return salvaged{}, err
	}
	if v.to, err = openBolt(fresh, max(o.MaxSize, pages.size)); err != nil {
		return salvaged{}, err
	}
	v.to.NoSync = true // nobody knows the file before it is whole
	report, err := v.run()
	if err == nil {
		err = durable("salvage.sync", v.to.Sync)
	}
	return report, errors.Join(err, v.to.Close())
}

func (v *salvager) run() (salvaged, error) {
	if err := v.to.Update(initialise); err != nil {
		return salvaged{}, err
	}
	err := v.pages.strays(func(r stray) error { return v.keep(r, v.lives(r)) })
	if err == nil && (v.behind || len(v.tree.holes) > 0 || len(v.newer) > 0) {
		err = errors.Join(v.flush(), v.readCursors(), v.pages.strays(func(r stray) error { return v.keep(r, !v.lives(r) && v.guest(r)) }))
	}
	if err := errors.Join(err, v.flush(), v.overlay()); err != nil {
		return salvaged{}, fmt.Errorf("salvage records: %w", err)
	}
	return v.settle()
}

// chooseTree surveys the newest tree that there is a root of. While both meta
// pages hold, they say which that is. When one does not, it may be the newest
// that is gone, or the one before, or one whose commit never ended: then the
// newest whole tree counts, and what later ones have of their own comes to it.
func (v *salvager) chooseTree() error {
	tallies, last, err := v.pages.tallies()
	if err != nil {
		return err
	}
	v.last = max(last, v.journal.newestID())
	v.spans = known(tallies)
	good, damage := v.pages.metas()
	for _, r := range roots(good, tallies, v.pages.count) {
		s := surveyTree(v.pages, r.metaPage)
		if errors.Is(s.damage, errNewer) {
			return s.damage
		}
		if v.tree == nil && s.damage == nil || damage == nil && s.rooted {
			v.tree = s
			break
		}
		v.newer = append(v.newer, s)
	}
	v.fallBack(damage == nil)
	v.tree = v.tree.reconcile()
	v.untold = countUntold(commitsOf(good, tallies), tallies, v.tree.whole())
	return nil
}

// fallBack takes the best of trees none of which is whole.
func (v *salvager) fallBack(metas bool) {
	if v.tree == nil {
		at := slices.IndexFunc(v.newer, func(s *survey) bool { return s.rooted })
		if at < 0 {
			v.tree = surveyTree(v.pages, metaPage{})
			v.newer = nil
			return
		}
		v.tree, v.newer = v.newer[at], v.newer[:at]
	}
	v.behind = metas && len(v.newer) > 0 // the root of the last commit is gone
}

// A root is a page that may be the root of a tree.
type root struct {
	metaPage
	number uint64 // of its commit, as tallies count
}

// roots returns what may be the root of a tree, the newest first. Without both
// meta pages every page that holds a tally may be one.
func roots(good []metaPage, tallies map[uint64]*tally, pages uint64) []root {
	out := commitsOf(good, tallies)
	if len(good) < 2 {
		for page, t := range tallies {
			if !slices.ContainsFunc(good, func(m metaPage) bool { return m.root == page }) {
				out = append(out, root{metaPage{root: page, freelist: noFreelist, limit: pages}, uint64(t.number)})
			}
		}
	}
	slices.SortStableFunc(out, func(a, b root) int { return cmp.Compare(b.number, a.number) })
	return out[:min(len(out), maxTrees)]
}

// commitsOf gives each meta page the number of its commit: that of the tally in
// its root page, or as many more or less as the commits between it and the other.
func commitsOf(good []metaPage, tallies map[uint64]*tally) []root {
	out := make([]root, len(good))
	for i, m := range good {
		out[i] = root{metaPage: m}
		for _, other := range good {
			if t := tallies[other.root]; t != nil && (out[i].number == 0 || other == m) {
				out[i].number = uint64(t.number) + m.txid - other.txid
			}
		}
	}
	return out
}

// known returns the most that any tally says of each stream. Numbers only rise:
// older tallies, of pages not in use, are right as far as they go.
func known(tallies map[uint64]*tally) map[streamKey]span {
	out := make(map[streamKey]span)
	for _, t := range tallies {
		for s, n := range t.spans {
			out[s] = span{max(out[s].floor, n.floor), max(out[s].last, n.last)}
		}
	}
	return out
}

// lives reports whether a record lies in a page that the tree leads to. One that
// is not as it should be must hold what is missed.
func (v *salvager) lives(r stray) bool {
	page := v.pages.pageAt(r.at)
	if !v.tree.holds(page) || v.tree.strange(page, r.kind, r.key) || v.tree.claimed[page] && v.expired(r) {
		return false
	}
	_, missed := v.tree.holeOf(r.kind, r.key)
	return missed || v.tree.roles[page] == roleLive
}

// guest reports whether a record of a page not in use may be taken all the same:
// where the tree has a hole, unless it is an older copy or was deleted.
func (v *salvager) guest(r stray) bool {
	h, open := v.tree.holeOf(r.kind, r.key)
	ahead := slices.ContainsFunc(v.newer, func(s *survey) bool { return s.holds(v.pages.pageAt(r.at)) })
	if !open && !ahead && !v.behind {
		return false
	}
	switch r.kind {
	case bucketMeta:
		return strings.HasPrefix(r.key, prefixSent) || strings.HasPrefix(r.key, prefixPark) && (open || v.unsent(r.key))
	case bucketOutbox:
		s, seq, err := parseOutboxKey(r.key)
		return err == nil && seq > v.spans[s].floor
	case bucketKeys:
		return open || ahead
	default:
		return !v.expired(r) && (ahead || v.behind && !open || !h.leaf || !changes(r.kind, r.key))
	}
}

// readCursors finds how far each destination is, by the tree.
func (v *salvager) readCursors() error {
	return v.to.View(func(tx *bbolt.Tx) error { return scanRecords(tx, bucketMeta, prefixSent, v.sent.loadCursor) })
}

// unsent reports whether an event can have been refused after the tree's commit.
// Of what its cursor has passed, the tree knows itself whether it is refused: a
// ghost would say so of an event that was stored since.
func (v *salvager) unsent(key string) bool {
	p, err := parseParkedKey(key)
	return err == nil && p.seq > max(v.sent.cursors[p.cursorKey].at, v.spans[p.streamKey].floor)
}

// expired reports whether a record is of an object so old that it was deleted,
// by the time of the newest there is.
func (v *salvager) expired(r stray) bool {
	if len(r.key) < idLength || isMemory(r.key) {
		return false
	}
	return edgeagent.ID(v.last).Time().Sub(edgeagent.ID(r.key[:idLength]).Time()) > v.retain
}

// owned reports whether a guest of the commit whose root is gone may stay: ids
// rise, and what it added to older objects finds those in the tree. What finds
// nothing was deleted long ago.
func (v *salvager) owned(tx *bbolt.Tx, r stray) bool {
	if !v.behind || v.lives(r) || r.kind == bucketMeta || r.kind == bucketOutbox || len(r.key) < idLength {
		return true
	}
	id := r.key[:idLength]
	_, _, alarm := readRecord(tx, bucketAlarms, id)
	_, _, job := readRecord(tx, bucketJobs, id)
	return id > v.newest || alarm == nil || job == nil
}

// changes reports whether a record is rewritten. Of what is not, every copy is
// as good as another.
func changes(kind byte, key string) bool {
	switch kind {
	case bucketMeta, bucketJobs, bucketAlarms:
		return true
	case bucketBodies:
		return len(key) > idLength && key[idLength] == partFeedback || isMemory(key)
	}
	return false
}

// keep takes a record for the new file.
func (v *salvager) keep(r stray, wanted bool) error {
	if !wanted || r.kind == bucketTally || r.kind == bucketMeta && (r.key == keySchema || r.key == keyJournal) || v.lean && dispensable(r) {
		return nil
	}
	if r.kind == bucketMeta && r.key == keyEpoch {
		v.epoch = edgeagent.ID(r.rec[recordHead+len(r.key):])
		return nil // the new file has its own
	}
	if r.kind == bucketOutbox && !v.lives(r) {
		v.guests[r.key] = true
	}
	if (r.kind == bucketAlarms || r.kind == bucketJobs) && v.lives(r) {
		v.newest = max(v.newest, r.key)
	}
	v.chunk = append(v.chunk, r)
	if v.size += len(r.rec); v.size < salvageChunk {
		return nil
	}
	return v.flush()
}

// dispensable is what goes first where there is no room for all.
func dispensable(r stray) bool {
	return r.kind == bucketBodies && len(r.key) > idLength && strings.IndexByte(string([]byte{partPrompt, partCase, partEvidence}), r.key[idLength]) >= 0
}

func (v *salvager) flush() error {
	slices.SortStableFunc(v.chunk, func(a, b stray) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), strings.Compare(a.key, b.key))
	})
	err := v.to.Update(func(tx *bbolt.Tx) error {
		for _, r := range v.chunk {
			if err := v.put(tx, r); err != nil {
				return err
			}
		}
		return nil
	})
	v.chunk, v.size = nil, 0
	return err
}

// put writes a record unless a copy is there that is as new.
func (v *salvager) put(tx *bbolt.Tx, r stray) error {
	old, revision, err := readRecord(tx, r.kind, r.key)
	if err != nil && !v.owned(tx, r) {
		return nil
	}
	switch {
	case errors.Is(err, edgeagent.ErrNotFound):
		v.found++
		return writeRecord(tx, r.kind, r.key, r.rec)
	case err != nil:
		return err
	case r.kind == bucketMeta && strings.HasPrefix(r.key, prefixSent):
		return v.putCursor(tx, r, old)
	case revision < r.revision:
		return writeRecord(tx, r.kind, r.key, r.rec)
	case v.guests[r.key] && r.kind == bucketOutbox && !bytes.HasSuffix(r.rec, old):
		v.twofold[r.key] = true
	}
	return nil
}

// putCursor keeps the cursor that is further: none ever goes back.
func (v *salvager) putCursor(tx *bbolt.Tx, r stray, old []byte) error {
	body, _, err := decodeRecord(r.kind, r.key, r.rec)
	if err != nil || bytes.Compare(body, old) <= 0 {
		return nil //nolint:nilerr // not whole: no stray
	}
	return writeRecord(tx, r.kind, r.key, r.rec)
}
