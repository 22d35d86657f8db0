package plc

import (
	"cmp"
	"slices"
	"time"

	"edgeagent"
)

// The limits of the protocol: what fits into one PDU.
const (
	maxRegisters     = 125
	maxBits          = 2000
	bitsPerRegister  = 16
	addressesPerArea = 1 << 16
)

// Plan returns the fewest requests that read every tag once, by area and scan
// class. No request splits a tag, exceeds maxRegisters or maxBits (0: the
// protocol's limit), reads over more than maxGap registers in vain (16 bits of
// a bit area count as one) or touches a never range. Tags that cannot be read
// within these limits are in no request.
func Plan(tags []TagSpec, maxRegisters, maxBits, maxGap int, never []AddressRange) []Request {
	l := limits{registers: maxRegisters, bits: maxBits, gap: maxGap, never: never}
	return l.plan(tags, nil)
}

// limits is what a plan has to keep to: configured, and learned from answers.
type limits struct {
	registers, bits, gap int
	never                []AddressRange    // neither read nor read over
	holes                []AddressRange    // not read over: the device refused them
	cuts                 map[cut]time.Time // no request has tags on both sides; since when
}

// cut is a boundary that a device refused to be read across although it
// answers on both sides: a hole between two tags, or a limit it did not tell.
type cut struct {
	area   edgeagent.Area
	offset uint16
}

type planGroup struct {
	area edgeagent.Area
	scan time.Duration
}

// plan leaves out the tags for which skip is true; nil skips none.
func (l limits) plan(tags []TagSpec, skip func(int) bool) []Request {
	var order []planGroup
	groups := make(map[planGroup][]int)
	for i := range tags {
		if skip != nil && skip(i) || !l.readable(&tags[i]) {
			continue
		}
		g := planGroup{tags[i].Addr.Area, tags[i].Scan}
		if groups[g] == nil {
			order = append(order, g)
		}
		groups[g] = append(groups[g], i)
	}
	var out []Request
	for _, g := range order {
		out = append(out, l.merge(tags, groups[g])...)
	}
	return out
}

// readable reports whether a request of its own could read the tag.
func (l limits) readable(t *TagSpec) bool {
	if t.Node != "" || t.span() < 1 || t.span() > l.most(t.Addr.Area) || t.end() > addressesPerArea {
		return false
	}
	return !slices.ContainsFunc(l.never, func(n AddressRange) bool {
		return n.overlaps(t.Addr.Area, int(t.Addr.Offset), t.end())
	})
}

func (l limits) most(area edgeagent.Area) int {
	most, limit := l.registers, maxRegisters
	if area.Bits() {
		most, limit = l.bits, maxBits
	}
	if most < 1 || most > limit {
		return limit
	}
	return most
}

// merge sorts tags of one area and class and takes each into the request of
// the one before if it may. Taken in the order of their offsets this greedy way
// is the optimum: a tag that does not fit closes nothing that a later one could
// still have used.
func (l limits) merge(tags []TagSpec, members []int) []Request {
	slices.SortStableFunc(members, func(a, b int) int { return byAddress(&tags[a], &tags[b]) })
	var out []Request
	for _, i := range members {
		t := &tags[i]
		if n := len(out); n > 0 && l.fits(&out[n-1], t) {
			r := &out[n-1]
			r.Quantity = uint16(max(r.end(), t.end()) - int(r.Offset))
			r.Tags = append(r.Tags, i)
			continue
		}
		out = append(out, Request{
			Area: t.Addr.Area, Offset: t.Addr.Offset, Quantity: uint16(t.span()), Scan: t.Scan, Tags: []int{i},
		})
	}
	return out
}

func byAddress(a, b *TagSpec) int {
	return cmp.Or(cmp.Compare(a.Addr.Offset, b.Addr.Offset), cmp.Compare(a.span(), b.span()))
}

// fits reports whether r may be extended to t, which starts not before r.
func (l limits) fits(r *Request, t *TagSpec) bool {
	from, start := r.end(), int(t.Addr.Offset)
	if max(from, t.end())-int(r.Offset) > l.most(r.Area) {
		return false
	}
	gap := max(l.gap, 0)
	if r.Area.Bits() {
		gap *= bitsPerRegister
	}
	if start-from > gap || l.cutWithin(r, start) {
		return false
	}
	crossed := func(n AddressRange) bool { return n.overlaps(r.Area, from, start) }
	return start <= from || !slices.ContainsFunc(l.never, crossed) && !slices.ContainsFunc(l.holes, crossed)
}

func (l limits) cutWithin(r *Request, start int) bool {
	for c := range l.cuts {
		if c.area == r.Area && c.offset > r.Offset && int(c.offset) <= start {
			return true
		}
	}
	return false
}
