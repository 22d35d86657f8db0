package upsync

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"edgeagent"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	ours   = edgeagent.ID("01K0000000000000000000000A")
	before = edgeagent.ID("01J0000000000000000000000A")
	others = edgeagent.ID("01K0000000000000000000000B")
)

// store is a data file in memory. Its Confirm holds the cursor's law: what it
// is told to forget must be at the receiver.
type store struct {
	t     testing.TB
	ready chan struct{}
	has   func(edgeagent.Stream, uint64) bool

	mu       sync.Mutex
	epoch    edgeagent.ID
	old      []edgeagent.Outgoing // of an earlier epoch, sent first
	events   map[edgeagent.Stream][]edgeagent.Outgoing
	cursor   map[edgeagent.Stream]uint64
	parked   map[slot]*edgeagent.Note
	asked    map[slot]bool // of parked, by a person
	confirms int
	fail     []error // of the next calls of any method that can fail
}

// slot is the place of one event.
type slot struct {
	epoch  edgeagent.ID
	stream edgeagent.Stream
	number uint64
}

func slotOf(ev edgeagent.Outgoing) slot { return slot{ev.Epoch, ev.Stream, ev.Sequence} }

func newStore(t testing.TB) *store {
	return &store{t: t, epoch: ours, ready: make(chan struct{}, 1), events: map[edgeagent.Stream][]edgeagent.Outgoing{},
		cursor: map[edgeagent.Stream]uint64{}, parked: map[slot]*edgeagent.Note{}, asked: map[slot]bool{}}
}

func (s *store) add(stream edgeagent.Stream, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	types := map[edgeagent.Stream]edgeagent.EventType{edgeagent.StreamAlarm: edgeagent.EventAlarmRaised,
		edgeagent.StreamDiagnosis: edgeagent.EventDiagnosisCompleted, edgeagent.StreamEvent: edgeagent.EventAgentStarted}
	for range n {
		s.append(stream, types[stream], nil)
	}
}

func (s *store) append(stream edgeagent.Stream, typ edgeagent.EventType, data any) {
	n := uint64(len(s.events[stream]) + 1)
	raw, _ := json.Marshal(data)
	body, err := json.Marshal(edgeagent.Event{SpecVersion: "1.0", ID: fmt.Sprintf("%s-%d", stream, n), Type: typ, Epoch: s.epoch,
		Stream: stream, Sequence: edgeagent.FormatSequence(n), Data: raw})
	if err != nil {
		s.t.Fatal(err)
	}
	s.events[stream] = append(s.events[stream], edgeagent.Outgoing{Epoch: s.epoch, Stream: stream, Sequence: n,
		ID: fmt.Sprintf("%s-%d", stream, n), Type: typ, At: time.Now(), Body: body})
	select {
	case s.ready <- struct{}{}:
	default:
	}
}

func (s *store) pop() error {
	if len(s.fail) == 0 {
		return nil
	}
	err := s.fail[0]
	s.fail = s.fail[1:]
	return err
}

func (s *store) waiting() []edgeagent.Outgoing {
	all := slices.Clone(s.old)
	for _, stream := range edgeagent.Streams {
		for _, ev := range s.events[stream][s.cursor[stream]:] {
			if s.parked[slotOf(ev)] == nil {
				all = append(all, ev)
			}
		}
	}
	return all
}

func (s *store) Pending(_ string, n, size int) ([]edgeagent.Outgoing, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.pop(); err != nil {
		return nil, err
	}
	return atMost(s.waiting(), n, size), nil
}

func (s *store) Confirm(ctx context.Context, _ string, r edgeagent.Receipt) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := errors.Join(s.pop(), ctx.Err()); err != nil {
		return err
	}
	s.confirms++
	if r.Epoch != s.epoch {
		s.old = slices.DeleteFunc(s.old, func(ev edgeagent.Outgoing) bool { return ev.Epoch == r.Epoch && ev.Sequence <= r.Contig[ev.Stream] })
		return nil
	}
	for stream, to := range r.Contig {
		if to > uint64(len(s.events[stream])) {
			s.t.Errorf("cursor of %s to %d, but only %d were written", stream, to, len(s.events[stream]))
			continue
		}
		for n := s.cursor[stream] + 1; n <= to; n++ {
			if s.parked[slot{s.epoch, stream, n}] == nil && !s.has(stream, n) {
				s.t.Errorf("cursor of %s moved over %d, which nobody stored", stream, n)
			}
		}
		s.cursor[stream] = max(s.cursor[stream], to)
	}
	return nil
}

func (s *store) Park(ctx context.Context, _ string, ev edgeagent.Outgoing, reason *edgeagent.Note) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := errors.Join(s.pop(), ctx.Err()); err != nil {
		return err
	}
	_, known := s.parked[slotOf(ev)]
	s.parked[slotOf(ev)] = reason
	if delete(s.asked, slotOf(ev)); known {
		return nil
	}
	s.append(edgeagent.StreamEvent, edgeagent.EventGap, edgeagent.Gap{Epoch: ev.Epoch, Stream: ev.Stream, From: ev.Sequence, To: ev.Sequence, Reason: reason})
	return nil
}

// resend has everything that is parked sent again.
func (s *store) resend() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for p := range s.parked {
		s.asked[p] = true
	}
	select {
	case s.ready <- struct{}{}:
	default:
	}
}

func (s *store) Asked(_ string, n, size int) ([]edgeagent.Outgoing, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.pop(); err != nil {
		return nil, err
	}
	var all []edgeagent.Outgoing
	for _, stream := range edgeagent.Streams {
		for _, ev := range s.events[stream] {
			if s.asked[slotOf(ev)] && ev.Sequence <= s.cursor[stream] {
				all = append(all, ev)
			}
		}
	}
	return atMost(all, n, size), nil
}

func (s *store) Unpark(ctx context.Context, _ string, stored []edgeagent.Outgoing) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := errors.Join(s.pop(), ctx.Err()); err != nil {
		return err
	}
	for _, ev := range stored {
		if !s.has(ev.Stream, ev.Sequence) {
			s.t.Errorf("%s is booked as stored, and nobody stored it", ev.ID)
		}
		delete(s.parked, slotOf(ev))
		delete(s.asked, slotOf(ev))
	}
	return nil
}

func (s *store) Backlog(string) edgeagent.Backlog {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.waiting()
	b := edgeagent.Backlog{Epoch: s.epoch, Events: len(all), Parked: len(s.parked), Next: map[edgeagent.Stream]uint64{}}
	for _, stream := range edgeagent.Streams {
		b.Next[stream] = uint64(len(s.events[stream]) + 1)
		b.Confirmed += s.cursor[stream]
	}
	for _, ev := range all {
		if b.Oldest.IsZero() || ev.At.Before(b.Oldest) {
			b.Oldest = ev.At
		}
	}
	return b
}

func (s *store) Range(epoch edgeagent.ID, r edgeagent.Range) ([]edgeagent.Outgoing, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.pop(); err != nil {
		return nil, err
	}
	var out []edgeagent.Outgoing
	for _, ev := range s.events[r.Stream] {
		if ev.Epoch == epoch && ev.Sequence >= r.From && ev.Sequence <= r.To {
			out = append(out, ev)
		}
	}
	return out, nil
}

func (s *store) IsParked(_ string, epoch edgeagent.ID, stream edgeagent.Stream, n uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.parked[slot{epoch, stream, n}] != nil
}

func (s *store) parkedNames() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for p := range s.parked {
		out = append(out, fmt.Sprintf("%s-%d", p.stream, p.number))
	}
	slices.Sort(out)
	return out
}

// receiver is an upstream that stores and counts. Its law of refusal and its
// faults are functions.
type receiver struct {
	start time.Time
	slow  func(n int) time.Duration // what it needs for n events
	// before says what goes wrong instead of storing; nil stores.
	before func(call int, batch []edgeagent.Outgoing) error
	// after changes the receipt, or loses it, when all is stored.
	after func(call int, r edgeagent.Receipt) (edgeagent.Receipt, error)

	mu     sync.Mutex
	calls  int
	log    []string // "12s heartbeat", "13s alarm-1..alarm-7"
	stored map[slot]string
	first  []string // ids in the order in which they came first
	twice  int
	idle   int // times that idle connections were closed
}

func newReceiver() *receiver { return &receiver{start: time.Now(), stored: map[slot]string{}} }

func (r *receiver) CloseIdleConnections() { r.mu.Lock(); r.idle++; r.mu.Unlock() }

func (r *receiver) Send(ctx context.Context, batch []edgeagent.Outgoing) (edgeagent.Receipt, error) {
	r.mu.Lock()
	r.calls++
	call := r.calls
	r.log = append(r.log, time.Since(r.start).Round(time.Millisecond).String()+" "+describe(batch))
	r.mu.Unlock()
	if r.slow != nil {
		select {
		case <-time.After(r.slow(len(batch))):
		case <-ctx.Done():
			return edgeagent.Receipt{}, ctx.Err()
		}
	}
	r.mu.Lock()
	before := r.before
	r.mu.Unlock()
	if before != nil {
		if err := before(call, batch); err != nil {
			return edgeagent.Receipt{}, err
		}
	}
	r.mu.Lock()
	r.book(batch)
	receipt := edgeagent.Receipt{Epoch: batch[0].Epoch, Contig: r.contig(batch[0].Epoch)}
	r.mu.Unlock()
	if r.after != nil {
		return r.after(call, receipt)
	}
	return receipt, nil
}

func describe(batch []edgeagent.Outgoing) string {
	if batch[0].Type == edgeagent.EventHeartbeat {
		return "heartbeat"
	}
	if len(batch) == 1 {
		return batch[0].ID
	}
	return batch[0].ID + ".." + batch[len(batch)-1].ID
}

func (r *receiver) book(batch []edgeagent.Outgoing) {
	for _, ev := range batch {
		if ev.Stream == "" {
			continue
		}
		if body, known := r.stored[slotOf(ev)]; known && body != "gap" {
			r.twice++
			continue
		}
		r.stored[slotOf(ev)] = string(ev.Body)
		r.first = append(r.first, ev.ID)
		var event edgeagent.Event
		var gap edgeagent.Gap
		if ev.Type == edgeagent.EventGap && json.Unmarshal(ev.Body, &event) == nil && json.Unmarshal(event.Data, &gap) == nil {
			for n := gap.From; n <= gap.To; n++ {
				r.stored[slot{gap.Epoch, gap.Stream, n}] = "gap"
			}
		}
	}
}

func (r *receiver) contig(epoch edgeagent.ID) map[edgeagent.Stream]uint64 {
	c := map[edgeagent.Stream]uint64{}
	for _, stream := range edgeagent.Streams {
		for r.stored[slot{epoch, stream, c[stream] + 1}] != "" {
			c[stream]++
		}
	}
	return c
}

func (r *receiver) has(stream edgeagent.Stream, n uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stored[slot{ours, stream, n}] != ""
}

// holds reports whether the event itself is stored, not only the gap in its place.
func (r *receiver) holds(stream edgeagent.Stream, n uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	body := r.stored[slot{ours, stream, n}]
	return body != "" && body != "gap"
}

func (r *receiver) history() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.log)
}

func (r *receiver) fails(how func(int, []edgeagent.Outgoing) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.before = how
}

func (r *receiver) lose(slots ...slot) {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.stored, func(s slot, _ string) bool { return slices.Contains(slots, s) })
}

// start runs an uploader between s and r in a bubble until the test ends.
// Random waits are the longest unless change says otherwise.
func start(t *testing.T, s *store, r *receiver, change func(*Uploader)) *Uploader {
	t.Helper()
	if s.has == nil {
		s.has = r.has
	}
	u := New(Options{Name: "historian", Destination: r, Outbox: s, Book: s, Refusals: s, Ready: s.ready, Source: "/plant-a/gw", Receipt: "body"})
	u.random = func() float64 { return 1 }
	if change != nil {
		change(u)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- u.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	return u
}

// pass lets virtual time pass.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func equal(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
