package queue

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
)

// A hole is a range of keys whose page cannot be read.
type hole struct {
	bucket byte
	lo, hi []byte // hi itself is outside; nil has no end
	leaf   bool   // a single leaf is gone. Otherwise there may be whole leaves that nothing leads to any more.
}

// A survey is what one tree of a data file looks like, page for page. It goes
// on behind damage, so that it says where exactly the damage is.
type survey struct {
	pages   pageFile
	meta    metaPage // whose tree it is
	limit   uint64   // pages behind it were never used
	roles   []pageRole
	holes   []hole
	schema  int
	ends    map[streamKey]uint64 // the newest event of each stream
	rows    int                  // records that hold
	lost    int                  // records whose place is known, and whose bytes do not hold
	tally   *tally
	balance uint64 // as the tree says it is, see balance.go
	total   uint64 // of the records that hold
	mended  bool   // by reconcile: with it the tree is that of its commit
	trail   *trail
	mark    *journalMark // nil: none was found
	rooted  bool         // the root page can be read
	damage  error        // the first that was met

	tails   map[uint64]*hole // what may lie in a page that another goes on into
	claimed map[uint64]bool  // pages that may belong to the one before them, which cannot be believed
	frames  []*frame         // of the pages on the way to the one that is visited
	scratch []byte           // a page of which the head alone is looked at
	run     streamRun
}

// A frame is a page that is being visited. It serves for the next one of its
// depth: a file of hundreds of megabytes is walked without making garbage.
type frame struct {
	page []byte
	rows []element
}

func (s *survey) frame(depth int) *frame {
	for len(s.frames) <= depth {
		s.frames = append(s.frames, &frame{})
	}
	return s.frames[depth]
}

func newSurvey(p pageFile, limit uint64) *survey {
	pages := p.pageAt(p.size + p.page - 1) // the last may be cut: what is whole of it counts
	return &survey{pages: p, limit: min(limit, pages), roles: make([]pageRole, pages), ends: make(map[streamKey]uint64), tails: make(map[uint64]*hole), claimed: make(map[uint64]bool)}
}

// surveyTree walks the tree under a root page.
func surveyTree(p pageFile, m metaPage) *survey { return surveyAlong(p, m, nil) }

// surveyAlong does so along a trail, if there is one.
func surveyAlong(p pageFile, m metaPage, t *trail) *survey {
	s := newSurvey(p, m.limit)
	s.meta, s.trail = m, t
	if m.limit > p.count {
		s.met(fmt.Errorf("the file has %d of its %d pages: %w", p.count, m.limit, errDamaged))
	}
	h, page, err := p.tree(m.root)
	if err == nil && h.flags != flagLeaf {
		err = fmt.Errorf("root page %d is no leaf: %w", m.root, errDamaged)
	}
	s.claim(m.root, h, err == nil, hole{})
	s.span(h, page)
	var rows []element
	if err == nil {
		rows, err = elements(page)
	}
	if err != nil {
		s.met(err)
		s.everything()
		return s
	}
	s.rooted = true
	s.buckets(rows)
	return s
}

// everything makes one hole of all keys: nothing is known of the tree.
func (s *survey) everything() {
	for b := range 256 {
		s.holes = append(s.holes, hole{bucket: byte(b)})
	}
}

func (s *survey) met(err error) {
	if s.damage == nil {
		s.damage = err
	}
}

// buckets walks the buckets of the root. The one of the schema comes first: what
// a later version has written is not to be judged by us.
func (s *survey) buckets(rows []element) {
	slices.SortStableFunc(rows, func(a, b element) int { return order(a.key) - order(b.key) })
	seen := make(map[byte]bool)
	for _, e := range rows {
		b, err := decodeBucket(e)
		if err == nil && len(e.key) != 1 {
			err = fmt.Errorf("bucket %q: %w", e.key, errDamaged)
		}
		if err != nil {
			s.met(err)
			continue
		}
		seen[e.key[0]] = true
		if e.key[0] == bucketTally {
			s.balance = b.sequence
		}
		s.bucket(e.key[0], b)
		if s.schema > schemaVersion {
			s.damage = fmt.Errorf("schema %d: %w", s.schema, errNewer)
			return
		}
	}
	for _, name := range s.wanted() {
		if !seen[name] {
			s.met(fmt.Errorf("bucket %c is missing: %w", name, errDamaged))
			s.holes = append(s.holes, hole{bucket: name})
		}
	}
	s.weigh()
}

func order(name []byte) int {
	if len(name) == 1 && name[0] == bucketMeta {
		return 0
	}
	return 1
}

func (s *survey) wanted() []byte {
	if s.schema == schemaApart {
		return kinds
	}
	return buckets
}

// weigh compares the tree with the tally of its commit.
func (s *survey) weigh() {
	if s.schema == 0 {
		s.met(fmt.Errorf("the schema cannot be read: %w", errDamaged))
	}
	if s.tally == nil || len(s.holes) > 0 || s.lost > 0 {
		return
	}
	for key, span := range s.tally.spans {
		if end, any := s.ends[key]; end != span.last && (any || span.last > span.floor) {
			s.met(fmt.Errorf("%s events end at %d instead of %d: %w", key.stream, end, span.last, errDamaged))
		}
	}
	s.audit()
}

// audit compares the records with what they should be in sum: a pointer that
// leads to an older copy of a leaf shows in nothing else.
func (s *survey) audit() {
	if s.known() && !s.even() {
		s.met(fmt.Errorf("not all records are those of the last commit: %w", errDamaged))
	}
}

// even reports whether the records are what they should be in sum.
func (s *survey) even() bool { return (s.balance^s.total)>>numberBits == 0 }

// whole reports whether the tree is that of its commit.
func (s *survey) whole() bool { return s.damage == nil || s.mended }

// known reports whether the tree says what its balance is.
func (s *survey) known() bool {
	return s.schema != schemaApart && s.tally != nil && balanced(s.balance, s.tally.number)
}

func (s *survey) bucket(name byte, b treeBucket) {
	if b.inline == nil {
		if !s.follow(name, b.root, nil, nil, 0).ok() {
			s.holes = append(s.holes, hole{bucket: name})
		}
		return
	}
	rows, err := elements(b.inline)
	if err != nil {
		s.met(err)
		s.holes = append(s.holes, hole{bucket: name, leaf: true})
		return
	}
	s.leaf(name, rows, nil, nil)
}

// kindOfPage is what a visit found.
type kindOfPage byte

const (
	foundNothing kindOfPage = iota
	foundLeaf
	foundBranch
)

func (k kindOfPage) ok() bool { return k != foundNothing }

// visit walks one page and all below it. Keys must lie from lo to before hi.
func (s *survey) visit(bucket byte, id uint64, lo, hi []byte, depth int) kindOfPage {
	s.release(id)
	if id < firstDataPage || id >= s.limit || depth > maxDepth || s.roles[id] != roleFree {
		s.astray(bucket, id)
		return foundNothing
	}
	f := s.frame(depth)
	h, page, err := s.pages.treeInto(f.page, id)
	f.page = page
	whole := s.claim(id, h, err == nil, hole{bucket: bucket, lo: lo, hi: hi})
	s.span(h, page)
	if err == nil && !whole {
		err = fmt.Errorf("page %d overflows into others: %w", id, errDamaged)
	}
	var rows []element
	if err == nil {
		rows, err = appendElements(f.rows[:0], page)
		f.rows = rows
	}
	if err == nil && h.flags == flagLeaf && len(rows) == 0 && depth > 0 {
		err = fmt.Errorf("page %d is empty, and no such page is ever written: %w", id, errDamaged)
	}
	if err != nil {
		s.met(fmt.Errorf("bucket %c: %w", bucket, err))
		return foundNothing
	}
	if h.flags == flagLeaf && outside(rows, lo, hi) {
		clear(s.roles[id:min(id+1+uint64(h.overflow), s.limit)])
		s.astray(bucket, id)
		return foundNothing
	}
	if h.flags == flagLeaf {
		s.leaf(bucket, rows, lo, hi)
		s.tail(bucket, id, h, rows, lo, hi)
		return foundLeaf
	}
	s.branch(bucket, rows, lo, hi, depth)
	return foundBranch
}

// span notes that a page says that it goes on into more or fewer pages than it does.
func (s *survey) span(h pageHead, page []byte) {
	if page != nil && pageHeadOf(page).overflow != h.overflow {
		s.met(fmt.Errorf("page %d says it goes on for %d more instead of %d: %w", h.id, pageHeadOf(page).overflow, h.overflow, errDamaged))
	}
}

// placeOf returns where a record lies in a file of this schema.
func (s *survey) placeOf(kind byte, key string) (bucket byte, at []byte) {
	if s.schema == schemaApart {
		return kind, []byte(key)
	}
	return place(kind, key)
}

// astray notes a pointer that leads to what cannot be meant. What was meant is
// whole, perhaps, and nobody knows where: it may be any page that is not in use.
func (s *survey) astray(bucket byte, id uint64) {
	s.met(fmt.Errorf("bucket %c: page %d cannot belong there: %w", bucket, id, errDamaged))
	s.holes = slices.Insert(s.holes, 0, hole{bucket: bucket})
}

// outside reports whether no key of a leaf lies where it should.
func outside(rows []element, lo, hi []byte) bool {
	return len(rows) > 0 && !slices.ContainsFunc(rows, func(e element) bool {
		return bytes.Compare(e.key, lo) >= 0 && (hi == nil || bytes.Compare(e.key, hi) < 0)
	})
}

func (s *survey) branch(bucket byte, rows []element, lo, hi []byte, depth int) {
	if len(rows) == 0 {
		s.met(fmt.Errorf("bucket %c: empty branch: %w", bucket, errDamaged))
		s.holes = append(s.holes, hole{bucket: bucket, lo: bytes.Clone(lo), hi: bytes.Clone(hi)})
		return
	}
	s.bounded(bucket, rows, lo, hi)
	var broken []hole
	leaves := false
	for i, e := range rows {
		end := hi
		if i+1 < len(rows) {
			end = rows[i+1].key
		}
		switch s.follow(bucket, e.child, e.key, end, depth+1) {
		case foundLeaf:
			leaves = true
		case foundNothing:
			broken = append(broken, hole{bucket: bucket, lo: bytes.Clone(e.key), hi: bytes.Clone(end)})
		case foundBranch:
		}
	}
	for _, h := range broken { // all children of a branch are of one kind
		h.leaf = leaves
		s.holes = append(s.holes, h)
	}
}

func (s *survey) bounded(bucket byte, rows []element, lo, hi []byte) {
	if len(rows) == 0 {
		return
	}
	if first, last := rows[0].key, rows[len(rows)-1].key; bytes.Compare(first, lo) < 0 || hi != nil && bytes.Compare(last, hi) >= 0 {
		s.met(fmt.Errorf("bucket %c: keys lie where nobody looks for them: %w", bucket, errDamaged))
	}
}

// leaf checks the records of a leaf.
func (s *survey) leaf(bucket byte, rows []element, lo, hi []byte) {
	s.bounded(bucket, rows, lo, hi)
	for _, e := range rows {
		kind, key := s.whose(bucket, e.key)
		body, revision, err := decodeRecord(kind, key, e.value)
		if err == nil && e.flags != 0 {
			err = fmt.Errorf("bucket %c, key %q is a bucket: %w", bucket, e.key, errDamaged)
		}
		if err == nil {
			err = s.note(kind, key, body, revision)
		}
		if err != nil {
			s.met(err)
			s.lost++
			continue
		}
		s.rows++
		if bucket != bucketTally {
			s.total += weight(e.value)
		}
	}
}

// whose returns which record belongs at a key of a bucket.
func (s *survey) whose(bucket byte, at []byte) (kind byte, key []byte) {
	if bucket == bucketData && s.schema != schemaApart {
		return placedAt(at)
	}
	return bucket, at
}

// note keeps what the survey itself needs of a record.
func (s *survey) note(kind byte, key, body []byte, revision uint32) (err error) {
	switch {
	case kind == bucketMeta && string(key) == keySchema:
		if s.schema, err = strconv.Atoi(string(body)); err != nil {
			return errors.Join(err, errDamaged)
		}
	case kind == bucketMeta && string(key) == keyJournal:
		var m journalMark
		if m, err = decodeJournalMark(body); err == nil {
			s.mark = &m
		}
	case kind == bucketTally:
		s.tally, err = decodeTally(revision, body)
	case kind == bucketOutbox:
		seq, err := s.run.sequence(key)
		if err != nil {
			return fmt.Errorf("%w: %w", err, errDamaged)
		}
		s.ends[s.run.stream] = max(s.ends[s.run.stream], seq)
	}
	return err
}

// holeOf returns the hole in which a record would lie.
func (s *survey) holeOf(kind byte, key string) (hole, bool) {
	bucket, at := s.placeOf(kind, key)
	for _, h := range s.holes {
		if h.has(bucket, at) {
			return h, true
		}
	}
	return hole{}, false
}
