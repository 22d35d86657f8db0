package commission

import (
	"context"
	"errors"
	"fmt"
	"time"

	"edgeagent"
	"edgeagent/plc"
)

// ScanOptions bounds a [Scan].
type ScanOptions struct {
	FirstUnit, LastUnit uint8 // 0: 1 and 247
	UnitsOnly           bool  // find units, read no ranges
	Areas               []edgeagent.Area
	From, To            uint16 // addresses of each area; both 0: 0 to 9999
	Exact               bool   // units and addresses are meant as they stand, zeros too
	MaxRegisters        int    // per request; 0: 125
	MaxBits             int    // per request; 0: 2000
	NeverRead           []plc.AddressRange
	Pause               time.Duration // between requests
	// Thorough asks for every single address of what is refused. Otherwise runs
	// of fewer than eight addresses can be missed, for a sixth of the requests.
	Thorough bool
}

// The kinds of findings.
const (
	FoundUnit     = "unit"     // a unit answers
	FoundRange    = "range"    // addresses that can be read
	FoundNothing  = "nothing"  // an area of which nothing can be read, with the reason
	FoundProgress = "progress" // where the scan is; for people who wait
)

// Finding is one thing a scan has found out.
type Finding struct {
	Kind     string `json:"kind"`
	Unit     uint8  `json:"unit"`
	Area     string `json:"area,omitempty"`
	From     uint16 `json:"from"`
	To       uint16 `json:"to"`
	Text     string `json:"text"`
	Requests int    `json:"requests"` // sent so far
}

const (
	defaultTo   = 9999
	lastUnit    = 247
	leaf        = 16 // addresses of a refused block that are not halved any more
	silentTries = 3  // requests without an answer after which an area is given up
)

var allAreas = []edgeagent.Area{edgeagent.AreaHolding, edgeagent.AreaInput, edgeagent.AreaCoil, edgeagent.AreaDiscrete}

func (o ScanOptions) complete() ScanOptions {
	if o.FirstUnit == 0 && !o.Exact {
		o.FirstUnit = 1
	}
	if o.LastUnit == 0 && !o.Exact {
		o.LastUnit = lastUnit
	}
	if o.To == 0 && o.From == 0 && !o.Exact {
		o.To = defaultTo
	}
	if len(o.Areas) == 0 {
		o.Areas = allAreas
	}
	return o
}

// Scan finds the units that answer and the addresses that can be read from
// them, and tells each finding as it is made, from the caller's goroutine. It
// returns the context's error when that ends, and plc.ErrUnreachable when there
// is no connection at all; a unit that is silent is no error.
func Scan(ctx context.Context, ask Ask, o ScanOptions, tell func(Finding)) error {
	o = o.complete()
	if o.FirstUnit > o.LastUnit || o.From > o.To {
		return fmt.Errorf("scan units %d to %d, addresses %d to %d: a range begins behind its end", o.FirstUnit, o.LastUnit, o.From, o.To)
	}
	s := &scan{ScanOptions: o, asker: asker{ask: ask, pause: o.Pause}, tell: tell}
	probes := s.probes()
	if len(probes) == 0 {
		return fmt.Errorf("scan: every address from %d to %d is in a never_read range", o.From, o.To)
	}
	for unit := int(o.FirstUnit); unit <= int(o.LastUnit); unit++ {
		if err := s.unit(ctx, uint8(unit), probes); err != nil {
			return fmt.Errorf("scan unit %d: %w", unit, err)
		}
	}
	return nil
}

type scan struct {
	ScanOptions
	asker
	tell func(Finding)
}

// probes are the requests that find out whether a unit is there: the first
// address of the first areas that may be read. Two, because some devices drop
// what they do not know instead of refusing it.
func (s *scan) probes() []plc.Request {
	var out []plc.Request
	for _, area := range s.Areas {
		for at := int(s.From); at <= int(s.To) && len(out) < 2; at++ {
			if !forbidden(s.NeverRead, area, at, at+1) {
				out = append(out, plc.Request{Area: area, Offset: uint16(at), Quantity: 1})
				break
			}
		}
	}
	return out
}

func (s *scan) unit(ctx context.Context, unit uint8, probes []plc.Request) error {
	s.say(Finding{Kind: FoundProgress, Unit: unit, Text: fmt.Sprintf("asking unit %d", unit)})
	for _, probe := range probes {
		answer, err := s.send(ctx, unit, probe)
		switch {
		case err != nil:
			return err
		case fatal(answer.err):
			return answer.err
		case errors.Is(answer.err, edgeagent.ErrConflict):
			s.say(Finding{Kind: FoundNothing, Unit: unit, Text: fmt.Sprintf("unit %d: not asked: %v", unit, answer.err)})
			continue
		case !answer.answered():
			continue
		}
		s.say(Finding{Kind: FoundUnit, Unit: unit, Area: probe.Area.String(), From: probe.Offset, To: probe.Offset, Text: heard(unit, probe, answer)})
		if s.UnitsOnly {
			return nil
		}
		return s.areas(ctx, unit)
	}
	return nil
}

// fatal are the errors that the next request would meet, too.
func fatal(err error) bool {
	return errors.Is(err, plc.ErrUnreachable) || errors.Is(err, plc.ErrRefused)
}

func heard(unit uint8, probe plc.Request, answer reply) string {
	if e := exception(answer.err); e != nil {
		return fmt.Sprintf("unit %d answers; it refuses %v: %s", unit, probe, explain(e))
	}
	return fmt.Sprintf("unit %d answers", unit)
}

func (s *scan) areas(ctx context.Context, unit uint8) error {
	for _, area := range s.Areas {
		a := &areaScan{scan: s, unit: unit, area: area, most: limit(area, s.MaxRegisters, s.MaxBits)}
		if err := a.run(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (s *scan) say(f Finding) {
	f.Requests = s.sent
	s.tell(f)
}

// areaScan is the sweep over one area of one unit.
type areaScan struct {
	*scan
	unit   uint8
	area   edgeagent.Area
	most   int  // addresses per request, halved when the device proves to allow fewer
	open   bool // a readable run is open, from first to last
	first  int
	last   int
	found  bool
	silent int   // requests in a row without an answer
	over   error // why the area is given up
}

func (a *areaScan) run(ctx context.Context) error {
	for at := int(a.From); at <= int(a.To) && a.over == nil; {
		if forbidden(a.NeverRead, a.area, at, at+1) {
			at++
			continue
		}
		end := at + 1
		for end <= int(a.To) && end-at < a.most && !forbidden(a.NeverRead, a.area, end, end+1) {
			end++
		}
		a.say(Finding{Kind: FoundProgress, Unit: a.unit, Area: a.area.String(), From: uint16(at), To: uint16(end - 1),
			Text: fmt.Sprintf("unit %d: asking %s", a.unit, plc.AddressRange{Area: a.area, From: uint16(at), To: uint16(end - 1)})})
		if err := a.sweep(ctx, at, end); err != nil {
			return err
		}
		at = end
	}
	a.close()
	if a.over != nil && fatal(a.over) {
		return a.over
	}
	if !a.found {
		a.say(Finding{Kind: FoundNothing, Unit: a.unit, Area: a.area.String(), From: a.From, To: a.To, Text: a.nothing()})
	}
	return nil
}

func (a *areaScan) nothing() string {
	text := fmt.Sprintf("unit %d: nothing can be read from %s", a.unit, plc.AddressRange{Area: a.area, From: a.From, To: a.To})
	if a.over != nil {
		text += ": " + reason(a.over)
	}
	return text
}

// sweep finds what of [from, end) can be read: all of it in one request, or
// what its halves give.
func (a *areaScan) sweep(ctx context.Context, from, end int) error {
	ok, err := a.readable(ctx, from, end)
	switch {
	case err != nil || a.over != nil:
		return err
	case ok:
		a.add(from, end)
		return nil
	case end-from == 1:
		return nil
	case end-from <= leaf && !a.Thorough:
		if some, err := a.sample(ctx, from, end); err != nil || !some {
			return err
		}
	}
	return a.halves(ctx, from, end)
}

// halves sweeps both halves. If each could be read whole, the two together were
// refused for their length: later requests are shorter.
func (a *areaScan) halves(ctx context.Context, from, end int) error {
	middle := (from + end) / 2
	if err := a.sweep(ctx, from, middle); err != nil || a.over != nil {
		return err
	}
	first := a.open && a.last == middle && a.first <= from
	if err := a.sweep(ctx, middle, end); err != nil {
		return err
	}
	if first && a.open && a.last == end && a.first <= from {
		a.most = min(a.most, middle-from)
	}
	return nil
}

// sample asks the first, middle and last address of a small block that was
// refused as a whole: a run of half its length has one of them.
func (a *areaScan) sample(ctx context.Context, from, end int) (bool, error) {
	for _, at := range []int{from, (from + end) / 2, end - 1} {
		ok, err := a.readable(ctx, at, at+1)
		if ok || err != nil || a.over != nil {
			return ok, err
		}
	}
	return false, nil
}

func (a *areaScan) readable(ctx context.Context, from, end int) (bool, error) {
	answer, err := a.send(ctx, a.unit, plc.Request{Area: a.area, Offset: uint16(from), Quantity: uint16(end - from)})
	if err != nil {
		return false, err
	}
	e := exception(answer.err)
	switch {
	case answer.err == nil:
		a.silent = 0
		return true, nil
	case fatal(answer.err), e != nil && (e.Code == illegalFunction || !answer.answered()):
		a.over = answer.err
	case e != nil:
		a.silent = 0
	case errors.Is(answer.err, edgeagent.ErrConflict): // nothing was sent: some of it must never be read
	default:
		if a.silent++; a.silent >= silentTries {
			a.over = answer.err
		}
	}
	return false, nil
}

// add takes [from, end) into the open run, or closes that and begins another.
func (a *areaScan) add(from, end int) {
	if a.open && a.last == from {
		a.last = end
		return
	}
	a.close()
	a.open, a.first, a.last = true, from, end
}

func (a *areaScan) close() {
	if !a.open {
		return
	}
	a.open, a.found = false, true
	r := plc.AddressRange{Area: a.area, From: uint16(a.first), To: uint16(a.last - 1)}
	a.say(Finding{Kind: FoundRange, Unit: a.unit, Area: a.area.String(), From: r.From, To: r.To,
		Text: fmt.Sprintf("unit %d: %s can be read (%d)", a.unit, r, a.last-a.first)})
}
