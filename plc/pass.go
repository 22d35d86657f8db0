package plc

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"edgeagent"
	"edgeagent/internal/retry"
)

const (
	busyTries = 3 // more, of a device that answers that it is busy
	busyWait  = 100 * time.Millisecond
	// busyWaits bounds the waits in a row that brought nothing: whoever shares
	// the connection must not stand behind a long plan of a device that is busy
	// all along.
	busyWaits = 10
	// narrowing bounds the requests that one pass spends on finding out what
	// exactly a device refuses; the next pass goes on from there.
	narrowing = 64
)

// pass is one way through (some of) the requests of a device.
type pass struct {
	ask     func(context.Context, Request) ([]byte, error)
	d       *asks
	classes []*class

	life int // the device's, when the pass began

	samples []edgeagent.Sample
	touched []int // the tags of samples
	sent    int
	budget  int
	waits   int   // for a busy device, since it last answered
	err     error // the first thing that went wrong
	failed  error // why the unit counts as not answering; ends the pass
	faulty  error // the device doubts itself
	got     bool  // at least one request was answered with values
	// unconfirmed is why the line is not believed; nothing more is asked for then.
	unconfirmed error
}

// run asks for the tags of the classes.
func (p *pass) run(ctx context.Context) {
	p.budget = narrowing
	p.reserve()
	for _, c := range p.classes {
		for _, r := range c.requests {
			if p.block(ctx, r); p.failed != nil {
				return
			}
		}
	}
	if p.unconfirmed == nil {
		p.askRefused(ctx)
	}
}

// reserve makes room for the samples of all requests at once.
func (p *pass) reserve() {
	tags := 0
	for _, c := range p.classes {
		for _, r := range c.requests {
			tags += len(r.Tags)
		}
	}
	p.samples, p.touched = make([]edgeagent.Sample, 0, tags), make([]int, 0, tags)
}

// block reads one request and everything its answer asks for. It reports
// whether none of its tags was refused.
func (p *pass) block(ctx context.Context, r Request) bool {
	if p.unconfirmed != nil {
		p.quarantine(r.Tags)
		return true
	}
	payload, err := p.read(ctx, r)
	switch judge(err) {
	case verdictGood:
		p.take(r, payload)
		return true
	case verdictRefused:
		p.blame(err)
		p.bisect(ctx, r, err)
		return false
	case verdictBusy:
		p.blame(err)
		p.hold(r.Tags, err)
	case verdictFaulty:
		p.blame(err)
		p.faulty = err
		p.hold(r.Tags, err)
	case verdictUnconfirmed:
		p.doubt(err)
		p.quarantine(r.Tags)
	default:
		p.blame(err)
		p.failed = err
	}
	return true
}

func (p *pass) doubt(err error) {
	p.blame(err)
	p.unconfirmed = err
}

func (p *pass) blame(err error) {
	if p.err == nil {
		p.err = err
	}
}

// read asks again, shortly, while the device says that it is busy.
func (p *pass) read(ctx context.Context, r Request) ([]byte, error) {
	for try := 0; ; try++ {
		payload, err := p.ask(ctx, r)
		if errors.Is(err, errOutOfService) {
			return nil, err // not sent
		}
		p.sent++
		if judge(err) != verdictBusy {
			p.waits = 0
			return payload, err
		}
		if try == busyTries || p.waits == busyWaits {
			return nil, err
		}
		p.waits++
		if retry.Sleep(ctx, busyWait) != nil {
			return nil, err
		}
	}
}

// bisect finds the tags of a refused block that the device refuses, so that
// one bad address does not cost the others.
func (p *pass) bisect(ctx context.Context, r Request, refused error) {
	left, right, ok := p.d.split(r.Tags)
	if !ok {
		p.refuse(ctx, r, refused)
		return
	}
	if p.budget < 2 {
		p.d.learnCut(p.d.request(right)) // the next pass goes on with the halves
		p.hold(r.Tags, refused)
		return
	}
	p.budget -= 2
	leftClean := p.block(ctx, p.d.request(left))
	if p.failed != nil {
		return
	}
	rightClean := p.block(ctx, p.d.request(right))
	if leftClean && rightClean && p.failed == nil && p.unconfirmed == nil && p.refusedAgain(ctx, r) {
		p.d.learnCut(p.d.request(right))
	}
}

// refusedAgain reports whether a block is refused once more though both its
// halves were answered: what was refused for a moment is to be read as before.
func (p *pass) refusedAgain(ctx context.Context, r Request) bool {
	if p.budget < 1 {
		return true
	}
	p.budget--
	_, err := p.read(ctx, r)
	switch judge(err) {
	case verdictRefused:
		return true
	case verdictFailed:
		p.failed = err
	case verdictUnconfirmed:
		p.doubt(err)
	default: // neither shows that it is to be cut
	}
	return false
}

// refuse books the tags of r, all at the same addresses, as refused.
func (p *pass) refuse(ctx context.Context, r Request, refused error) {
	e, _ := errors.AsType[*Exception](refused)
	address := p.narrow(ctx, r, e)
	if p.failed != nil {
		return
	}
	if p.unconfirmed != nil {
		p.quarantine(r.Tags)
		return
	}
	now := time.Now()
	note := edgeagent.NewNote(edgeagent.ReasonException, fmt.Sprintf("the PLC refuses %s: %v", address, refused),
		"code", strconv.Itoa(int(e.Code)), "address", address)
	p.d.refuse(r.Tags, note, now)
	for _, i := range r.Tags {
		p.deliverRefused(i, now)
	}
}

// narrow returns the exact address that is illegal: of a value of several
// registers perhaps only the last is.
func (p *pass) narrow(ctx context.Context, r Request, e *Exception) string {
	const illegalAddress = 2
	for e.Code == illegalAddress && r.Quantity > 1 && p.budget > 0 {
		p.budget--
		head := r
		head.Quantity = r.Quantity / 2
		_, err := p.read(ctx, head)
		switch judge(err) {
		case verdictGood:
			r.Offset, r.Quantity = r.Offset+head.Quantity, r.Quantity-head.Quantity
		case verdictRefused:
			r = head
		case verdictFailed:
			p.failed = err
			return ""
		case verdictUnconfirmed:
			p.doubt(err)
			return ""
		default:
			return r.addresses()
		}
	}
	return edgeagent.Address{Area: r.Area, Offset: r.Offset, Bit: -1}.String()
}

// askRefused asks again for refused tags whose time has come; the others keep
// their reason. When nothing else is left to be asked for it asks for one of
// them all the same, or nobody would notice that the device is gone. If that
// one is answered, the device refused all while its program was loaded: the
// others are not left waiting.
func (p *pass) askRefused(ctx context.Context) {
	now := time.Now()
	refused := p.d.refusedOf(p.classes)
	knock := p.knock(refused)
	for _, i := range refused {
		ref, still := p.d.refused[i]
		if !still || slices.Contains(p.touched, i) {
			continue
		}
		early := now.Before(ref.again)
		if early && i != knock {
			p.deliverRefused(i, now)
			continue
		}
		if p.askOnce(ctx, ref.with); p.failed != nil || p.unconfirmed != nil {
			return
		}
		if _, still := p.d.refused[i]; early && !still {
			p.d.accept(slices.Collect(maps.Keys(p.d.refused))) // of all classes
		}
	}
}

// knock returns which of the refused tags to ask for before its time, another
// one each time; -1 where something else was asked for.
func (p *pass) knock(refused []int) int {
	if p.sent > 0 || len(refused) == 0 {
		return -1
	}
	p.d.knocks++
	return refused[p.d.knocks%len(refused)]
}

func (p *pass) askOnce(ctx context.Context, tags []int) {
	r := p.d.request(tags)
	payload, err := p.read(ctx, r)
	switch judge(err) {
	case verdictGood:
		p.d.accept(tags)
		p.take(r, payload)
	case verdictRefused:
		p.blame(err)
		p.refuse(ctx, r, err)
	case verdictFailed:
		p.blame(err)
		p.failed = err
	case verdictUnconfirmed:
		p.doubt(err)
		p.quarantine(tags)
	default:
		p.blame(err)
		p.hold(tags, err)
	}
}

// refusedOf returns the refused tags of some classes, in the order of the tags.
func (a *asks) refusedOf(classes []*class) []int {
	var out []int
	for i := range a.refused {
		if slices.ContainsFunc(classes, func(c *class) bool { return c.period == a.tags[i].Scan }) {
			out = append(out, i)
		}
	}
	slices.Sort(out)
	return out
}

func (p *pass) deliverRefused(i int, now time.Time) {
	s := edgeagent.Sample{Tag: p.d.tags[i].Name, Quality: edgeagent.QualityBad, Reason: p.d.refused[i].note, At: now}
	p.d.last[i] = s
	p.deliver(i, s)
}

// deliverUnreadable says of the tags that no request may ask for why they have
// no value; once for every time that the device comes up.
func (p *pass) deliverUnreadable() {
	for i := range p.d.tags {
		if t := &p.d.tags[i]; !p.d.limits.readable(t) {
			p.deliver(i, p.d.unread(t))
		}
	}
}

// take decodes the answer to r for all its tags.
func (p *pass) take(r Request, payload []byte) {
	p.got = true
	now := time.Now()
	a := newAnswer(r, payload)
	for _, i := range r.Tags {
		s := a.sample(&p.d.tags[i])
		s.At = now
		p.d.last[i] = s
		p.deliver(i, s)
	}
}

// answer is what came for a request, in one slice for all the tags it serves.
type answer struct {
	from    int
	payload []byte   // of registers, as sent
	words   []uint16 // its registers, or one element a bit
}

func newAnswer(r Request, payload []byte) answer {
	a := answer{from: int(r.Offset), payload: payload}
	if !r.Area.Bits() {
		a.words = registers(payload)
		return a
	}
	a.words = make([]uint16, min(int(r.Quantity), 8*len(payload)))
	for i := range a.words {
		a.words[i] = uint16(payload[i/8]>>(i%8)) & 1
	}
	return a
}

// sample returns the tag's; a bad one if the tag is not in the answer.
func (a *answer) sample(t *TagSpec) edgeagent.Sample {
	from := int(t.Addr.Offset) - a.from
	end := from + t.span()
	if from < 0 || end > len(a.words) {
		return wrongSize(t, 0)
	}
	words := a.words[from:end:end]
	if t.Addr.Area.Bits() {
		return decodeBit(t, words)
	}
	return decode(t, a.payload[2*from:2*end], words)
}

// hold keeps the last values of tags that were not answered this time.
func (p *pass) hold(tags []int, cause error) {
	note := edgeagent.NewNote(edgeagent.ReasonNoAnswer, "last known value: "+cause.Error())
	for _, i := range tags {
		p.deliver(i, heldBack(p.d.last[i], note, edgeagent.QualityUncertain))
	}
}

// quarantine keeps the last values of tags while the line is out of step.
func (p *pass) quarantine(tags []int) {
	note := edgeagent.NewNote(edgeagent.ReasonQuarantined, "last known value: "+p.unconfirmed.Error())
	for _, i := range tags {
		p.deliver(i, heldBack(p.d.last[i], note, edgeagent.QualityUncertain))
	}
}

// heldBack is the last sample of a tag with at most the given quality. One
// that was bad already stays so, for its own reason.
func heldBack(last edgeagent.Sample, note *edgeagent.Note, grade edgeagent.Quality) edgeagent.Sample {
	if last.Quality == edgeagent.QualityBad && grade != edgeagent.QualityBad && !last.Reason.Is(edgeagent.ReasonNeverRead) {
		return last
	}
	last.Quality, last.Reason = min(last.Quality, grade), note
	return last
}

func (p *pass) deliver(i int, s edgeagent.Sample) {
	p.samples = append(p.samples, s)
	p.touched = append(p.touched, i)
}
