package exports

import (
	"fmt"
	"math"
	"strings"

	"edgeagent"
)

// Tag is one row of a tags_file.
type Tag struct {
	Line    int                 `json:"line"`   // of the export
	Source  string              `json:"source"` // the name in the export
	Name    string              `json:"name"`
	Address string              `json:"address"`
	Type    edgeagent.DataType  `json:"type"`
	Order   edgeagent.ByteOrder `json:"order,omitempty"`
	Length  int                 `json:"length,omitempty"` // registers of a string
	Index   *int                `json:"index,omitempty"`  // element of an OPC UA array
	Scaling *Scaling            `json:"scaling,omitempty"`
	EngUnit string              `json:"eng_unit,omitempty"`
	Comment string              `json:"comment,omitempty"`
}

// Scaling maps the raw range to the engineering range.
type Scaling struct {
	Raw   [2]float64 `json:"raw"`
	Eng   [2]float64 `json:"eng"`
	Clamp bool       `json:"clamp,omitempty"`
}

const maxText = 500

// take adds a tag when it can be read as it stands; else it is skipped.
func (in *reading) take(t Tag) {
	if why := t.check(); why != "" {
		in.skip(t.Line, t.Source, "%s", why)
		return
	}
	if t.Scaling != nil && t.Type == edgeagent.TypeBool {
		t.Scaling = nil
	}
	t.EngUnit = in.unit(t)
	t.Comment = oneLine(t.Comment, maxText)
	wanted := derive(t.Source)
	if wanted == "" {
		wanted = fmt.Sprintf("tag_%d", t.Line)
	}
	t.Name = in.names.claim(wanted)
	if t.Name != wanted {
		in.note("line %d: %s is named %s, because %s is taken", t.Line, oneLine(t.Source, 120), t.Name, wanted)
	}
	if t.Name != t.Source {
		in.renamed++
		t.Comment = strings.TrimSuffix(oneLine(t.Source, maxText)+": "+t.Comment, ": ")
	}
	if t.Order != "" {
		in.ordered++
	}
	in.result.Tags = append(in.result.Tags, t)
}

// unit returns the tag's unit, or none if the configuration would refuse it.
func (in *reading) unit(t Tag) string {
	unit := oneLine(t.EngUnit, maxText)
	if len(unit) > 32 {
		in.note("line %d: the unit of %s is longer than 32 bytes and left out", t.Line, oneLine(t.Source, 120))
		return ""
	}
	return unit
}

// check says why a tag cannot be read as it stands; empty if it can.
func (t Tag) check() string {
	if s := t.Scaling; s != nil {
		for _, f := range []float64{s.Raw[0], s.Raw[1], s.Eng[0], s.Eng[1]} {
			if math.IsNaN(f) || math.IsInf(f, 0) {
				return "its scaling is not of finite numbers"
			}
		}
		switch {
		case s.Raw[0] == s.Raw[1]:
			return "its raw range is one point: the scaling cannot be computed"
		case s.Eng[0] == s.Eng[1]:
			return "its scaled range is one point: every value would be the same"
		case t.Type == edgeagent.TypeString:
			return "a text cannot be scaled"
		}
	}
	if isNode(t.Address) {
		return ""
	}
	a, err := edgeagent.ParseAddress(t.Address, false)
	if err != nil {
		return err.Error()
	}
	return t.checkSpan(a)
}

func (t Tag) checkSpan(a edgeagent.Address) string {
	span := t.Type.Registers()
	switch {
	case a.Area.Bits() || a.Bit >= 0:
		if span = 1; t.Type != edgeagent.TypeBool {
			return fmt.Sprintf("the address is one bit, the type %s is not", t.Type)
		}
	case t.Type == edgeagent.TypeString:
		span = t.Length
	}
	if span < 1 || span > 125 {
		return fmt.Sprintf("%d registers do not fit one request of at most 125", span)
	}
	if int(a.Offset)+span > 1<<16 {
		return fmt.Sprintf("%d registers from %s on reach beyond the last address", span, t.Address)
	}
	return ""
}

func isNode(address string) bool {
	return strings.HasPrefix(address, "ns=") || strings.HasPrefix(address, "nsu=")
}

// modiconDigit is the first digit of the one-based notation.
var modiconDigit = map[edgeagent.Area]int{
	edgeagent.AreaCoil: 0, edgeagent.AreaDiscrete: 1, edgeagent.AreaInput: 3, edgeagent.AreaHolding: 4,
}

// modicon writes an address the way tag lists do: six digits, one-based. bit is
// -1 for none.
func modicon(area edgeagent.Area, offset, bit int) string {
	s := fmt.Sprintf("%d%05d", modiconDigit[area], offset+1)
	if bit >= 0 {
		s += fmt.Sprintf(".%d", bit)
	}
	return s
}
