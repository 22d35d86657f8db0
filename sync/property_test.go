package upsync

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
)

// chaos is an upstream whose every answer may go wrong, before or after it has
// stored the batch.
type chaos struct {
	*rand.Rand
	worst float64 // share of answers that go wrong
}

var wrongs = []func(r *rand.Rand) error{
	func(*rand.Rand) error { return errors.New("connection reset by peer") },
	func(*rand.Rand) error { return &Error{Class: NoAnswer, Timeout: true, Text: "no answer"} },
	func(r *rand.Rand) error {
		return &Error{Class: Busy, Status: 503, RetryAfter: time.Duration(r.IntN(40)) * time.Second, Text: "503"}
	},
	func(*rand.Rand) error { return &Error{Class: TooLarge, Status: 413, Text: "413"} },
	func(*rand.Rand) error { return &Error{Class: Denied, Status: 401, Text: "401"} },
	func(*rand.Rand) error { return &Error{Class: NotReceipt, Status: 302, Text: "302"} },
}

func (c *chaos) wrong(batch []edgeagent.Outgoing) error {
	if c.Float64() >= c.worst {
		return nil
	}
	err := wrongs[c.IntN(len(wrongs))](c.Rand)
	if e, ok := errors.AsType[*Error](err); ok && e.Class == TooLarge && len(batch) == 1 {
		return nil // alone it fits: only poison is refused for good
	}
	return err
}

// lie spoils a receipt after the batch was stored.
func (c *chaos) lie(r edgeagent.Receipt) (edgeagent.Receipt, error) {
	if c.Float64() >= c.worst {
		return r, nil
	}
	switch c.IntN(4) {
	case 0:
		return edgeagent.Receipt{}, errors.New("unexpected EOF") // stored, and the answer lost
	case 1:
		return edgeagent.Receipt{Epoch: others, Contig: r.Contig}, nil
	case 2:
		return edgeagent.Receipt{Epoch: r.Epoch}, nil
	default:
		r.Contig[edgeagent.StreamAlarm] += 1000
		return r, nil
	}
}

// TestWhateverHappensNothingIsLost sends under random faults: every event
// arrives, in the order of its stream on its first arrival, with its own
// bytes, and exactly the poison is parked. The store's Confirm checks the
// cursor's law on every move.
func TestWhateverHappensNothingIsLost(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { survive(t, seed) })
		})
	}
}

func survive(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	c := &chaos{rng, rng.Float64() * 0.5}
	s, r := newStore(t), newReceiver()
	poison := map[string]bool{}
	for range rng.IntN(4) {
		poison[fmt.Sprintf("%s-%d", edgeagent.Streams[rng.IntN(2)], 1+rng.IntN(150))] = true
	}
	r.before = func(_ int, batch []edgeagent.Outgoing) error {
		if err := c.wrong(batch); err != nil {
			return err
		}
		if slices.ContainsFunc(batch, func(ev edgeagent.Outgoing) bool { return poison[ev.ID] }) {
			return &Error{Class: Unfit, Status: 422, Text: "422"}
		}
		return nil
	}
	r.after = func(_ int, receipt edgeagent.Receipt) (edgeagent.Receipt, error) { return c.lie(receipt) }
	written := rand.New(rand.NewPCG(seed, 2))
	u := start(t, s, r, func(u *Uploader) { u.o.Batch, u.random = 1+int(seed)*3, rand.New(rand.NewPCG(seed, 3)).Float64 })
	for range 30 {
		s.add(edgeagent.Streams[written.IntN(3)], written.IntN(20))
		pass(time.Duration(written.IntN(120)) * time.Second)
	}
	for range 200 { // every pause is 5 min; all of it must drain in the end
		if pass(10 * time.Minute); u.Status().Backlog == 0 {
			break
		}
	}
	check(t, s, r, poison, u.Status())
}

func check(t *testing.T, s *store, r *receiver, poison map[string]bool, st edgeagent.UpstreamStatus) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if st.Backlog != 0 {
		t.Fatalf("%d still waiting after %d requests: %+v", st.Backlog, r.calls, st)
	}
	last := map[string]string{}
	for _, id := range r.first {
		stream, number, _ := strings.Cut(id, "-")
		if n := fmt.Sprintf("%9s", number); n <= last[stream] {
			t.Errorf("%s came first after %s-%s", id, stream, last[stream])
		} else {
			last[stream] = n
		}
	}
	for stream, events := range s.events {
		for _, ev := range events {
			parked := s.parked[slotOf(ev)] != nil
			if parked != poison[ev.ID] {
				t.Errorf("%s parked %v, poison %v; status %+v", ev.ID, parked, poison[ev.ID], st)
			}
			if got := r.stored[slot{ours, stream, ev.Sequence}]; !parked && got != string(ev.Body) {
				t.Errorf("%s arrived as %q; status %+v", ev.ID, got, st)
			}
		}
	}
}
