package queue

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
)

// What a page is to the tree that is surveyed.
type pageRole byte

const (
	roleFree   pageRole = iota // no part of the tree leads to it
	roleLive                   // a leaf, a branch, or what a leaf overflows into
	roleBroken                 // the tree leads to it, but it is not what it should be
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
	pages  pageFile
	limit  uint64 // pages behind it were never used
	roles  []pageRole
	holes  []hole
	schema int
	ends   map[streamKey]uint64 // the newest event of each stream
	rows   int                  // records that hold
	lost   int                  // records whose place is known, and whose bytes do not hold
	tally  *tally
	mark   *journalMark // nil: none was found
	rooted bool         // the root page can be read
	damage error        // the first that was met

	tails   map[uint64]*tail // by page
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

// surveyTree walks the tree under a root page.
func surveyTree(p pageFile, m metaPage) *survey {
	pages := p.pageAt(p.size + p.page - 1) // the last may be cut: what is whole of it counts
	s := &survey{pages: p, limit: min(m.limit, pages), roles: make([]pageRole, pages), ends: make(map[streamKey]uint64), tails: make(map[uint64]*tail), claimed: make(map[uint64]bool)}
	if m.limit > p.count {
		s.met(fmt.Errorf("the file has %d of its %d pages: %w", p.count, m.limit, errDamaged))
	}
	h, page, err := p.tree(m.root)
	if err == nil && h.flags != flagLeaf {
		err = fmt.Errorf("root page %d is no leaf: %w", m.root, errDamaged)
	}
	s.claim(m.root, h, err == nil)
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

// weigh compares the tree with the tally of its commit: a pointer that leads to
// an older copy of a leaf shows in nothing else.
func (s *survey) weigh() {
	if s.schema == 0 {
		s.met(fmt.Errorf("the schema cannot be read: %w", errDamaged))
	}
	if s.tally == nil || s.damage != nil {
		return
	}
	for key, span := range s.tally.spans {
		if end, any := s.ends[key]; end != span.last && (any || span.last > span.floor) {
			s.met(fmt.Errorf("%s events end at %d instead of %d: %w", key.stream, end, span.last, errDamaged))
		}
	}
}

func (s *survey) bucket(name byte, b treeBucket) {
	if b.inline == nil {
		if !s.visit(name, b.root, nil, nil, 0).ok() {
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
	if id < firstDataPage || id >= s.limit || depth > maxDepth || s.roles[id] != roleFree {
		s.astray(bucket, id)
		return foundNothing
	}
	f := s.frame(depth)
	h, page, err := s.pages.treeInto(f.page, id)
	f.page = page
	whole := s.claim(id, h, err == nil)
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
		s.tail(bucket, id, h, rows)
		return foundLeaf
	}
	s.branch(bucket, rows, lo, hi, depth)
	return foundBranch
}

// tail notes what a leaf that overflows has keys of. The pages behind its first have
// no head that would say whether they are its own.
func (s *survey) tail(bucket byte, id uint64, h pageHead, rows []element) {
	if h.overflow == 0 || len(rows) == 0 {
		return
	}
	keys := &tail{bucket, bytes.Clone(rows[0].key), bytes.Clone(rows[len(rows)-1].key)}
	for next := id + 1; next <= id+uint64(h.overflow); next++ {
		s.tails[next] = keys
	}
}

// A tail is the keys of a leaf, from the first to the last.
type tail struct {
	bucket byte
	lo, hi []byte
}

// strange reports whether a record lies where a leaf goes on that cannot have it.
func (s *survey) strange(page uint64, kind byte, key string) bool {
	t, is := s.tails[page]
	if !is {
		return false
	}
	bucket, at := s.placeOf(kind, key)
	return bucket != t.bucket || bytes.Compare(at, t.lo) < 0 || bytes.Compare(at, t.hi) > 0
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

// claim marks a page and what it overflows into. It reports whether nothing
// there says that it belongs to somebody else. A head that cannot be believed
// claims what follows until a page has a head of its own.
func (s *survey) claim(id uint64, h pageHead, believed bool) bool {
	if id >= uint64(len(s.roles)) {
		return false
	}
	role, n := roleLive, uint64(h.overflow)
	if !believed {
		role, n = roleBroken, uint64(len(s.roles))
	}
	s.roles[id] = role
	for next := id + 1; next <= id+n && next < uint64(len(s.roles)); next++ {
		page, err := s.pages.into(s.scratch, next, 1)
		s.scratch = page
		if s.roles[next] != roleFree || err == nil && pageHeadOf(page).names(next) {
			return !believed
		}
		s.roles[next] = role
		if !believed {
			s.claimed[next] = true
		}
		if err == nil && s.foreign(pageHeadOf(page)) {
			s.roles[next] = roleBroken
		}
	}
	return true
}

// foreign reports whether a page that something overflows into says that it is
// another: it was written over.
func (s *survey) foreign(h pageHead) bool {
	return h.id >= firstDataPage && h.id < s.pages.count && h.names(h.id)
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
		switch s.visit(bucket, e.child, e.key, end, depth+1) {
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
		if h.bucket == bucket && bytes.Compare(at, h.lo) >= 0 && (h.hi == nil || bytes.Compare(at, h.hi) < 0) {
			return h, true
		}
	}
	return hole{}, false
}

// holds reports whether the records that lie in a page are the tree's. Pages that
// were swapped or copied onto each other say themselves where they belong.
func (s *survey) holds(page uint64) bool {
	if page >= uint64(len(s.roles)) {
		return false
	}
	if s.roles[page] == roleLive {
		return true
	}
	home := s.home(page)
	if s.roles[page] == roleBroken {
		return home == page || s.roles[home] != roleFree
	}
	return home != page && s.roles[home] == roleBroken
}

// home returns the page that the content of another was written as.
func (s *survey) home(page uint64) uint64 {
	here, err := s.pages.bytes(page, 1)
	if err != nil {
		return page
	}
	says := pageHeadOf(here).id
	if says == page || says < firstDataPage || says >= s.pages.count || !pageHeadOf(here).names(says) {
		return page
	}
	there, err := s.pages.bytes(says, 1)
	if err != nil {
		return says
	}
	if swapped := pageHeadOf(there).names(page); swapped || !pageHeadOf(there).names(says) || bytes.Equal(here, there) {
		return says
	}
	return page // its number was damaged
}
