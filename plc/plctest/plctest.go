// Package plctest is what every driver of PLCs has to hold, whatever protocol
// it speaks: it tells values as the device sent them, tells its failures
// apart, never takes one answer for another, and comes back.
//
// [Run] is the suite. [Faults] is the oracle beside it: every value tells where
// it is from, and is read while all that can go wrong with a peer goes wrong.
// [RunSubscriber] is both for what is not asked, but tells by itself.
package plctest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
	"time"

	"edgeagent"
	"edgeagent/plc"
)

// Behaviour is how a peer behaves from now on.
type Behaviour string

// The behaviours. A protocol that cannot have one says so in Peer.Behave.
const (
	Healthy   Behaviour = "healthy"
	Refusing  Behaviour = "refusing"   // answers that the address is illegal: exception 2
	Busy      Behaviour = "busy"       // answers that it is busy: exception 6
	Silent    Behaviour = "silent"     // takes requests and connections, answers nothing
	Lying     Behaviour = "lying"      // answers with what was not asked for
	HangingUp Behaviour = "hanging up" // ends the connection instead of answering
	Gone      Behaviour = "gone"       // nobody is there to connect to
)

// Peer is the other end, a real one: a simulated or an independent device
// behind a socket or a serial line.
type Peer interface {
	// Behave makes the peer behave so until the next call. It returns false
	// for what the protocol does not know; that part of the suite is skipped.
	Behave(Behaviour) bool
	// Holds returns what is at an address; for a bit area, 0 or 1. It must
	// differ between neighbours as far as it can.
	Holds(area edgeagent.Area, address uint16) uint16
}

// Start returns a driver and its peer, both fresh, healthy and cleaned up with
// the test. The driver should give up a request after some hundred
// milliseconds; one that must confirm its line after a failure says so with
// plc.ErrQuarantined, twice at most.
type Start func(t *testing.T) (driver plc.Driver, peer Peer)

// unit is the one that is asked; peers answer to it at least.
const unit = 1

// Run runs the whole suite.
func Run(t *testing.T, start Start) {
	t.Run("values are the peer's", func(t *testing.T) { values(t, start) })
	t.Run("an exception is an answer", func(t *testing.T) { exceptions(t, start) })
	t.Run("a failure is told and got over", func(t *testing.T) { failures(t, start) })
	t.Run("a peer that is gone is unreachable, until it is back", func(t *testing.T) { gone(t, start) })
	t.Run("its context ends a read", func(t *testing.T) { cancelled(t, start) })
	t.Run("closing is no end", func(t *testing.T) { closed(t, start) })
}

// requests are of every area, odd sizes and both ends of the address space.
var requests = []plc.Request{
	{Area: edgeagent.AreaHolding, Offset: 0, Quantity: 1},
	{Area: edgeagent.AreaHolding, Offset: 100, Quantity: 125},
	{Area: edgeagent.AreaHolding, Offset: 65535, Quantity: 1},
	{Area: edgeagent.AreaInput, Offset: 7, Quantity: 3},
	{Area: edgeagent.AreaCoil, Offset: 3, Quantity: 1},
	{Area: edgeagent.AreaCoil, Offset: 5, Quantity: 17},
	{Area: edgeagent.AreaDiscrete, Offset: 0, Quantity: 2000},
}

func values(t *testing.T, start Start) {
	d, p := start(t)
	for range 2 {
		for _, r := range requests {
			wantValues(t, d, p, r)
		}
	}
}

func exceptions(t *testing.T, start Start) {
	for behaviour, code := range map[Behaviour]byte{Refusing: 2, Busy: 6} {
		t.Run(string(behaviour), func(t *testing.T) {
			d, p := start(t)
			behave(t, p, behaviour)
			r := requests[1]
			_, err := read(t, d, r)
			e, ok := errors.AsType[*plc.Exception](err)
			if !ok || e.Code != code || e.Function != r.Area.Function() {
				t.Errorf("%v: %v, want exception %d of function %d", r, err, code, r.Area.Function())
			}
			p.Behave(Healthy)
			wantValues(t, d, p, r)
		})
	}
}

func failures(t *testing.T, start Start) {
	for behaviour, want := range map[Behaviour]error{Silent: plc.ErrSilent, Lying: plc.ErrSilent, HangingUp: nil} {
		t.Run(string(behaviour), func(t *testing.T) {
			d, p := start(t)
			wantValues(t, d, p, requests[0])
			behave(t, p, behaviour)
			for range 2 {
				wantFailure(t, d, requests[1], want)
			}
			p.Behave(Healthy)
			wantBack(t, d, p, requests[0])
			for _, r := range requests { // an answer that came late must fit none of these
				wantValues(t, d, p, r)
			}
		})
	}
}

func gone(t *testing.T, start Start) {
	d, p := start(t)
	wantValues(t, d, p, requests[0])
	behave(t, p, Gone)
	wantFailure(t, d, requests[0], nil) // a serial line finds out by being hung up
	for range 2 {
		wantFailure(t, d, requests[0], plc.ErrUnreachable)
	}
	p.Behave(Healthy)
	wantBack(t, d, p, requests[1])
}

func cancelled(t *testing.T, start Start) {
	d, p := start(t)
	behave(t, p, Silent)
	var ctx context.Context
	err := Proven(func() error { // the driver's own timeout ends it, too
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(10*time.Millisecond, cancel)
		_, err := d.Read(ctx, unit, requests[0])
		if errors.Is(err, context.Canceled) {
			return nil
		}
		return fmt.Errorf("read = %w, want context canceled", err)
	})
	if err != nil {
		t.Error(err)
	}
	if _, err := d.Read(ctx, unit, requests[0]); err == nil {
		t.Error("read under an ended context succeeded")
	}
	p.Behave(Healthy)
	wantBack(t, d, p, requests[1])
}

func closed(t *testing.T, start Start) {
	d, p := start(t)
	for range 2 {
		for range 2 {
			if err := d.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		}
		wantValues(t, d, p, requests[0])
	}
}

func behave(t *testing.T, p Peer, b Behaviour) {
	t.Helper()
	if !p.Behave(b) {
		t.Skipf("the protocol knows no peer that is %s", b)
	}
}

func wantFailure(t *testing.T, d plc.Driver, r plc.Request, want error) {
	t.Helper()
	payload, err := d.Read(t.Context(), unit, r)
	_, answered := errors.AsType[*plc.Exception](err)
	quarantined := errors.Is(want, plc.ErrSilent) && errors.Is(err, plc.ErrQuarantined)
	if err == nil || answered || want != nil && !errors.Is(err, want) && !quarantined {
		t.Errorf("%v: %d bytes, %v; want an error, %v", r, len(payload), err, want)
	}
}

// wantBack wants the values, once a line that must be confirmed first is: that
// may take two reads.
func wantBack(t *testing.T, d plc.Driver, p Peer, r plc.Request) {
	t.Helper()
	for range 2 {
		_, err := read(t, d, r)
		if err == nil {
			break
		}
		if !errors.Is(err, plc.ErrQuarantined) {
			t.Errorf("%v: %v, want values or a line to be confirmed", r, err)
		}
	}
	wantValues(t, d, p, r)
}

func wantValues(t *testing.T, d plc.Driver, p Peer, r plc.Request) {
	t.Helper()
	payload, err := read(t, d, r)
	if err != nil {
		t.Errorf("%v: %v", r, err)
		return
	}
	for i := range r.Quantity {
		address := r.Offset + i
		if got, want := at(r, payload, int(i)), int(p.Holds(r.Area, address)); got != want {
			t.Errorf("%v: %v %d is %d, want %d", r, r.Area, address, got, want)
			return
		}
	}
}

// read reads of a peer that answers. If the machine stood still over it, the
// driver may first have to get over a timeout that nobody could keep.
func read(t *testing.T, d plc.Driver, r plc.Request) (payload []byte, err error) {
	t.Helper()
	stood := false
	for range stillTries {
		stood = Stood(func() { payload, err = d.Read(t.Context(), unit, r) }) > still || stood
		_, answered := errors.AsType[*plc.Exception](err)
		if err == nil || answered || !stood {
			break
		}
	}
	return payload, err
}

// at returns the i-th value of a payload, -1 when it is not there.
func at(r plc.Request, payload []byte, i int) int {
	if r.Area.Bits() {
		if i/8 >= len(payload) {
			return -1
		}
		return int(payload[i/8] >> (i % 8) & 1)
	}
	if 2*i+2 > len(payload) {
		return -1
	}
	return int(binary.BigEndian.Uint16(payload[2*i:]))
}
