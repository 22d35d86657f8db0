package plctest

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"runtime"
	"sync"
	"testing"
	"time"

	"edgeagent"
	"edgeagent/plc"
)

// Behaviours of a server that tells by itself, besides Healthy, HangingUp (once,
// it serves the next connection) and Gone.
const (
	Frozen   Behaviour = "frozen"    // a stopped process: accepts, and neither reads nor writes
	HalfOpen Behaviour = "half-open" // the connections that stand carry nothing any more; new ones are served
	Flapping Behaviour = "flapping"  // hangs up on whoever was just told something
	Mute     Behaviour = "mute"      // answers questions, tells nothing
	Slow     Behaviour = "slow"      // late with every answer, within what is put up with
	Halted   Behaviour = "halted"    // answers, and says that it does not run
	Losing   Behaviour = "losing"    // once: what it tells next never arrives
	Ending   Behaviour = "ending"    // once: it ends what was subscribed to, and keeps the connection
)

// Speaker is the other end of a [plc.Subscriber], a real one: a simulated or an
// independent server behind a socket.
type Speaker interface {
	// Behave makes the server behave so until the next call. It returns false
	// for what the protocol does not know.
	Behave(Behaviour) bool
	// Tags returns what is listened to: three tags at least, each a whole number
	// of 32 bits.
	Tags() []plc.TagSpec
	// Say gives every tag its value, but those that are spoilt or deleted. The
	// server has noticed it when it returns: each value is told, however soon the
	// next one is said, of ten in a row at least.
	Say(value func(tag string) uint32)
	// Spoil lets a tag have a bad status, Delete takes it away; for good.
	Spoil(tag string)
	Delete(tag string)
	// Foreign returns the requests that came and that nobody sends who only reads.
	Foreign() []string
}

// SubscriberOptions say what is expected of a subscriber.
type SubscriberOptions struct {
	Notice   time.Duration // at most until it ends a connection that cannot be trusted; 0: 9 s
	Timeout  time.Duration // of its requests, connecting included; 0: 5 s
	Prompt   time.Duration // at most until Episode returns once its context ended; 0: 3 s
	Step     time.Duration // the first step of retrying; 0: 2 s
	Episodes int           // connections after which nothing may be left; 0: 10
}

func (o SubscriberOptions) withDefaults() SubscriberOptions {
	for at, value := range map[*time.Duration]time.Duration{
		&o.Notice: 9 * time.Second, &o.Timeout: 5 * time.Second, &o.Prompt: 3 * time.Second, &o.Step: 2 * time.Second,
	} {
		if *at == 0 {
			*at = value
		}
	}
	if o.Episodes == 0 {
		o.Episodes = 10
	}
	return o
}

// SubscriberCheck is one thing that is true of every subscriber.
type SubscriberCheck struct {
	Name  string
	check func(*listening) error
	alone bool // counts what all of the process has
}

// Run tries it on a subscriber and a server that are both fresh. Whatever is
// tried, no value may be wrong, older than one before it or told after the end.
func (c SubscriberCheck) Run(ctx context.Context, s plc.Subscriber, p Speaker, o SubscriberOptions) error {
	l := &listening{o: o.withDefaults(), source: s, peer: p}
	l.begin(ctx)
	err := c.check(l)
	return errors.Join(err, l.end(), l.verdict())
}

// RunSubscriber runs the whole suite; start returns a subscriber and its server,
// both fresh, healthy and cleaned up with the test. It is [Run] for what tells by
// itself.
func RunSubscriber(t *testing.T, start func(t *testing.T) (plc.Subscriber, Speaker), o SubscriberOptions) {
	for _, c := range SubscriberChecks() {
		t.Run(c.Name, func(t *testing.T) {
			if !c.alone {
				t.Parallel() // most of it is waiting
			}
			err := Proven(func() error {
				s, p := start(t)
				return c.Run(t.Context(), s, p, o)
			})
			if errors.Is(err, errUnknown) {
				t.Log(err)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

var errUnknown = errors.New("the protocol does not know it")

// spoken is what a tag has in a round: it tells whose it is, and since when.
func spoken(tag string, round uint16) uint32 {
	return uint32(round)<<16 | uint32(whose(tag))
}

func whose(tag string) uint16 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(tag))
	return uint16(h.Sum32())
}

// listening is a subscriber at work under the supervision that it has in the agent.
type listening struct {
	o      SubscriberOptions
	source plc.Subscriber
	peer   Speaker
	device *plc.Subscription
	cancel context.CancelFunc
	done   chan struct{}

	mu      sync.Mutex
	said    uint16 // the newest round
	floor   uint16 // the oldest round that may still be told as good
	tags    map[string]*heardTag
	gaps    int
	ended   int // episodes
	telling int
	over    bool
	wrong   []error // the first few
}

// heardTag is what was delivered of a tag.
type heardTag struct {
	last      edgeagent.Sample
	rounds    []uint16 // of good values, as they came
	confirmed int
}

const maxWrong = 5

// blame notes what must never be. The caller holds mu.
func (l *listening) blame(format string, args ...any) {
	if len(l.wrong) < maxWrong {
		l.wrong = append(l.wrong, fmt.Errorf(format, args...))
	}
}

func (l *listening) verdict() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if foreign := l.peer.Foreign(); len(foreign) > 0 {
		l.blame("the server was sent %v", foreign)
	}
	if len(l.wrong) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrWrong, errors.Join(l.wrong...))
}

// begin says the first round and listens.
func (l *listening) begin(ctx context.Context) {
	spec := plc.DeviceSpec{Name: "device", Tags: l.peer.Tags(), Timeout: l.o.Timeout, Enabled: true}
	spec.Retry.First, spec.Retry.Max = l.o.Step, 64*l.o.Step
	l.mu.Lock()
	l.tags, l.over, l.done = make(map[string]*heardTag), false, make(chan struct{})
	for i := range spec.Tags {
		l.tags[spec.Tags[i].Name] = &heardTag{}
	}
	l.mu.Unlock()
	l.say()
	l.device = plc.NewSubscription(watched{l}, spec, plc.Options{Deliver: l.deliver})
	ctx, l.cancel = context.WithCancel(ctx)
	go func() {
		defer close(l.done)
		_ = l.device.Run(ctx) // it has no error
		l.mu.Lock()
		l.over = true
		l.mu.Unlock()
	}()
}

// end stops listening, within what is prompt.
func (l *listening) end() error {
	l.cancel()
	began := time.Now()
	<-l.done
	if took := time.Since(began); took > l.o.Prompt {
		return fmt.Errorf("still listening %v after its context ended", took)
	}
	return nil
}

// say begins a round.
func (l *listening) say() {
	l.mu.Lock()
	l.said++
	round := l.said
	l.mu.Unlock()
	l.peer.Say(func(tag string) uint32 { return spoken(tag, round) })
}

// watched is the subscriber with its promises looked after.
type watched struct{ l *listening }

func (w watched) Fetch(ctx context.Context) ([]edgeagent.Sample, error) { return w.l.source.Fetch(ctx) }

func (w watched) Episode(ctx context.Context, tell func(plc.Heard)) error {
	var over bool // guarded by mu
	ups := 0
	err := w.l.source.Episode(ctx, func(h plc.Heard) {
		w.l.enter(&over, h.Up, &ups)
		runtime.Gosched() // whoever tells at the same time shows
		tell(h)
		w.l.leave()
	})
	w.l.mu.Lock()
	defer w.l.mu.Unlock()
	over = true
	w.l.ended++
	kind := errors.Is(err, plc.ErrUnreachable) || errors.Is(err, plc.ErrSilent) || errors.Is(err, plc.ErrRefused)
	if ctx.Err() == nil && !kind {
		w.l.blame("an episode ended with %v: neither unreachable nor silent nor refused", err)
	}
	return err
}

func (l *listening) enter(over *bool, up bool, ups *int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.telling++; l.telling > 1 {
		l.blame("told twice at the same time")
	}
	if *over {
		l.blame("told after its episode returned")
	}
	if up {
		*ups++
	}
	if *ups != 1 {
		l.blame("told that it is up %d times", *ups)
	}
}

func (l *listening) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.telling--
}

// deliver holds what comes against what was said.
func (l *listening) deliver(s edgeagent.Scan) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		l.blame("delivered after the end: %d values", len(s.Samples))
	}
	for i := range s.Samples {
		l.hear(s.Samples[i])
	}
	for _, name := range s.Confirmed {
		l.confirm(name)
	}
	for _, e := range s.Events {
		if e.Kind == edgeagent.DeviceEventGap {
			l.gaps++
			if e.From.After(e.At) {
				l.blame("a gap from %v to %v", e.From, e.At)
			}
		}
	}
}

func (l *listening) hear(s edgeagent.Sample) {
	t := l.tags[s.Tag]
	if t == nil {
		l.blame("a tag %q, which nobody asked for", s.Tag)
		return
	}
	t.last = s
	if s.Quality != edgeagent.QualityGood {
		if s.Reason == nil {
			l.blame("%s is %s without a reason", s.Tag, s.Quality)
		}
		return
	}
	value, _ := s.Value.Float64()
	round, of := uint16(uint32(value)>>16), uint16(uint32(value))
	switch {
	case of != whose(s.Tag) || round == 0 || round > l.said:
		l.blame("wrong value: %s is %v in round %d", s.Tag, s.Value, l.said)
	case len(t.rounds) > 0 && round < t.rounds[len(t.rounds)-1]:
		l.blame("%s is back to round %d from %d", s.Tag, round, t.rounds[len(t.rounds)-1])
	case round < l.floor:
		l.blame("%s is of round %d, before the loss, and good", s.Tag, round)
	}
	if s.At.IsZero() {
		l.blame("%s came at no time", s.Tag)
	}
	t.rounds = append(t.rounds, round)
}

func (l *listening) confirm(name string) {
	t := l.tags[name]
	if t == nil || t.last.Tag == "" || t.last.Quality == edgeagent.QualityBad {
		l.blame("%q is confirmed, of which there is no value", name)
		return
	}
	t.confirmed++
}
