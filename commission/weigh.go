package commission

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"edgeagent"
	"edgeagent/plc"
)

// weigh lists what was heard for a tag in every order, the configured one
// first, and says what follows from it.
func (x *examination) weigh(i int) {
	t, out, heard := &x.Tags[i], &x.report.Tags[i], x.heard[i]
	exact := heard.first[1]
	if exact == nil {
		out.Verdict = cmp.Or(out.Verdict, "not asked: the examination ended before")
		return
	}
	var again []byte
	if heard.again != nil && heard.again.err == nil {
		again = heard.again.data
	}
	for _, shift := range []int{0, -1, 1} {
		answer := heard.first[shift+1]
		if answer != nil && answer.err != nil && answer.answered() {
			out.refusedShifts = append(out.refusedShifts, shift)
		}
		if answer == nil || answer.err != nil {
			continue
		}
		if shift != 0 {
			again = nil
		}
		out.Readings = append(out.Readings, readings(t, shift, answer.data, again)...)
	}
	if exact.err != nil {
		out.Error = reason(exact.err)
		out.Verdict = x.refused(t, heard, out)
		return
	}
	out.Read = true
	out.Verdict, out.Suggest = verdict(t, out)
}

func readings(t *plc.TagSpec, shift int, data, again []byte) []Reading {
	var out []Reading
	for _, order := range ordersOf(t) {
		r := readAs(t, order, data, again)
		at := t.Addr
		at.Offset = uint16(int(at.Offset) + shift)
		r.Shift, r.Address = shift, at.String()
		if r.Configured = shift == 0 && same(t, order, t.Order); r.Configured {
			out = append([]Reading{r}, out...)
			continue
		}
		out = append(out, r)
	}
	return out
}

// refused says what the neighbours and the twin area tell of an address that
// the device refused.
func (x *examination) refused(t *plc.TagSpec, heard heardOf, out *TagReport) string {
	var hints []string
	for _, shift := range []int{-1, 1} {
		if answer := heard.first[shift+1]; answer != nil && answer.err == nil {
			at := t.Addr
			at.Offset = uint16(int(at.Offset) + shift)
			hints = append(hints, fmt.Sprintf("%s can be read: off by one?", at))
		}
	}
	if out.OtherArea {
		at := t.Addr
		at.Area = twin[at.Area]
		hints = append(hints, fmt.Sprintf("%s can be read: was that meant?", at))
	}
	if len(hints) == 0 {
		return "cannot be read: " + out.Error
	}
	return "cannot be read: " + out.Error + "; " + strings.Join(hints, "; ")
}

// verdict says what the readings of a tag prove. Another order is suggested
// only when it alone is plausible and the configured one is implausible; another
// address never, for a neighbour holds a value of its own.
func verdict(t *plc.TagSpec, out *TagReport) (string, edgeagent.ByteOrder) {
	if len(out.Readings) == 0 {
		return "nothing was read", ""
	}
	configured := out.Readings[0]
	var rivals, neighbours []Reading
	for _, r := range out.Readings[1:] {
		switch {
		case r.Plausibility != Plausible:
		case r.Shift == 0:
			rivals = append(rivals, r)
		default:
			neighbours = append(neighbours, r)
		}
	}
	here := fmt.Sprintf("%s gives %s (%s)", configured.Order, configured.Text, configured.Why)
	if t.Addr.Area.Bits() || t.Addr.Bit >= 0 {
		return fmt.Sprintf("reads %s; a bit cannot be judged", configured.Text), ""
	}
	switch {
	case configured.Plausibility == Plausible && len(rivals) == 0:
		return "plausible as configured: " + here, ""
	case configured.Plausibility == Plausible:
		return fmt.Sprintf("plausible as configured: %s; but so is %s: this value does not tell them apart", here, list(rivals)), ""
	case configured.Plausibility == Open && len(rivals) == 0:
		return here + ": this value decides nothing; look again when the machine runs", ""
	case configured.Plausibility == Open:
		return fmt.Sprintf("%s; %s would make more sense: nothing is concluded from this tag alone", here, list(rivals)), ""
	case len(rivals) == 1 && !asConfigured(t, neighbours):
		return fmt.Sprintf("%s, %s: probably %s", here, list(rivals), rivals[0].Order), rivals[0].Order
	case len(rivals) == 1:
		return fmt.Sprintf("%s; %s, but off by one %s: nothing is concluded from this tag alone", here, list(rivals), list(neighbours)), ""
	case len(rivals) > 1:
		return fmt.Sprintf("%s; %s are equally plausible: nothing is concluded", here, list(rivals)), ""
	case len(neighbours) > 0:
		return fmt.Sprintf("%s; no order makes sense of this address, but %s would: off by one?", here, list(neighbours)), ""
	default:
		return here + "; no order and no neighbour makes sense: another type, another address, or no value yet", ""
	}
}

// asConfigured reports whether a neighbour makes sense in the configured order:
// of values side by side, one with its words swapped looks like the right one
// an address further.
func asConfigured(t *plc.TagSpec, neighbours []Reading) bool {
	return slices.ContainsFunc(neighbours, func(r Reading) bool { return same(t, r.Order, t.Order) })
}

func list(readings []Reading) string {
	var out []string
	for _, r := range readings {
		where := ""
		if r.Shift != 0 {
			where = r.Address + " "
		}
		out = append(out, fmt.Sprintf("%s%s gives %s", where, r.Order, r.Text))
	}
	return strings.Join(out, ", ")
}
