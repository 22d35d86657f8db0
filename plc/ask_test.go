package plc

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
)

func holding(from, n int) Request {
	return Request{Area: edgeagent.AreaHolding, Offset: uint16(from), Quantity: uint16(n)}
}

func TestAskSendsOneRequestBetweenTheScans(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeDriver{took: 300 * time.Millisecond}
		c := NewConnection(f, []DeviceSpec{filler()}, Options{})
		got, err := c.Ask(t.Context(), "filler", 9, holding(40, 2))
		if err != nil || len(got) != 4 {
			t.Errorf("ask without Run = %v, %v; want two registers", got, err)
		}
		if calls := f.takeCalls(); len(calls) != 1 || calls[0].unit != 9 || calls[0].r.Offset != 40 {
			t.Errorf("sent %+v, want the one request to unit 9", calls)
		}
		r := run(t, f, nil, filler())
		r.until(100 * time.Millisecond) // a scan is on its way
		began := time.Now()
		if _, err := r.conn.(*Connection).Ask(t.Context(), "filler", 1, holding(0, 125)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took != 500*time.Millisecond {
			t.Errorf("took %v, want the rest of the scan and its own 300 ms", took)
		}
		f.set(refusing(2, 0))
		_, err = r.conn.(*Connection).Ask(t.Context(), "filler", 1, holding(0, 1))
		if e, ok := errors.AsType[*Exception](err); !ok || e.Code != 2 {
			t.Errorf("ask = %v, want the exception", err)
		}
		f.set(dead)
		if _, err := r.conn.(*Connection).Ask(t.Context(), "filler", 7, holding(0, 1)); !errors.Is(err, ErrSilent) {
			t.Errorf("ask = %v, want what the driver says", err)
		}
		if s := r.status("filler"); s.State != edgeagent.DevicePolling || s.Attempt != 0 {
			t.Errorf("status = %+v: a question changes no state", s)
		}
	})
}

func TestAskLeavesAloneWhatMustBeLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		capper := filler().named("capper", 2)
		capper.NeverRead = []AddressRange{{Area: edgeagent.AreaHolding, From: 200, To: 219}}
		packer, resting := filler().named("packer", 3), filler().named("resting", 4)
		f := &fakeDriver{answer: func(unit uint8, _ Request) error {
			if unit == 3 {
				return errDead
			}
			return nil
		}}
		r := run(t, f, nil, filler(), capper, packer, resting)
		if err := r.conn.Maintain("resting", "ann", "", 24*time.Hour); err != nil {
			t.Fatal(err)
		}
		r.until(time.Hour + 500*time.Millisecond)
		f.takeCalls()
		conn := r.conn.(*Connection)
		for name, tc := range map[string]struct {
			device string
			unit   uint8
			r      Request
			want   error
		}{
			"never read":                   {"capper", 2, holding(219, 1), edgeagent.ErrConflict},
			"never read, over its edge":    {"capper", 2, holding(150, 60), edgeagent.ErrConflict},
			"never read, by another name":  {"filler", 2, holding(210, 1), edgeagent.ErrConflict},
			"stopped":                      {"packer", 3, holding(0, 1), edgeagent.ErrConflict},
			"stopped, by another name":     {"filler", 3, holding(0, 1), edgeagent.ErrConflict},
			"on behalf of a stopped one":   {"packer", 9, holding(0, 1), edgeagent.ErrConflict},
			"in maintenance":               {"resting", 4, holding(0, 1), edgeagent.ErrConflict},
			"in maintenance, other's name": {"filler", 4, holding(0, 1), edgeagent.ErrConflict},
			"nobody":                       {"nobody", 1, holding(0, 1), edgeagent.ErrNotFound},
		} {
			if _, err := conn.Ask(t.Context(), tc.device, tc.unit, tc.r); !errors.Is(err, tc.want) {
				t.Errorf("%s: %v, want %v", name, err, tc.want)
			}
		}
		for name, q := range map[string]Request{
			"nothing": holding(0, 0), "126 registers": holding(0, 126), "over the end": holding(65535, 2),
			"no area": {Offset: 0, Quantity: 1}, "2001 bits": {Area: edgeagent.AreaCoil, Quantity: 2001},
		} {
			if _, err := conn.Ask(t.Context(), "filler", 1, q); err == nil {
				t.Errorf("%s: accepted", name)
			}
		}
		if calls := f.takeCalls(); len(calls) != 0 {
			t.Errorf("sent %+v, want not one packet", calls)
		}
		if _, err := conn.Ask(t.Context(), "filler", 1, holding(200, 20)); err != nil {
			t.Errorf("the same addresses of another unit: %v, want an answer", err)
		}
	})
}

// TestDeviceWithoutTagsMayBeAskedAndIsHungUpOn: that is how one is commissioned.
func TestDeviceWithoutTagsMayBeAskedAndIsHungUpOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec, f := filler(), &fakeDriver{}
		spec.Tags = nil
		r := run(t, f, nil, spec)
		r.until(time.Second)
		conn := r.conn.(*Connection)
		for range 3 {
			if _, err := conn.Ask(t.Context(), "filler", 1, holding(0, 1)); err != nil {
				t.Fatal(err)
			}
		}
		if f.closed() != 0 {
			t.Errorf("hung up %d times between questions", f.closed())
		}
		r.until(time.Minute)
		if f.closed() != 1 {
			t.Errorf("hung up %d times, want once when the questions were over", f.closed())
		}
	})
}

func TestAskWaitsNoLongerThanItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec := filler()
		spec.Timeout = time.Hour
		r := run(t, &fakeDriver{took: 30 * time.Second}, nil, spec)
		r.until(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := r.conn.(*Connection).Ask(ctx, "filler", 1, holding(0, 1)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("ask = %v, want its own deadline", err)
		}
	})
}

func TestConnectionSlotIsGivenBackAfterEveryTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := filler(), filler().named("capper", 2)
		a.CloseAfterScan, b.CloseAfterScan = true, true
		f := &fakeDriver{took: 100 * time.Millisecond}
		r := run(t, f, nil, a, b)
		r.until(10*time.Second + 500*time.Millisecond)
		// Both units are due at the same slots: one connection for the two of them.
		if n := len(f.takeCalls()); n != 22 || f.closed() != 11 {
			t.Errorf("%d requests over %d connections, want 22 over 11", n, f.closed())
		}
		if _, err := r.conn.(*Connection).Ask(t.Context(), "filler", 1, holding(0, 1)); err != nil || f.closed() != 12 {
			t.Errorf("%v, closed %d times; want the slot given back after a question, too", err, f.closed())
		}
		if _, err := r.conn.Probe(t.Context(), "filler"); err != nil || f.closed() != 13 {
			t.Errorf("%v, closed %d times; want the slot given back after a probe, too", err, f.closed())
		}
	})
}

// TestConnectDelayDoesNotEatTheTimeout: with one connection slot the device is
// connected to anew for every turn.
func TestConnectDelayDoesNotEatTheTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec := filler()
		spec.CloseAfterScan, spec.ConnectDelay, spec.Scan = true, 5*time.Second, 10*time.Second
		r := run(t, &fakeDriver{took: 5500 * time.Millisecond}, nil, spec)
		r.until(time.Minute)
		if s := r.status("filler"); s.State != edgeagent.DevicePolling || s.Errors != 0 {
			t.Errorf("status = %+v, want polling: 5 s of delay and half a second for the answer", s)
		}
	})
}

func TestErrorsOfTheLineAreJudgedBeforeThoseOfTheUnit(t *testing.T) {
	refused := &Exception{Function: 3, Code: 2}
	for name, tc := range map[string]struct {
		err  error
		want verdict
	}{
		"an answer":                        {nil, verdictGood},
		"a refusal":                        {refused, verdictRefused},
		"a refusal in another's name":      {fmt.Errorf("%w: %w", ErrQuarantined, refused), verdictUnconfirmed},
		"a line that is left alone":        {ErrQuarantined, verdictUnconfirmed},
		"no answer to the confirmation":    {fmt.Errorf("%w: %w", ErrQuarantined, ErrSilent), verdictFailed},
		"nobody to confirm the line with":  {fmt.Errorf("%w: %w", ErrQuarantined, ErrUnreachable), verdictFailed},
		"a certificate":                    {fmt.Errorf("%w: %w", ErrRefused, ErrUnreachable), verdictFailed},
		"something that nobody thought of": {errors.New("x"), verdictFailed},
	} {
		if got := judge(tc.err); got != tc.want {
			t.Errorf("%s: verdict %d, want %d", name, got, tc.want)
		}
	}
}

var errUnconfirmed = fmt.Errorf("a late answer may still come: %w", ErrQuarantined)

func TestQuarantinedLineHoldsValuesAndFailsOnceItLasts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec := filler()
		spec.Tags = []TagSpec{word("first", 100), word("second", 5000), word("third", 9000)}
		f := &fakeDriver{}
		r := run(t, f, nil, spec)
		r.until(2500 * time.Millisecond)
		f.takeCalls()
		f.set(func(_ uint8, r Request) error {
			if r.Offset == 100 {
				return nil
			}
			return errUnconfirmed
		})
		r.until(5500 * time.Millisecond) // three scans
		if n := len(f.takeCalls()); n != 6 {
			t.Errorf("%d requests in three scans, want two each: nothing is asked behind the one that was not confirmed", n)
		}
		got := r.latest("filler")
		for _, tag := range []string{"second", "third"} {
			if s := got[tag]; s.Quality != edgeagent.QualityUncertain || !s.Reason.Is(edgeagent.ReasonQuarantined) || s.At.Sub(r.start) != 2*time.Second {
				t.Errorf("%s = %+v, want the last value, quarantined", tag, s)
			}
		}
		if s := r.status("filler"); s.State != edgeagent.DevicePolling || s.LastOKAt.Sub(r.start) != 2*time.Second || got["first"].Quality != edgeagent.QualityGood {
			t.Errorf("status = %+v, first %v; want polling, last good at 2 s", s, got["first"].Quality)
		}
		r.until(6500 * time.Millisecond)
		if s := r.status("filler"); s.State != edgeagent.DeviceRetrying || s.Attempt != 1 {
			t.Errorf("status = %+v, want retrying after the fourth scan", s)
		}
		r.until(10 * time.Minute)
		if s := r.status("filler"); s.State != edgeagent.DeviceStopped || s.Attempt != 6 {
			t.Errorf("status = %+v, want stopped: a line that is never confirmed is no line", s)
		}
	})
}

func TestQuarantineThatEndsIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeDriver{}
		r := run(t, f, nil, filler())
		for i := range 20 {
			r.until(time.Duration(4*i)*time.Second + 500*time.Millisecond)
			f.set(func(uint8, Request) error { return errUnconfirmed })
			r.until(time.Duration(4*i+3)*time.Second + 500*time.Millisecond)
			f.set(nil)
		}
		r.until(90 * time.Second)
		if s := r.status("filler"); s.State != edgeagent.DevicePolling || s.Attempt != 0 || s.Gaps != 0 {
			t.Errorf("status = %+v, want polling all the time", s)
		}
	})
}

func TestQuarantineWhileARefusalIsNarrowedBlamesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for after := 1; after < 12; after++ {
			spec := block(8)
			wide := word("wide", 108)
			wide.Type = edgeagent.TypeFloat64
			spec.Tags = append(spec.Tags, wide)
			n := 0
			f := &fakeDriver{answer: func(_ uint8, r Request) error {
				if n++; n > after {
					return errUnconfirmed
				}
				return refusing(2, 103, 109)(1, r)
			}}
			r := run(t, f, nil, spec)
			r.until(100 * time.Millisecond)
			for tag, s := range r.latest("filler") {
				if s.Reason.Is(edgeagent.ReasonException) && tag != "w103" && tag != "wide" {
					t.Errorf("after %d requests: %s is blamed: %v", after, tag, s.Reason)
				}
			}
			r.stop()
		}
	})
}
