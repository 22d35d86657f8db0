package plc

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"edgeagent"
)

// riseWithin bounds how long an episode may take until its subscriptions stand.
// Whatever a server does meanwhile, it must not be "connecting" for ever.
const riseWithin = time.Minute

var errNotRisen = fmt.Errorf("the subscriptions did not stand after %v: %w", riseWithin, ErrSilent)

// Subscription listens to the one device behind a [Subscriber] and watches over
// it as a [Connection] does over those that it asks.
type Subscription struct {
	roster
	source Subscriber
	device *device
	names  []string       // of the tags
	index  map[string]int // tags by name
	turn   chan struct{}  // held by whoever fetches
	beat   chan struct{}  // the heartbeat is to be looked at again

	// Of the episode that runs; guarded by mu.
	up      bool
	told    []bool   // tags whose value was told since it began
	message uint64   // messages heard
	in      []uint64 // the last message that told each tag
	cancel  func()
}

// NewSubscription returns a subscription that does nothing before Run.
func NewSubscription(s Subscriber, spec DeviceSpec, o Options) *Subscription {
	d := newDevice(spec)
	l := &Subscription{
		source: s, device: d, index: make(map[string]int, len(spec.Tags)),
		turn: make(chan struct{}, 1), beat: make(chan struct{}, 1),
		told: make([]bool, len(spec.Tags)), in: make([]uint64, len(spec.Tags)), cancel: func() {},
	}
	l.init(o)
	l.devices = []*device{d}
	for i := range spec.Tags {
		l.index[spec.Tags[i].Name] = i
		l.names = append(l.names, spec.Tags[i].Name)
	}
	return l
}

// Run listens, one episode after the other, until ctx ends, and returns nil.
func (s *Subscription) Run(ctx context.Context) error {
	s.restore()
	defer s.startSaving(ctx)()
	for s.rest(ctx) {
		s.expire(time.Now())
		if s.nextDue(time.Now()) != nil {
			s.episode(ctx)
		}
	}
	return nil
}

// Status returns the state of the device, as Connection.Status does.
func (s *Subscription) Status() []edgeagent.DeviceStatus { return s.status() }

// Maintain takes the device out of service and ends its connection; see
// [Connection.Maintain].
func (s *Subscription) Maintain(device, by, reason string, length time.Duration) error {
	if err := s.maintain(device, by, reason, length); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tellMarks(time.Now())
	s.cancel()
	return nil
}

// Probe reads all tags once, over the connection that stands or one of its own;
// see [Connection.Probe].
func (s *Subscription) Probe(ctx context.Context, device string) (edgeagent.Scan, error) {
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return edgeagent.Scan{}, fmt.Errorf("probe device %q: %w", device, ctx.Err())
	}
	defer func() { <-s.turn }()
	if err := s.mayFetch(device); err != nil {
		return edgeagent.Scan{}, err
	}
	began := time.Now()
	samples, err := s.source.Fetch(ctx)
	now := time.Now()
	s.o.OnRequest(device, now.Sub(began), err)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.device.sent++
	s.device.chill(samples)
	return edgeagent.Scan{Device: device, At: now, Samples: samples, Took: now.Sub(began), Requests: 1, Err: err}, err
}

func (s *Subscription) mayFetch(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, err := s.find(name)
	if err != nil {
		return err
	}
	return d.leaveAlone("probe")
}

// episode listens once, until the connection cannot be trusted any more, the
// device is taken out of service or ctx ends.
func (s *Subscription) episode(ctx context.Context) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	life, began := s.begin(func() { cancel(nil) }), time.Now()
	if life < 0 {
		return
	}
	late := time.AfterFunc(riseWithin, func() { s.giveUp(cancel) })
	defer late.Stop()
	var watching sync.WaitGroup
	watching.Go(func() { s.watch(ctx) })
	err := s.source.Episode(ctx, func(h Heard) { s.hear(h, life) })
	why := context.Cause(ctx)
	cancel(nil)
	watching.Wait()
	if errors.Is(why, errNotRisen) {
		err, why = errNotRisen, nil
	}
	s.end(err, life, began, why != nil)
}

func (s *Subscription) giveUp(cancel context.CancelCauseFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.up {
		cancel(errNotRisen)
	}
}

// begin returns the device's life, or -1 if it was taken out of service since
// it was due.
func (s *Subscription) begin(cancel func()) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.device.state == edgeagent.DeviceMaintenance {
		return -1
	}
	s.up, s.cancel = false, cancel
	clear(s.told)
	return s.device.life
}

// end draws the conclusion from an episode that ended by itself.
func (s *Subscription) end(err error, life int, began time.Time, ended bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, now := s.device, time.Now()
	s.up, s.cancel = false, func() {}
	if ended || d.life != life {
		return // by us: says nothing of the device
	}
	if err == nil {
		err = errors.New("the server ended the connection")
	}
	s.o.OnRequest(d.spec.Name, now.Sub(began), err)
	d.failed(now, err)
	s.o.Deliver(d.outgoing(now))
	s.conclude(d)
}

// hear takes one message of the episode.
func (s *Subscription) hear(h Heard, life int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, now := s.device, time.Now()
	if d.life != life {
		return // told before the maintenance, heard in it
	}
	if h.At.IsZero() {
		h.At = now
	}
	d.sent += uint64(h.Requests)
	before := d.lastOK
	if h.Up {
		s.rise(h)
	}
	samples, twice := s.take(h.Samples, now)
	scan := edgeagent.Scan{
		Device: d.spec.Name, At: h.At, Samples: samples, Confirmed: h.Confirmed,
		Conditions: h.Conditions, Requests: h.Requests,
	}
	if d.frost != nil {
		d.chill(scan.Samples)
		s.book(scan.Samples)
		scan.Confirmed = nil
	}
	if s.up {
		s.answered(now, h.Gap, before)
	}
	scan.Events, d.events = d.events, nil
	if twice {
		s.deliver(scan)
	} else {
		s.o.Deliver(scan)
	}
	s.conclude(d)
}

// deliver tells a scan in which a server told several values of one tag as so
// many scans: a bit that came and went is an alarm that was.
func (s *Subscription) deliver(scan edgeagent.Scan) {
	whole := scan
	for rest := scan.Samples; ; {
		n := untilRepeated(rest)
		if n == len(rest) {
			whole.Samples = rest
			s.o.Deliver(whole)
			return
		}
		s.o.Deliver(edgeagent.Scan{Device: scan.Device, At: scan.At, Samples: rest[:n:n], Events: whole.Events})
		rest, whole.Events = rest[n:], nil
	}
}

// untilRepeated returns how many samples stand before the first of a tag that
// was among them.
func untilRepeated(samples []edgeagent.Sample) int {
	if len(samples) < 2 {
		return len(samples)
	}
	seen := make(map[string]bool, len(samples))
	for i := range samples {
		if seen[samples[i].Tag] {
			return i
		}
		seen[samples[i].Tag] = true
	}
	return len(samples)
}

func (s *Subscription) rise(h Heard) {
	s.up, s.device.security = true, h.Security
	select {
	case s.beat <- struct{}{}:
	default:
	}
}

// take keeps what was told and returns what is to be delivered of it. When a
// heartbeat ends a standstill that is all that was told since the episode began:
// of what did not change meanwhile the server says nothing any more. It also
// reports whether a tag may stand there twice.
func (s *Subscription) take(samples []edgeagent.Sample, now time.Time) (out []edgeagent.Sample, twice bool) {
	d, thawed := s.device, false
	s.message++
	next := 0
	for i := range samples {
		tag, known := s.place(samples[i].Tag, next)
		if !known {
			twice = true // nobody knows
			continue
		}
		next = tag + 1
		twice = twice || s.in[tag] == s.message
		d.last[tag], d.quality[tag], s.told[tag], s.in[tag] = samples[i], samples[i].Quality, true, s.message
		if tag == d.pulse.tag {
			thawed = d.feel(now, samples[i].Value) || thawed
		}
	}
	if !thawed {
		return samples, twice
	}
	var all []edgeagent.Sample
	for tag, told := range s.told {
		if told {
			all = append(all, d.last[tag])
		}
	}
	s.book(all)
	return all, false
}

// place returns which tag a name is. Servers tell tags in the order in which
// they were subscribed to, so that it is most often the one that is guessed.
func (s *Subscription) place(name string, guess int) (tag int, known bool) {
	if guess < len(s.names) && s.names[guess] == name {
		return guess, true
	}
	tag, known = s.index[name]
	return tag, known
}

// book notes the quality in which tags are delivered, where it is not the told one.
func (s *Subscription) book(samples []edgeagent.Sample) {
	for i := range samples {
		if tag, known := s.index[samples[i].Tag]; known {
			s.device.quality[tag] = samples[i].Quality
		}
	}
}

// answered tells the machine that the server spoke. What it lost of its own is
// a gap, but no failure.
func (s *Subscription) answered(now time.Time, gap bool, before time.Time) {
	d := s.device
	d.err = nil
	mark := byte('|')
	if gap {
		mark = '.'
		if before.IsZero() {
			before = now
		}
		d.lost(before)
	}
	d.remember(mark)
	d.answered(now, false)
	d.tellLoss(now)
}

// watch looks after the heartbeat of an episode: a server that has nothing to
// tell calls nobody.
func (s *Subscription) watch(ctx context.Context) {
	for ctx.Err() == nil {
		at, some := s.checkBeat(time.Now())
		s.awaitBeat(ctx, at, some)
	}
}

func (s *Subscription) awaitBeat(ctx context.Context, at time.Time, some bool) {
	var alarm <-chan time.Time
	if some {
		t := time.NewTimer(time.Until(at))
		defer t.Stop()
		alarm = t.C
	}
	select {
	case <-ctx.Done():
	case <-s.beat:
	case <-alarm:
	}
}

// checkBeat freezes the device if its heartbeat is overdue, and returns when to
// look again.
func (s *Subscription) checkBeat(now time.Time) (at time.Time, some bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.device
	if d.pulse.tag < 0 || !s.up || d.state != edgeagent.DevicePolling {
		return time.Time{}, false
	}
	at, overdue := d.overdue(now)
	if overdue {
		d.freeze(now)
		s.o.Deliver(d.outgoing(now))
		s.conclude(d)
	}
	if d.frost != nil {
		at = now.Add(d.spec.Heartbeat.Within) // after a thaw it is due no sooner
	}
	return at, true
}
