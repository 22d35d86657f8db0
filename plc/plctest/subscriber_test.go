package plctest_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
	"edgeagent/plc"
	"edgeagent/plc/plctest"
)

// board is a server in this process, on the bubble's time.
type board struct {
	mu      sync.Mutex
	how     plctest.Behaviour
	values  map[string]uint32
	bad     map[string]bool
	lines   map[*line]bool
	foreign []string
}

// line is a connection to it.
type line struct {
	b        *board
	news     []map[string]uint32 // rounds, oldest first
	lost     bool                // something was not told
	cut, end bool
	cold     bool
}

func newBoard() *board {
	return &board{values: map[string]uint32{}, bad: map[string]bool{}, lines: map[*line]bool{}}
}

func (b *board) Tags() []plc.TagSpec {
	var tags []plc.TagSpec
	for _, name := range []string{"a", "b", "c", "d"} {
		tags = append(tags, plc.TagSpec{Tag: edgeagent.Tag{Name: name, Type: edgeagent.TypeUint32}})
	}
	return tags
}

func (b *board) Behave(how plctest.Behaviour) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.how = how
	for l := range b.lines {
		l.cut = l.cut || l.cold || how == plctest.HangingUp || how == plctest.Gone
		l.cold, l.end = how == plctest.HalfOpen, l.end || how == plctest.Ending
	}
	return true
}

func (b *board) Say(value func(string) uint32) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, t := range b.Tags() {
		if !b.bad[t.Name] {
			b.values[t.Name] = value(t.Name)
		}
	}
	for l := range b.lines {
		if l.lost = l.lost || b.how == plctest.Losing; b.how != plctest.Losing {
			l.news = append(l.news, maps.Clone(b.values))
		}
	}
}

func (b *board) Spoil(tag string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bad[tag] = true
	for l := range b.lines {
		l.news = append(l.news, maps.Clone(b.values))
	}
}

func (b *board) Delete(tag string) { b.Spoil(tag) }

func (b *board) Foreign() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.foreign
}

// dial waits for a server that is frozen as long as the caller does.
func (b *board) dial(ctx context.Context, patience time.Duration) (*line, error) {
	b.mu.Lock()
	how := b.how
	b.mu.Unlock()
	switch how {
	case plctest.Gone:
		return nil, plc.ErrUnreachable
	case plctest.Frozen:
		return nil, waitFor(ctx, patience)
	default:
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	l := &line{b: b, cut: how == plctest.Flapping}
	b.lines[l] = true
	return l, nil
}

func waitFor(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return plc.ErrSilent
	case <-ctx.Done():
		return ctx.Err()
	}
}

// look returns what there is on the line, and whether the server lives.
func (l *line) look() (news []map[string]uint32, lost, alive bool, err error) {
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	how := l.b.how
	switch {
	case l.cut:
		return nil, false, false, fmt.Errorf("%w: hung up", plc.ErrUnreachable)
	case l.cold, how == plctest.Frozen:
		return nil, false, false, nil
	case l.end:
		return nil, false, true, fmt.Errorf("%w: the subscription was ended", plc.ErrSilent)
	case how == plctest.Halted:
		return nil, false, true, errHalted
	case how == plctest.Mute:
		return nil, false, true, errMute
	case how == plctest.Flapping:
		l.cut = true
	case how == plctest.Slow && time.Now().UnixMilli()%300 != 0:
		return nil, false, false, nil
	}
	news, lost, l.news, l.lost = l.news, l.lost, nil, false
	return news, lost, true, nil
}

var (
	errHalted = fmt.Errorf("%w: it does not run", plc.ErrSilent)
	errMute   = fmt.Errorf("%w: it tells nothing", plc.ErrSilent)
)

// careless is what a subscriber does wrong.
type careless struct {
	newest, swaps, hides, costsAll, noConfirmation, cached, noGap, noReadAfterGap bool
	trustsCut, trustsState, trustsMute, trustsEnd, wrongError, patient, impatient bool
	deaf, late, leaks, writes, twice, upTwice, never, remembers, atOnce, sluggish bool
}

// hearer is a subscriber that does all that it must, but for its carelessness.
type hearer struct {
	careless
	b    *board
	last map[string]uint32 // of the episode before
}

const (
	hearerPatience = 2 * time.Second
	outlasts       = 24 * time.Hour // any check
)

func (h *hearer) patience() time.Duration {
	switch {
	case h.patient:
		return time.Hour
	case h.impatient:
		return 100 * time.Millisecond
	}
	return hearerPatience
}

func (h *hearer) sample(tag string, values map[string]uint32, bad map[string]bool) edgeagent.Sample {
	if bad[tag] && !h.hides || h.costsAll && len(bad) > 0 {
		return edgeagent.Sample{Tag: tag, Quality: edgeagent.QualityBad, At: time.Now(), Reason: edgeagent.NewNote(edgeagent.ReasonStatus, "bad")}
	}
	of := tag
	if h.swaps && tag == "a" {
		of = "b"
	}
	return edgeagent.Sample{Tag: tag, Quality: edgeagent.QualityGood, Value: edgeagent.Uint(uint64(values[of])), At: time.Now()}
}

func (h *hearer) samples(values map[string]uint32) []edgeagent.Sample {
	h.b.mu.Lock()
	defer h.b.mu.Unlock()
	var out []edgeagent.Sample
	for _, t := range h.b.Tags() {
		out = append(out, h.sample(t.Name, values, h.b.bad))
	}
	return out
}

func (h *hearer) read() map[string]uint32 {
	h.b.mu.Lock()
	defer h.b.mu.Unlock()
	return maps.Clone(h.b.values)
}

func (h *hearer) Fetch(ctx context.Context) ([]edgeagent.Sample, error) {
	if h.cached {
		return h.samples(h.last), nil
	}
	l, err := h.b.dial(ctx, hearerPatience)
	if err != nil {
		return nil, err
	}
	defer h.hangUp(l)
	return h.samples(h.read()), nil
}

func (h *hearer) hangUp(l *line) {
	h.b.mu.Lock()
	defer h.b.mu.Unlock()
	delete(h.b.lines, l)
}

func (h *hearer) Episode(ctx context.Context, tell func(plc.Heard)) error {
	if h.deaf {
		long, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		ctx = long
	}
	if h.remembers && h.last != nil { // what was true before is told as if it were
		tell(plc.Heard{Up: true, At: time.Now(), Samples: h.samples(h.last)})
	}
	if h.sluggish && h.last != nil {
		_ = waitFor(ctx, 20*time.Second)
	}
	l, err := h.b.dial(ctx, hearerPatience)
	if err != nil {
		return err
	}
	defer h.hangUp(l)
	if h.leaks {
		go func() { <-time.After(outlasts) }()
	}
	h.last = h.read()
	if !h.remembers {
		tell(plc.Heard{Up: !h.never, At: time.Now(), Samples: h.samples(h.last)})
	}
	if h.late {
		defer time.AfterFunc(time.Second, func() { tell(plc.Heard{At: time.Now()}) })
	}
	h.misbehave(tell)
	return h.listen(ctx, l, tell)
}

func (h *hearer) misbehave(tell func(plc.Heard)) {
	switch {
	case h.upTwice:
		tell(plc.Heard{Up: true, At: time.Now()})
	case h.twice:
		var both sync.WaitGroup
		for range 50 {
			both.Go(func() { tell(plc.Heard{At: time.Now(), Samples: h.samples(h.last)}) })
		}
		both.Wait()
	case h.writes:
		h.b.mu.Lock()
		h.b.foreign = append(h.b.foreign, "Write")
		h.b.mu.Unlock()
	}
}

func (h *hearer) listen(ctx context.Context, l *line, tell func(plc.Heard)) error {
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	heard := time.Now()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-look.C:
		}
		news, lost, alive, err := l.look()
		if err = h.believe(err, l); err != nil {
			return err
		}
		if time.Since(heard) > h.patience() {
			return fmt.Errorf("%w for %v", plc.ErrSilent, time.Since(heard))
		}
		if !alive {
			continue
		}
		heard = time.Now()
		h.tellNews(news, lost, tell)
	}
}

// believe is what a subscriber makes of bad news.
func (h *hearer) believe(err error, l *line) error {
	switch {
	case err == nil,
		h.trustsState && errors.Is(err, errHalted), h.trustsMute && errors.Is(err, errMute),
		h.trustsEnd && l.end, h.trustsCut && l.cut:
		return nil
	case h.wrongError:
		return errors.New("something")
	}
	return err
}

func (h *hearer) tellNews(news []map[string]uint32, lost bool, tell func(plc.Heard)) {
	if h.newest && len(news) > 1 {
		news = news[len(news)-1:]
	}
	if lost && !h.noReadAfterGap {
		news = append(news, h.read())
	}
	if h.atOnce {
		slices.Reverse(news)
	}
	for _, values := range news {
		h.last = values
		tell(plc.Heard{At: time.Now(), Samples: h.samples(values)})
	}
	alive := plc.Heard{At: time.Now(), Gap: lost && !h.noGap}
	if !h.noConfirmation {
		for _, s := range h.samples(h.last) {
			if s.Quality == edgeagent.QualityGood || h.hides {
				alive.Confirmed = append(alive.Confirmed, s.Tag)
			}
		}
	}
	tell(alive)
}

// found runs a check on a subscriber in a bubble and returns what it says.
func found(t *testing.T, c plctest.SubscriberCheck, wrong careless) (err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := newBoard()
		err = c.Run(t.Context(), &hearer{careless: wrong, b: b}, b, plctest.SubscriberOptions{})
		time.Sleep(2 * outlasts) // what was leaked must end with the bubble
	})
	return err
}

func TestCarefulSubscriberPasses(t *testing.T) {
	for _, c := range plctest.SubscriberChecks() {
		t.Run(c.Name, func(t *testing.T) {
			if err := found(t, c, careless{}); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestEveryCheckCatches is why its silence means anything: each check finds the
// subscriber out that it is there for.
func TestEveryCheckCatches(t *testing.T) {
	loss := func(b plctest.Behaviour) string { return "noticed, a gap, and got over: " + string(b) }
	const (
		changes, bad, gone, stands = "every change is told, in order", "a bad status costs its own tag", "a node that is deleted costs its own tag", "what stands is confirmed"
		fetch, gap, slow           = "all is fetched at once", "what the server lost is a gap, and read again", "slow is not dead"
		ends, endsFrozen, nothing  = "its context ends it, and nothing is told afterwards", "its context ends it though the server is frozen", "many connections leave nothing"
	)
	tests := []struct {
		name  string
		wrong careless
		by    string
	}{
		{"tells the newest of several", careless{newest: true}, changes},
		{"tells the newest first", careless{atOnce: true}, changes},
		{"takes one tag for another", careless{swaps: true}, changes},
		{"is never up", careless{never: true}, changes},
		{"is up twice", careless{upTwice: true}, changes},
		{"tells twice at the same time", careless{twice: true}, changes},
		{"writes", careless{writes: true}, changes},
		{"hides a bad status", careless{hides: true}, bad},
		{"all is bad with one", careless{costsAll: true}, bad},
		{"does not see what is deleted", careless{hides: true}, gone},
		{"all is gone with one", careless{costsAll: true}, gone},
		{"confirms nothing", careless{noConfirmation: true}, stands},
		{"fetches what it remembers", careless{cached: true}, fetch},
		{"says nothing of what is lost", careless{noGap: true}, gap},
		{"does not read what is lost", careless{noReadAfterGap: true}, gap},
		{"has no patience", careless{impatient: true}, slow},
		{"tells when it is over", careless{late: true}, ends},
		{"does not end", careless{deaf: true}, ends},
		{"does not end while nobody answers", careless{deaf: true, patient: true}, endsFrozen},
		{"leaves a goroutine", careless{leaks: true}, nothing},
		{"keeps a line that was cut", careless{trustsCut: true, patient: true}, loss(plctest.HangingUp)},
		{"comes back when it likes", careless{sluggish: true}, loss(plctest.HangingUp)},
		{"says something else of a cut", careless{wrongError: true}, loss(plctest.HangingUp)},
		{"waits for who is gone", careless{trustsCut: true, patient: true}, loss(plctest.Gone)},
		{"waits for the frozen", careless{patient: true}, loss(plctest.Frozen)},
		{"tells as new what it remembers", careless{remembers: true}, loss(plctest.Frozen)},
		{"waits on half a line", careless{patient: true}, loss(plctest.HalfOpen)},
		{"an answer is enough", careless{trustsMute: true}, loss(plctest.Mute)},
		{"does not look how the server is", careless{trustsState: true}, loss(plctest.Halted)},
		{"waits for what was ended", careless{trustsEnd: true}, loss(plctest.Ending)},
		{"keeps a line that flaps", careless{trustsCut: true, patient: true}, loss(plctest.Flapping)},
	}
	checks, caught := map[string]plctest.SubscriberCheck{}, map[string]bool{}
	for _, c := range plctest.SubscriberChecks() {
		checks[c.Name] = c
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, known := checks[tt.by]
			if !known {
				t.Fatalf("there is no check %q", tt.by)
			}
			err := found(t, c, tt.wrong)
			if err == nil {
				t.Errorf("%q did not find it", tt.by)
			}
			caught[tt.by] = true
			t.Log(err)
		})
	}
	for name := range checks {
		if !caught[name] {
			t.Errorf("check %q has nobody to catch", name)
		}
	}
}
