package commission

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"edgeagent"
	"edgeagent/plc"
)

// Subject is a device to be examined. Fields of zero are the defaults.
type Subject struct {
	Device                string
	Unit                  uint8
	Serial                bool // RTU frames: unit ids 0 and 255 are not tried, frames have a checksum
	Tags                  []plc.TagSpec
	MaxRegisters, MaxBits int
	NeverRead             []plc.AddressRange
	Pause                 time.Duration // between requests
	Again                 time.Duration // between the two reads of every tag; 0: 2 s
	// Sending is told each request before it goes out; nil for nobody.
	Sending func(Exchange)
}

const defaultAgain = 2 * time.Second

// Doctor examines a device: whether it is reached, whether its unit id answers,
// and for each tag what its address and its neighbours give in every byte
// order. It reads every tag twice and its neighbours once. The report holds
// what was found; the error is the context's alone, with the report so far.
func Doctor(ctx context.Context, ask Ask, d Subject) (*Report, error) {
	if d.Again == 0 {
		d.Again = defaultAgain
	}
	x := &examination{Subject: d, asker: asker{ask: ask, pause: d.Pause}, report: newReport(d)}
	err := x.run(ctx)
	for i := range x.heard {
		x.weigh(i)
	}
	x.report.Requests = x.sent
	x.report.conclude(d.Tags)
	if err != nil {
		return x.report, fmt.Errorf("examine device %q: %w", d.Device, err)
	}
	return x.report, nil
}

type examination struct {
	Subject
	asker
	report *Report
	heard  []heardOf // by tag
}

// heardOf is what the requests for one tag brought, by shift -1, 0 and 1.
type heardOf struct {
	first [3]*reply
	again *reply
}

func (x *examination) run(ctx context.Context) error {
	answers, err := x.reach(ctx)
	if err != nil || !answers {
		return err
	}
	x.heard = make([]heardOf, len(x.Tags))
	for i := range x.Tags {
		x.report.Tags = append(x.report.Tags, x.describe(&x.Tags[i]))
	}
	for i := range x.Tags {
		if err := x.examine(ctx, i); err != nil {
			return err
		}
	}
	return x.secondReads(ctx)
}

// reach finds out whether the device's unit answers, and which other does when
// it does not.
func (x *examination) reach(ctx context.Context) (bool, error) {
	probe, ok := x.probe()
	if !ok {
		x.report.Reach = "not asked: every tag lies in a never_read range"
		return false, nil
	}
	answer, _, err := x.exchange(ctx, x.Unit, probe)
	if err != nil {
		return false, err
	}
	switch {
	case answer.answered():
		x.report.Reachable, x.report.UnitAnswers = true, true
		x.report.Reach = fmt.Sprintf("unit %d answers", x.Unit)
		return true, nil
	case fatal(answer.err), errors.Is(answer.err, edgeagent.ErrConflict):
		x.report.Reach = reason(answer.err)
		return false, nil
	}
	x.report.Reachable = true
	x.report.Reach = fmt.Sprintf("unit %d does not answer: %s", x.Unit, reason(answer.err))
	return false, x.otherUnits(ctx, probe)
}

// probe is the request of the first tag that may be read, or of the first
// address that may be when there are no tags.
func (x *examination) probe() (plc.Request, bool) {
	for i := range x.Tags {
		if r, why := x.request(&x.Tags[i], 0); why == "" {
			return r, true
		}
	}
	for at := 0; len(x.Tags) == 0 && at < addressesPerArea; at++ {
		if !forbidden(x.NeverRead, edgeagent.AreaHolding, at, at+1) {
			return plc.Request{Area: edgeagent.AreaHolding, Offset: uint16(at), Quantity: 1}, true
		}
	}
	return plc.Request{}, false
}

func (x *examination) otherUnits(ctx context.Context, probe plc.Request) error {
	others := []uint8{1, 255, 0}
	if x.Serial {
		others = others[:1] // 0 is every device at once, 255 is no address
	}
	for _, unit := range others {
		if unit == x.Unit {
			continue
		}
		answer, _, err := x.exchange(ctx, unit, probe)
		if err != nil {
			return err
		}
		if fatal(answer.err) {
			return nil
		}
		try := UnitTry{Unit: unit, Answers: answer.answered()}
		if answer.err != nil {
			try.Error = reason(answer.err)
		}
		x.report.Units = append(x.report.Units, try)
	}
	return nil
}

// request is the exact request of a tag, shifted by so many addresses; and why
// it is not sent.
func (x *examination) request(t *plc.TagSpec, shift int) (plc.Request, string) {
	n, from := span(t), int(t.Addr.Offset)+shift
	switch {
	case t.Node != "":
		return plc.Request{}, "it is a node of an OPC UA server, which has neither base nor order"
	case n < 1 || n > limit(t.Addr.Area, x.MaxRegisters, x.MaxBits):
		return plc.Request{}, fmt.Sprintf("its %d addresses do not fit one request", n)
	case from < 0 || from+n > addressesPerArea:
		return plc.Request{}, "it reaches beyond the last address"
	case forbidden(x.NeverRead, t.Addr.Area, from, from+n):
		return plc.Request{}, "its address lies in a never_read range"
	}
	return plc.Request{Area: t.Addr.Area, Offset: uint16(from), Quantity: uint16(n)}, ""
}

// exchange sends one request, and shows its frame before.
func (x *examination) exchange(ctx context.Context, unit uint8, r plc.Request) (reply, Exchange, error) {
	e := Exchange{Unit: unit, Request: r.String(), Sent: frame(unit, r, x.Serial)}
	if x.Sending != nil {
		x.Sending(e)
	}
	answer, err := x.send(ctx, unit, r)
	if err != nil {
		return answer, e, err
	}
	e.Heard = heardFrame(unit, r, answer, x.Serial)
	if answer.err != nil {
		e.Error = reason(answer.err)
	}
	return answer, e, nil
}

func (x *examination) describe(t *plc.TagSpec) TagReport {
	order := t.Order
	if order == "" {
		order = edgeagent.OrderABCD
	}
	out := TagReport{Tag: t.Name, Address: t.Address, Type: t.Type, Order: order, Exchanges: []Exchange{}, Readings: []Reading{}}
	if t.Node == "" {
		out.Notations = t.Addr.Notations()
	}
	return out
}

// examine asks for a tag and, where they may be read, its neighbours.
func (x *examination) examine(ctx context.Context, i int) error {
	t, out := &x.Tags[i], &x.report.Tags[i]
	for _, shift := range []int{0, -1, 1} {
		r, why := x.request(t, shift)
		if why != "" {
			if shift == 0 {
				out.Verdict = "not asked: " + why
				return nil
			}
			continue
		}
		answer, e, err := x.exchange(ctx, x.Unit, r)
		if err != nil {
			return err
		}
		x.heard[i].first[shift+1] = &answer
		out.Exchanges = append(out.Exchanges, e)
		if shift == 0 && answer.err != nil && !answer.answered() {
			break // the neighbours of a silence are silent, too
		}
	}
	return x.otherArea(ctx, i)
}

// twin is the area that is most often meant instead.
var twin = map[edgeagent.Area]edgeagent.Area{
	edgeagent.AreaHolding: edgeagent.AreaInput, edgeagent.AreaInput: edgeagent.AreaHolding,
	edgeagent.AreaCoil: edgeagent.AreaDiscrete, edgeagent.AreaDiscrete: edgeagent.AreaCoil,
}

// otherArea asks the twin of an area when the device refused the tag's address.
func (x *examination) otherArea(ctx context.Context, i int) error {
	exact := x.heard[i].first[1]
	if exact == nil || exception(exact.err) == nil || !exact.answered() {
		return nil
	}
	other := x.Tags[i]
	other.Addr.Area = twin[other.Addr.Area]
	r, why := x.request(&other, 0)
	if why != "" {
		return nil
	}
	answer, e, err := x.exchange(ctx, x.Unit, r)
	if err != nil {
		return err
	}
	out := &x.report.Tags[i]
	out.Exchanges = append(out.Exchanges, e)
	out.OtherArea = answer.err == nil
	return nil
}

// secondReads asks for every tag that was read once more, a while later.
func (x *examination) secondReads(ctx context.Context) error {
	read := func(h heardOf) bool { return h.first[1] != nil && h.first[1].err == nil }
	if !slices.ContainsFunc(x.heard, read) {
		return nil
	}
	if err := wait(ctx, x.Again); err != nil {
		return err
	}
	for i := range x.Tags {
		if !read(x.heard[i]) {
			continue
		}
		r, _ := x.request(&x.Tags[i], 0)
		answer, e, err := x.exchange(ctx, x.Unit, r)
		if err != nil {
			return err
		}
		x.heard[i].again = &answer
		x.report.Tags[i].Exchanges = append(x.report.Tags[i].Exchanges, e)
	}
	return nil
}
