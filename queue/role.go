package queue

import "bytes"

// What a page is to the tree that is surveyed.
type pageRole byte

const (
	roleFree   pageRole = iota // no part of the tree leads to it
	roleLive                   // a leaf, a branch, or what a leaf overflows into
	roleBroken                 // the tree leads to it, but it is not what it should be
)

// claim marks a page and what it overflows into. It reports whether nothing
// there says that it belongs to somebody else. A head that cannot be believed
// claims what follows until a page has a head of its own; in those lies, at most,
// what the page has keys of.
func (s *survey) claim(id uint64, h pageHead, believed bool, keys hole) bool {
	if id >= uint64(len(s.roles)) {
		return false
	}
	var tail *hole
	role, n := roleLive, uint64(h.overflow)
	if !believed {
		role, n = roleBroken, uint64(len(s.roles))
		tail = &hole{bucket: keys.bucket, lo: bytes.Clone(keys.lo), hi: bytes.Clone(keys.hi)}
	}
	s.roles[id] = role
	for next := id + 1; next <= id+n && next < uint64(len(s.roles)); next++ {
		page, err := s.pages.into(s.scratch, next, 1)
		s.scratch = page
		astray := believed && s.roles[next] == roleBroken // a pointer that is damaged led there
		if s.roles[next] != roleFree && !astray || err == nil && pageHeadOf(page).names(next) {
			return !believed
		}
		s.roles[next] = role
		delete(s.claimed, next)
		if !believed {
			s.claimed[next], s.tails[next] = true, tail
		}
		if err == nil && s.foreign(pageHeadOf(page)) {
			s.roles[next] = roleBroken
		}
	}
	return true
}

// release takes a page to which the tree leads, and what follows it, from the one
// before, which was only thought to go on there.
func (s *survey) release(id uint64) {
	for ; s.claimed[id]; id++ {
		s.roles[id] = roleFree
		delete(s.claimed, id)
		delete(s.tails, id)
	}
}

// foreign reports whether a page that something overflows into says that it is
// another: it was written over.
func (s *survey) foreign(h pageHead) bool {
	return h.id >= firstDataPage && h.id < s.pages.count && h.names(h.id)
}

// tail notes what a leaf that overflows has keys of, at most from lo to before hi. The
// pages behind its first have no head that would say whether they are its own.
func (s *survey) tail(bucket byte, id uint64, h pageHead, rows []element, lo, hi []byte) {
	if h.overflow == 0 || len(rows) == 0 {
		return
	}
	keys := &hole{bucket: bucket, lo: bytes.Clone(lo), hi: bytes.Clone(hi)}
	if first := rows[0]; s.belongs(bucket, first) { // a key may be damaged, too
		keys.lo = bytes.Clone(first.key)
	}
	if last := rows[len(rows)-1]; s.belongs(bucket, last) {
		keys.hi = append(bytes.Clone(last.key), 0)
	}
	for next := id + 1; next <= id+uint64(h.overflow); next++ {
		s.tails[next] = keys
	}
}

// belongs reports whether the record of an element is that of its key.
func (s *survey) belongs(bucket byte, e element) bool {
	kind, key := s.whose(bucket, e.key)
	_, _, err := decodeRecord(kind, key, e.value)
	return err == nil
}

// strange reports whether a record lies where a page goes on that cannot have it.
func (s *survey) strange(page uint64, kind byte, key string) bool {
	t, is := s.tails[page]
	return is && !t.has(s.placeOf(kind, key))
}

// has reports whether a place is one of the hole's.
func (h *hole) has(bucket byte, at []byte) bool {
	return h.bucket == bucket && bytes.Compare(at, h.lo) >= 0 && (h.hi == nil || bytes.Compare(at, h.hi) < 0)
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

// home returns the page that the content of another was written as. It is what the
// content says where the two were swapped or are one, or where the tree misses
// what it says; otherwise its number is what was damaged.
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
	missed := s.roles[says] != roleFree && (err != nil || !pageHeadOf(there).names(says))
	if missed || err == nil && (pageHeadOf(there).names(page) || bytes.Equal(here, there)) {
		return says
	}
	return page
}
