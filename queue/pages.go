package queue

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"slices"
)

// The layout of bbolt's pages, as much of it as has to be read without bbolt.
// bbolt maps the file and trusts every page: on a damaged one it panics, faults
// or spins, some of it in goroutines of its own that no recover reaches. What
// is here reads with ReadAt, trusts nothing and holds one page at a time.
const (
	pageHeadSize  = 16
	pageElemSize  = 16
	bucketSize    = 16 // of a bucket in its parent: root page, sequence
	metaSum       = 56 // bytes of a meta page that its checksum covers
	metaSize      = 64
	metaMagic     = 0xED0CDAED
	metaVersion   = 2
	noFreelist    = ^uint64(0)
	flagBranch    = 0x01
	flagLeaf      = 0x02
	flagFreelist  = 0x10
	flagBucket    = 0x01 // of a leaf's element
	firstDataPage = 2
	maxDepth      = 64
)

// pageFile is a data file as pages.
type pageFile struct {
	r     io.ReaderAt
	size  int64
	page  int64  // bytes of one
	count uint64 // of whole pages
}

// pageSizes are those of files that were ever made, the newest first.
var pageSizes = []int64{pageSize, 4 << 10}

// pagesOf reads a file as pages, of the size that it says. Where both meta pages
// are gone it is the one at which most pages are what they say they are.
func pagesOf(r io.ReaderAt, size int64) pageFile {
	var best pageFile
	most := -1
	for _, n := range pageSizes {
		p := pageFile{r: r, size: size, page: n, count: uint64(size / n)}
		if good, _ := p.metas(); len(good) > 0 {
			return p
		}
		if n := p.atHome(); n > most {
			best, most = p, n
		}
	}
	return best
}

// atHome counts pages that lie where they say, at the beginning of a file.
func (p pageFile) atHome() (n int) {
	for id := uint64(firstDataPage); id < min(p.count, 1<<10); id++ {
		if page, err := p.bytes(id, 1); err == nil && pageHeadOf(page).id == id {
			n++
		}
	}
	return n
}

// pageAt returns the page in which a place of the file lies.
func (p pageFile) pageAt(at int64) uint64 { return uint64(at / p.page) }

func openPages(path string) (pageFile, *os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return pageFile{}, nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return pageFile{}, nil, errors.Join(err, f.Close())
	}
	return pagesOf(f, info.Size()), f, nil
}

// bytes returns n whole pages from id on. A card that cannot read them is an
// error like any other: nothing is mapped, so nothing faults.
func (p pageFile) bytes(id uint64, n uint64) ([]byte, error) { return p.into(nil, id, n) }

// into returns them in buf, or in another when that is too small.
func (p pageFile) into(buf []byte, id uint64, n uint64) ([]byte, error) {
	if id >= p.count || n > p.count-id {
		return nil, fmt.Errorf("page %d and %d more: the file ends at %d: %w", id, n-1, p.count, errDamaged)
	}
	if size := int(n) * int(p.page); cap(buf) < size {
		buf = make([]byte, size)
	} else {
		buf = buf[:size]
	}
	if _, err := p.r.ReadAt(buf, int64(id)*p.page); err != nil {
		return nil, fmt.Errorf("read page %d: %w: %w", id, errDamaged, err)
	}
	return buf, nil
}

// pageHead begins every page.
type pageHead struct {
	id       uint64
	flags    uint16
	count    uint16
	overflow uint32
}

func pageHeadOf(page []byte) pageHead {
	e := binary.NativeEndian
	return pageHead{e.Uint64(page), e.Uint16(page[8:]), e.Uint16(page[10:]), e.Uint32(page[12:])}
}

// names reports whether the page says of itself that it is page id of a tree.
func (h pageHead) names(id uint64) bool {
	return h.id == id && (h.flags == flagBranch || h.flags == flagLeaf)
}

// tree reads a page of a tree, with what it overflows into.
func (p pageFile) tree(id uint64) (pageHead, []byte, error) { return p.treeInto(nil, id) }

// treeInto does so as into does. How many pages follow, the head that it returns has
// from the page's table, where that is right: the number in the bytes may be damaged.
func (p pageFile) treeInto(buf []byte, id uint64) (pageHead, []byte, error) {
	buf, err := p.into(buf, id, 1)
	if err != nil {
		return pageHead{}, nil, err
	}
	h := pageHeadOf(buf)
	if !h.names(id) {
		return h, buf, fmt.Errorf("page %d says it is page %d, of type %#x: %w", id, h.id, h.flags, errDamaged)
	}
	if n, whole := p.overflowOf(id, buf); whole {
		h.overflow = n
	}
	if h.overflow == 0 {
		return h, buf, nil
	}
	whole, err := p.into(buf, id, 1+uint64(h.overflow))
	if err != nil {
		return h, buf, err
	}
	return h, whole, nil
}

// overflowOf returns how many pages follow one by its table. Where the head says
// another number, the table must prove its own: what it says of the last element is
// held by nothing else. A record there must hold; what is no record never overflows.
func (p pageFile) overflowOf(id uint64, page []byte) (n uint32, right bool) {
	size, whole := sizeOf(page)
	if !whole || size > uint64(p.size) {
		return 0, false
	}
	h := pageHeadOf(page)
	if n = uint32((size - 1) / uint64(p.page)); n == h.overflow {
		return n, true
	}
	last := slotAt(page, pageHeadSize+(int(h.count)-1)*pageElemSize, h.flags == flagBranch)
	if h.flags == flagBranch || last.flags&flagBucket != 0 {
		return n, n == 0
	}
	long, err := p.bytes(id, 1+uint64(n))
	if err != nil {
		return 0, false
	}
	return n, holdsRecord(long[last.from+last.keys : size])
}

// holdsRecord reports whether a checksum is that of its record, whosever it is.
func holdsRecord(rec []byte) bool {
	return len(rec) >= recordHead && recordSum(rec) == binary.BigEndian.Uint32(rec[8:])
}

// sizeOf returns how many bytes a page holds, by its table alone: what it holds
// lies behind the table without a gap. One that counts nothing says nothing.
func sizeOf(page []byte) (size uint64, whole bool) {
	h := pageHeadOf(page)
	table := pageHeadSize + int(h.count)*pageElemSize
	if table > len(page) {
		return 0, false
	}
	size = uint64(table)
	for i := range int(h.count) {
		r := slotAt(page, pageHeadSize+i*pageElemSize, h.flags == flagBranch)
		if r.from != size || r.keys == 0 {
			return 0, false
		}
		size += r.keys + r.values
	}
	return size, h.count > 0
}

// An element is one pair of a leaf, or a child of a branch.
type element struct {
	flags uint32 // of a leaf's
	child uint64 // of a branch's
	key   []byte
	value []byte
}

// elements reads a page of a tree, or a bucket that lies within one. Keys must
// rise strictly, and what a page holds lies behind its table without a gap: a
// table that counts too few elements shows in nothing else.
func elements(page []byte) ([]element, error) { return appendElements(nil, page) }

// appendElements does so into out, which is empty.
func appendElements(out []element, page []byte) ([]element, error) {
	if len(page) < pageHeadSize {
		return nil, fmt.Errorf("page of %d bytes: %w", len(page), errDamaged)
	}
	h := pageHeadOf(page)
	n := int(h.count)
	if pageHeadSize+n*pageElemSize > len(page) {
		return nil, fmt.Errorf("page %d counts %d elements: %w", h.id, n, errDamaged)
	}
	out = slices.Grow(out, n)
	next := uint64(pageHeadSize + n*pageElemSize)
	for i := range n {
		r := slotAt(page, pageHeadSize+i*pageElemSize, h.flags == flagBranch)
		e, err := r.element(page, next)
		if err != nil {
			return nil, fmt.Errorf("page %d, element %d: %w", h.id, i, err)
		}
		if i > 0 && bytes.Compare(out[i-1].key, e.key) >= 0 {
			return nil, fmt.Errorf("page %d: keys do not rise at element %d: %w", h.id, i, errDamaged)
		}
		next += r.keys + r.values
		out = append(out, e)
	}
	return out, nil
}

// A slot of a page's table says where an element lies: in bytes of the page, from
// its key to the end of its value.
type slot struct {
	flags              uint32
	child              uint64
	from, keys, values uint64
}

func slotAt(page []byte, at int, branch bool) (s slot) {
	o := binary.NativeEndian
	pos := o.Uint32(page[at+4:])
	if branch {
		pos, s.keys, s.child = o.Uint32(page[at:]), uint64(o.Uint32(page[at+4:])), o.Uint64(page[at+8:])
	} else {
		s.flags, s.keys, s.values = o.Uint32(page[at:]), uint64(o.Uint32(page[at+8:])), uint64(o.Uint32(page[at+12:]))
	}
	s.from = uint64(at) + uint64(pos)
	return s
}

// element returns what lies in the slot, which must begin at next.
func (s slot) element(page []byte, next uint64) (element, error) {
	if s.from != next {
		return element{}, fmt.Errorf("lies at %d instead of %d: %w", s.from, next, errDamaged)
	}
	value := s.from + s.keys
	if value+s.values > uint64(len(page)) || s.keys == 0 {
		return element{}, fmt.Errorf("reaches out of its page: %w", errDamaged)
	}
	return element{s.flags, s.child, page[s.from:value], page[value : value+s.values]}, nil
}

// metaPage is what a meta page says, when its checksum holds.
type metaPage struct {
	root, freelist, limit, txid uint64
}

func decodeMeta(page []byte) (metaPage, error) {
	o := binary.NativeEndian
	m := page[pageHeadSize:]
	sum := fnv.New64a()
	_, _ = sum.Write(m[:metaSum]) // a hash's Write never fails
	switch {
	case o.Uint32(m) != metaMagic || o.Uint32(m[4:]) != metaVersion:
		return metaPage{}, fmt.Errorf("no meta page: %w", errDamaged)
	case o.Uint64(m[metaSum:]) != sum.Sum64():
		return metaPage{}, fmt.Errorf("checksum of the meta page differs: %w", errDamaged)
	case int(o.Uint32(m[8:])) != len(page):
		return metaPage{}, fmt.Errorf("pages of %d bytes: %w", o.Uint32(m[8:]), errDamaged)
	}
	return metaPage{root: o.Uint64(m[16:]), freelist: o.Uint64(m[32:]), limit: o.Uint64(m[40:]), txid: o.Uint64(m[48:])}, nil
}

// metas returns the meta pages that hold, the newest first, and what is wrong
// with the others.
func (p pageFile) metas() (good []metaPage, damage error) {
	for id := range uint64(firstDataPage) {
		page, err := p.bytes(id, 1)
		if err == nil {
			var m metaPage
			if m, err = decodeMeta(page); err == nil {
				good = append(good, m)
				continue
			}
		}
		damage = errors.Join(damage, fmt.Errorf("meta page %d: %w", id, err))
	}
	if len(good) == 2 && good[0].txid < good[1].txid {
		good[0], good[1] = good[1], good[0]
	}
	return good, damage
}

// unfinished reports whether the meta page beside the one that holds was torn
// while it was written: it still has the number of the commit before, so that
// the new one never was on the disk whole, and nobody was told of it. A page that
// was whole and had that number damaged gives its checksum back with the right one.
func (p pageFile) unfinished(good metaPage) bool {
	for id := range uint64(firstDataPage) {
		page, err := p.bytes(id, 1)
		if err != nil {
			return false
		}
		if _, err := decodeMeta(page); err == nil {
			continue
		}
		m := page[pageHeadSize:]
		o := binary.NativeEndian
		if o.Uint32(m) != metaMagic || o.Uint64(m[48:])+1 != good.txid {
			return false
		}
		o.PutUint64(m[48:], good.txid+1)
		sum := fnv.New64a()
		_, _ = sum.Write(m[:metaSum]) // a hash's Write never fails
		return o.Uint64(m[metaSum:]) != sum.Sum64()
	}
	return false
}

// A treeBucket is a bucket as it lies in its parent.
type treeBucket struct {
	root     uint64
	inline   []byte // the page of a small one, which has no root
	sequence uint64
}

func decodeBucket(e element) (treeBucket, error) {
	if e.flags != flagBucket || len(e.value) < bucketSize {
		return treeBucket{}, fmt.Errorf("%q is no bucket: %w", e.key, errDamaged)
	}
	b := treeBucket{root: binary.NativeEndian.Uint64(e.value), sequence: binary.NativeEndian.Uint64(e.value[8:])}
	if b.root == 0 {
		b.inline = e.value[bucketSize:]
	}
	return b, nil
}

// freeIDs reads a stored list of free pages. A count of 65535 says that the
// count is the first entry.
func (p pageFile) freeIDs(id uint64) ([]uint64, error) {
	buf, err := p.bytes(id, 1)
	if err != nil {
		return nil, err
	}
	h := pageHeadOf(buf)
	if h.id != id || h.flags != flagFreelist {
		return nil, fmt.Errorf("page %d is no list of free pages: %w", id, errDamaged)
	}
	if buf, err = p.bytes(id, 1+uint64(h.overflow)); err != nil {
		return nil, err
	}
	list, n := buf[pageHeadSize:], uint64(h.count)
	if n == 0xffff {
		n, list = binary.NativeEndian.Uint64(list), list[8:]
	}
	if n > uint64(len(list)/8) {
		return nil, fmt.Errorf("page %d lists %d free pages: %w", id, n, errDamaged)
	}
	ids := make([]uint64, n)
	for i := range ids {
		ids[i] = binary.NativeEndian.Uint64(list[8*i:])
	}
	return ids, nil
}
