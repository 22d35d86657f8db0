package queue

import (
	"bytes"
	"slices"
	"sort"
)

// A pointer that is damaged leads astray, or to what a page was before; what was
// meant is whole, and nothing leads to it any more. The balance tells which page
// that is: the only one with which the records are those of the last commit again.

// A level is that of a bucket's pages at one depth.
type level struct {
	bucket byte
	depth  int
}

// A lead is a place of a tree from which a pointer leads to a page: the keys below
// it begin at lo.
type lead struct {
	level
	lo string
}

// A trail is where a survey was led.
type trail struct {
	instead map[lead]uint64 // pages to be visited instead of what a pointer says
	before  *trail          // of a survey that need not be repeated
	ways    map[level][]way // by their first keys
	lost    []way           // that led to nothing
}

func newTrail() *trail {
	return &trail{instead: make(map[lead]uint64), ways: make(map[level][]way)}
}

// A way is what a lead led to.
type way struct {
	lead
	page   uint64
	hi     []byte
	kind   kindOfPage
	weight uint64 // of all records below
}

// follow visits what a pointer leads to.
func (s *survey) follow(bucket byte, id uint64, lo, hi []byte, depth int) kindOfPage {
	if s.trail == nil {
		return s.visit(bucket, id, lo, hi, depth)
	}
	w := way{lead: lead{level{bucket, depth}, string(lo)}, page: id, hi: bytes.Clone(hi)}
	if other, any := s.trail.instead[w.lead]; any {
		w.page = other
	}
	if old, any := s.trail.before.same(w); any {
		s.total += old.weight
		return old.kind
	}
	before := s.total
	w.kind = s.visit(bucket, w.page, lo, hi, depth)
	w.weight = s.total - before
	if s.trail.ways[w.level] = append(s.trail.ways[w.level], w); !w.kind.ok() {
		s.trail.lost = append(s.trail.lost, w)
	}
	return w.kind
}

// same returns a way that was gone already, if it ended in something.
func (t *trail) same(w way) (old way, any bool) {
	if t == nil {
		return way{}, false
	}
	ways := t.ways[w.level]
	n := sort.Search(len(ways), func(i int) bool { return ways[i].lo >= w.lo })
	if n == len(ways) || ways[n].lo != w.lo || ways[n].page != w.page || !bytes.Equal(ways[n].hi, w.hi) {
		return way{}, false
	}
	return ways[n], ways[n].kind.ok()
}

// reconcile returns a survey of the tree with the one page exchanged that brings
// it into balance, or s itself where there is none.
func (s *survey) reconcile() *survey {
	if !s.known() || s.even() {
		return s
	}
	traced := surveyAlong(s.pages, s.meta, newTrail())
	for id := uint64(firstDataPage); id < s.limit; id++ {
		if traced.roles[id] != roleFree && len(traced.trail.lost) == 0 {
			continue // where all ways lead to something, what is missed is not in use
		}
		for _, w := range traced.fitting(id) {
			t := newTrail()
			t.instead[w.lead] = id
			if other := surveyAlong(s.pages, s.meta, t); other.damage == nil {
				other.damage, other.mended = s.damage, true
				return other
			}
		}
	}
	return s
}

// fitting returns the ways on which a page would bring the tree into balance.
func (s *survey) fitting(id uint64) (out []way) {
	h, page, err := s.pages.tree(id)
	if err != nil {
		return nil
	}
	rows, err := elements(page)
	if err != nil || len(rows) == 0 {
		return nil
	}
	for _, w := range s.trail.to(rows[0].key) {
		if w.page == id || !s.trail.endsBelow(w) || h.flags == flagLeaf && !s.outweighs(w, weightOf(rows)) {
			continue
		}
		if below := s.below(w, id); below.damage == nil && s.outweighs(w, below.total) {
			out = append(out, w)
		}
	}
	return out
}

func weightOf(leaf []element) (sum uint64) {
	for _, e := range leaf {
		sum += weight(e.value)
	}
	return sum
}

// outweighs reports whether the tree is in balance with so much on a way instead
// of what is there.
func (s *survey) outweighs(w way, weight uint64) bool {
	return (s.total-w.weight+weight)>>numberBits == s.balance>>numberBits
}

// below surveys what a page would lead to on a way.
func (s *survey) below(w way, id uint64) *survey {
	b := newSurvey(s.pages, s.limit)
	b.schema, b.trail = s.schema, newTrail()
	b.trail.before = s.trail
	b.visit(w.bucket, id, []byte(w.lo), w.hi, w.depth)
	return b
}

// endsBelow reports whether nothing is missed but on a way and on those that go on
// from it: another page there would be all that is wanted.
func (t *trail) endsBelow(w way) bool {
	return !slices.ContainsFunc(t.lost, func(l way) bool { return !w.leadsTo(l) })
}

// to returns the ways on which a key may lie.
func (t *trail) to(key []byte) (out []way) {
	for _, ways := range t.ways {
		n := sort.Search(len(ways), func(i int) bool { return ways[i].lo > string(key) })
		if n > 0 && (ways[n-1].hi == nil || bytes.Compare(key, ways[n-1].hi) < 0) {
			out = append(out, ways[n-1])
		}
	}
	return out
}

// leadsTo reports whether another way is this one, or goes on from it.
func (w way) leadsTo(other way) bool {
	return other.bucket == w.bucket && other.depth >= w.depth && other.lo >= w.lo && (w.hi == nil || other.lo < string(w.hi))
}
