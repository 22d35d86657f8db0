package plctest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"edgeagent"
	"edgeagent/plc"
)

// Faulty is a peer whose faults can be played, and in which every value tells
// where it is.
type Faulty interface {
	// Kinds names the faults that this peer can have.
	Kinds() []string
	// Play lets a fault act on some of the next requests.
	Play(kind string)
	// Clear ends all faults. Answers that are on their way still come, within
	// four timeouts of the driver.
	Clear()
	// Value returns what is at an address; for a bit area, 0 or 1. Addresses of
	// different units, areas or offsets have as good as never the same.
	Value(unit uint8, area edgeagent.Area, address uint16) uint16
}

// FaultOptions say what is read while the faults are played.
type FaultOptions struct {
	Values   int           // registers to be read rightly in all; 0: 25,000
	Seed     uint64        // of the requests; 0: 1
	Units    uint8         // units 1 to this one are read in turn; 0: one
	Quantity uint16        // registers of every request; 0: any number, and bits
	Timeout  time.Duration // the driver's
	Pairs    bool          // now and then a fault has another before it
}

const (
	readsUnderFault = 10 // of a play
	readsAfterwards = 12 // in which an answer that is late would do its harm
	slowReads       = 2  // failed reads after the end of a fault that are no fault of the driver
	slowTimeouts    = 4 + 3
	stuckReads      = 100 // of these in a row nobody comes back
	slowPlays       = 3   // in a row: not the machine's fault any more
)

// Faults reads through a driver while every kind of fault is played in turn,
// and fails on the first value that is wrong without an error. After each fault
// the driver must deliver again within two failed reads, or three of its
// timeouts after the last late answer.
func Faults(t *testing.T, start func(t *testing.T) (plc.Driver, Faulty), o FaultOptions) FaultCount {
	t.Helper()
	d, p := start(t)
	n, err := Hunt(t.Context(), d, p, o)
	t.Log(n.String())
	if err != nil {
		t.Error(err)
	}
	return n
}

// Hunt is [Faults] without a test: it returns at the first wrong value, as a
// [WrongValueError], or where a driver does not come back.
func Hunt(ctx context.Context, d plc.Driver, p Faulty, o FaultOptions) (FaultCount, error) {
	h := &hunt{o: o, driver: d, peer: p, count: FaultCount{ByKind: map[string]*KindCount{}}}
	if o.Values == 0 {
		h.o.Values = 25000
	}
	if o.Seed == 0 {
		h.o.Seed = 1
	}
	h.o.Units = max(o.Units, 1)
	h.rand = rand.New(rand.NewPCG(h.o.Seed, h.o.Seed))
	begin := time.Now()
	err := h.run(ctx)
	h.count.Took = time.Since(begin)
	return h.count, err
}

// hunt is one run of the oracle.
type hunt struct {
	o      FaultOptions
	driver plc.Driver
	peer   Faulty
	rand   *rand.Rand
	count  FaultCount
	kind   *KindCount // that is played now
	unit   uint8

	playing string // in words
}

// run plays every kind once at least.
func (h *hunt) run(ctx context.Context) error {
	kinds := h.peer.Kinds()
	for round := 0; round == 0 || h.count.Values < h.o.Values; round++ {
		h.rand.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
		for _, kind := range kinds {
			if round > 0 && h.count.Values >= h.o.Values {
				return nil
			}
			if err := h.play(ctx, kind); err != nil {
				return fmt.Errorf("fault %s: %w", h.playing, err)
			}
		}
	}
	return nil
}

// play is one fault and the time after it. A recovery that was slow is looked
// at again: a busy machine is not slow thrice in a row, and one that stood still
// has not shown anything.
func (h *hunt) play(ctx context.Context, kind string) error {
	if h.kind = h.count.ByKind[kind]; h.kind == nil {
		h.kind = &KindCount{}
		h.count.ByKind[kind] = h.kind
	}
	for slowly, tries := 0, 0; slowly < slowPlays && tries < stillTries; tries++ {
		var slow bool
		var err error
		stood := Stood(func() { slow, err = h.playOnce(ctx, kind) })
		if err != nil || !slow {
			return err
		}
		if stood < still {
			slowly++
		}
	}
	return fmt.Errorf("not over within %d reads and %d timeouts of its end, %d times in a row", slowReads, slowTimeouts, slowPlays)
}

// playOnce reports whether the driver was slow to come back.
func (h *hunt) playOnce(ctx context.Context, kind string) (slow bool, err error) {
	h.kind.Plays++
	h.playing = kind
	if other, paired := h.other(kind); paired { // troubles seldom come alone
		h.playing = other + ", then " + kind
		h.peer.Play(other)
	}
	h.peer.Play(kind)
	for range readsUnderFault {
		if err := h.read(ctx); fatal(ctx, err) {
			return false, err
		}
	}
	h.peer.Clear()
	return h.recover(ctx)
}

// other picks a fault to be played before kind, now and then.
func (h *hunt) other(kind string) (string, bool) {
	kinds := h.peer.Kinds()
	other := kinds[h.rand.IntN(len(kinds))]
	return other, h.o.Pairs && other != kind && h.rand.IntN(3) == 0
}

// recover reads until the driver delivers, and on for a while.
func (h *hunt) recover(ctx context.Context) (slow bool, err error) {
	begin, failed := time.Now(), 0
	for ; ; failed++ {
		err := h.read(ctx)
		if err == nil {
			break
		}
		if fatal(ctx, err) {
			return false, err
		}
		if failed == stuckReads {
			return false, fmt.Errorf("no value in %d reads after its end: %w", stuckReads, err)
		}
		if errors.Is(err, plc.ErrUnreachable) { // nobody dials again and again without a pause
			time.Sleep(h.o.Timeout / 4)
		}
	}
	h.kind.Failed = max(h.kind.Failed, failed)
	for range readsAfterwards {
		if err := h.read(ctx); fatal(ctx, err) {
			return false, err
		}
	}
	return failed > slowReads && time.Since(begin) > slowTimeouts*h.o.Timeout, nil
}

// fatal tells a wrong value and the end of the test from a failed read.
func fatal(ctx context.Context, err error) bool {
	_, wrong := errors.AsType[*WrongValueError](err)
	return wrong || ctx.Err() != nil && err != nil
}

// read sends one request and holds what comes against the oracle.
func (h *hunt) read(ctx context.Context) error {
	h.unit = h.unit%h.o.Units + 1
	r := h.request()
	h.count.Reads++
	payload, err := h.driver.Read(ctx, h.unit, r)
	if err != nil {
		h.book(err)
		return err
	}
	for i := range r.Quantity {
		got, want := at(r, payload, int(i)), int(h.peer.Value(h.unit, r.Area, r.Offset+i))
		if got != want {
			h.count.Wrong++
			h.kind.Wrong++
			return &WrongValueError{Unit: h.unit, Request: r, Address: r.Offset + i, Got: got, Want: want}
		}
	}
	if r.Area.Bits() { // too likely to be right by chance
		h.count.Bits += int(r.Quantity)
		return nil
	}
	h.count.Values += int(r.Quantity)
	h.kind.Values += int(r.Quantity)
	return h.wide(r, payload)
}

func (h *hunt) book(err error) {
	h.count.Errors++
	h.kind.Errors++
	if _, refused := errors.AsType[*plc.Exception](err); refused {
		h.count.Exceptions++
	}
	if errors.Is(err, plc.ErrQuarantined) {
		h.count.Quarantined++
		h.kind.Quarantined++
	}
}

// wide decodes two registers of an answer as one value: what a page shows.
func (h *hunt) wide(r plc.Request, payload []byte) error {
	if r.Quantity < 2 {
		return nil
	}
	i := uint16(h.rand.IntN(int(r.Quantity) - 1))
	spec := plc.TagSpec{Tag: edgeagent.Tag{Name: "wide", Type: edgeagent.TypeUint32}, Addr: edgeagent.Address{Area: r.Area, Offset: r.Offset + i, Bit: -1}}
	high, low := h.peer.Value(h.unit, r.Area, r.Offset+i), h.peer.Value(h.unit, r.Area, r.Offset+i+1)
	s, want := plc.Decode(&spec, payload[2*i:2*i+4]), uint64(high)<<16|uint64(low)
	if s.Quality != edgeagent.QualityGood || !s.Value.Equal(edgeagent.Uint(want)) {
		return &WrongValueError{Unit: h.unit, Request: r, Address: r.Offset + i, Got: -1, Want: int(want)}
	}
	return nil
}

// request returns a request at a random place. Those of bits have, now and
// then, an echo that is the very image of an answer: three bytes of data from
// an address that begins with 3.
func (h *hunt) request() plc.Request {
	r := plc.Request{Area: []edgeagent.Area{edgeagent.AreaHolding, edgeagent.AreaInput}[h.rand.IntN(2)], Quantity: h.o.Quantity}
	if r.Quantity == 0 {
		r.Quantity = []uint16{1, 2, 2, 3, 10, 60, 124, 125, uint16(1 + h.rand.IntN(125))}[h.rand.IntN(9)]
		switch h.rand.IntN(12) {
		case 0:
			return plc.Request{Area: edgeagent.AreaCoil, Offset: 0x0300 + uint16(h.rand.IntN(256)), Quantity: uint16(17 + h.rand.IntN(8))}
		case 1:
			r.Area, r.Quantity = edgeagent.AreaDiscrete, uint16(1+h.rand.IntN(2000))
		}
	}
	r.Offset = uint16(h.rand.IntN(1<<16 - int(r.Quantity) + 1))
	return r
}
