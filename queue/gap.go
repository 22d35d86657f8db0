package queue

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.etcd.io/bbolt"

	"edgeagent"
)

// missed is a run of numbers that were given out and whose events are gone.
type missed struct {
	Epoch  edgeagent.ID     `json:"epoch"`
	Stream edgeagent.Stream `json:"stream"`
	From   uint64           `json:"from"`
	To     uint64           `json:"to"`
	Beyond bool             `json:"beyond,omitempty"` // to is the most that it can be
}

// gaps returns the numbers behind what the slowest destination has confirmed
// that are not in the file.
func (v *salvager) gaps(tx *bbolt.Tx) ([]missed, error) {
	spans, cursors, err := v.confirmed(tx)
	if err != nil {
		return nil, err
	}
	var out []missed
	next := make(map[streamKey]uint64)
	for s := range spans {
		next[s] = spans[s].floor + 1
	}
	err = scanRecords(tx, bucketOutbox, "", func(key string, _ []byte, _ uint32) error {
		s, seq, err := parseOutboxKey(key)
		if err != nil {
			return fmt.Errorf("%w: %w", err, errDamaged)
		}
		if _, known := next[s]; !known && cursors[s] == 0 {
			next[s] = seq // a file without tallies: what was before is not known
		}
		if from := max(next[s], 1); seq > from {
			out = append(out, missed{Epoch: s.epoch, Stream: s.stream, From: from, To: seq - 1})
		}
		next[s] = max(next[s], seq+1)
		return nil
	})
	for s, n := range v.ends(spans, next) {
		if from := max(next[s], 1); from <= n {
			out = append(out, missed{Epoch: s.epoch, Stream: s.stream, From: from, To: n, Beyond: n > spans[s].last})
		}
	}
	slices.SortFunc(out, func(a, b missed) int { return strings.Compare(a.key(), b.key()) })
	return out, err
}

// ends returns up to where each stream was numbered. Commits that left no tally
// have taken numbers too, of the newest epoch: how many at most is known. What a
// gap says of numbers that were never given out is true as well.
func (v *salvager) ends(spans map[streamKey]span, next map[streamKey]uint64) map[streamKey]uint64 {
	out := make(map[streamKey]uint64)
	for s := range next {
		out[s] = 0
	}
	for s, n := range spans {
		out[s] = n.last
	}
	newest := v.epoch
	for s := range out {
		newest = max(newest, s.epoch)
	}
	if v.untold == 0 || newest == "" {
		return out
	}
	for _, stream := range edgeagent.Streams {
		s := streamKey{newest, stream}
		out[s] = max(out[s], max(next[s], 1)-1) + min(v.untold*maxBatch, maxTail)
	}
	return out
}

const (
	maxTail    = 1 << 16 // numbers that a gap names beyond the last that is known
	lostUntold = 8       // commits, when no meta page says how many there were
)

// countUntold returns how many commits are known to have been made, or feared,
// whose tally is gone.
func countUntold(metas []root, tallies map[uint64]*tally, whole bool) uint64 {
	var told, made uint64
	for _, t := range tallies {
		told = max(told, uint64(t.number))
	}
	for _, m := range metas {
		made = max(made, m.number)
	}
	switch {
	case whole && (made == 0 || told == 0):
		return 0
	case made == 0 || told == 0:
		return lostUntold
	}
	return max(made, told) - told
}

func (m missed) key() string { return m.stream().key(m.From) }

func (m missed) stream() streamKey { return streamKey{m.Epoch, m.Stream} }

// confirmed returns the spans of all streams, their floors raised to what the
// slowest destination has.
func (v *salvager) confirmed(tx *bbolt.Tx) (spans map[streamKey]span, slowest map[streamKey]uint64, err error) {
	w := newWorking()
	if err := scanRecords(tx, bucketMeta, prefixSent, w.loadCursor); err != nil {
		return nil, nil, err
	}
	slowest = make(map[streamKey]uint64)
	spans = maps.Clone(v.spans)
	furthest := make(map[streamKey]uint64)
	for c, at := range w.cursors {
		if n, seen := slowest[c.streamKey]; !seen || at.at < n {
			slowest[c.streamKey] = at.at
		}
		furthest[c.streamKey] = max(furthest[c.streamKey], at.at)
	}
	for s, n := range slowest {
		spans[s] = span{max(spans[s].floor, n), max(spans[s].last, furthest[s])}
	}
	return spans, slowest, nil
}

// newLife begins a new epoch in a file that was salvaged, and tells of what was
// lost. Both stand in one commit with the end of the note that asks for it.
func (b *batch) newLife() error {
	var s salvaged
	err := b.getJSON(bucketMeta, keySalvaged, &s)
	if errors.Is(err, edgeagent.ErrNotFound) {
		return nil
	}
	if err != nil && !errors.Is(err, errDamaged) {
		return err
	}
	if err := b.beginEpoch(); err != nil {
		return err
	}
	for _, m := range s.Gaps {
		if err := b.tellGap(m); err != nil {
			return err
		}
	}
	b.drop(bucketMeta, keySalvaged)
	return nil
}

// beginEpoch numbers all streams anew.
func (b *batch) beginEpoch() error {
	epoch := epochBehind(append(b.epochs(), b.w.epoch), b.now)
	assign(b, &b.w.epoch, epoch)
	return b.put(bucketMeta, keyEpoch, 0, []byte(epoch))
}

// epochBehind returns a new epoch, which sorts behind all that were, whatever the
// clock says: what comes first is sent first.
func epochBehind(were []edgeagent.ID, now time.Time) edgeagent.ID {
	at := now
	for _, old := range were {
		if t := old.Time(); !t.Before(at) {
			at = t.Add(time.Millisecond)
		}
	}
	return edgeagent.NewID(at)
}

func (b *batch) epochs() []edgeagent.ID {
	var out []edgeagent.ID
	for s := range b.w.last {
		out = append(out, s.epoch)
	}
	return out
}

// tellGap names lost numbers to whoever counts them, and takes the cursors that
// wait right before them across.
func (b *batch) tellGap(m missed) error {
	reason := edgeagent.NewNote("damaged", "lost with a damaged part of the data file")
	gap := edgeagent.Gap{Epoch: m.Epoch, Stream: m.Stream, From: m.From, To: m.To, Reason: reason}
	if err := b.emit(outgoing{edgeagent.EventGap, edgeagent.NewID(b.now), 1, "", b.now, gap}); err != nil {
		return err
	}
	for _, d := range b.o.Destinations {
		c := cursorKey{d.Name, m.stream()}
		if at := b.w.cursors[c]; at.at+1 >= m.From && at.at < m.To {
			if err := b.putCursor(c, cursor{m.To, at.confirmed}); err != nil {
				return err
			}
		}
	}
	return nil
}
