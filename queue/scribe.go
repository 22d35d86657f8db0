package queue

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"edgeagent"
)

// A scribe writes what a raise stores as JSON, byte for byte as encoding/json
// does, in a fifth of its time and without garbage: in a storm that was a quarter
// of all. What is rare it leaves to encoding/json; a test fills every field there
// is, also one that comes to be, and compares.
type scribe struct {
	out []byte
	odd bool // encoding/json would refuse it: out is worth nothing
}

func (s *scribe) put(text string) { s.out = append(s.out, text...) }

// text writes a string behind what leads to it.
func (s *scribe) text(lead, v string) {
	s.put(lead)
	if !asItIs(v) {
		quoted, err := json.Marshal(v)
		s.out, s.odd = append(s.out, quoted...), s.odd || err != nil
		return
	}
	s.out = append(append(append(s.out, '"'), v...), '"')
}

// asItIs reports whether a text needs nothing but quotes. It looks at eight bytes
// at once, for it looks at every text of every raise.
func asItIs(v string) bool {
	for ; len(v) >= 8; v = v[8:] {
		if !plainWord(eightOf(v)) {
			return plainRunes(v)
		}
	}
	last := spaces
	for i := range len(v) {
		last = last<<8 | uint64(v[i])
	}
	return plainWord(last) || plainRunes(v)
}

// eightOf returns the first eight bytes of a text.
func eightOf(v string) uint64 {
	_ = v[7]
	return uint64(v[0]) | uint64(v[1])<<8 | uint64(v[2])<<16 | uint64(v[3])<<24 |
		uint64(v[4])<<32 | uint64(v[5])<<40 | uint64(v[6])<<48 | uint64(v[7])<<56
}

const (
	ones   uint64 = 0x0101010101010101
	tops   uint64 = ones << 7
	spaces uint64 = ones * ' '
)

// plainWord reports whether eight bytes are ASCII that JSON writes as it is. Of
// bytes below 128 adding 127 leaves the top bit clear to a zero alone; what differs
// in one bit is asked for together.
func plainWord(w uint64) bool {
	printable := w + (0x80*ones - spaces)
	quotes := (w&^(ones*('"'^'&')) ^ ones*'"') + ^tops
	angles := (w&^(ones*('<'^'>')) ^ ones*'<') + ^tops
	slashes := (w ^ ones*'\\') + ^tops
	return w&tops == 0 && printable&quotes&angles&slashes&tops == tops
}

// plainRunes reports whether a text is UTF-8 without what is escaped in JSON, which
// are also the two ends of lines that JavaScript does not bear in a string.
func plainRunes(v string) bool {
	for i, r := range v {
		switch r {
		case '"', '\\', '<', '>', '&', '\u2028', '\u2029':
			return false
		case utf8.RuneError:
			if _, size := utf8.DecodeRuneInString(v[i:]); size == 1 {
				return false
			}
		}
		if r < ' ' {
			return false
		}
	}
	return true
}

func (s *scribe) optionalText(lead, v string) {
	if v != "" {
		s.text(lead, v)
	}
}

func (s *scribe) whole(lead string, n int64) {
	s.put(lead)
	s.out = strconv.AppendInt(s.out, n, 10)
}

func (s *scribe) float(lead string, f float64) {
	s.put(lead)
	size := math.Abs(f)
	switch {
	case math.IsNaN(f) || math.IsInf(f, 0):
		s.odd = true
	case size != 0 && (size < 1e-6 || size >= 1e21):
		text, err := json.Marshal(f)
		s.out, s.odd = append(s.out, text...), s.odd || err != nil
	default:
		s.out = strconv.AppendFloat(s.out, f, 'f', -1, 64)
	}
}

func (s *scribe) optionalFloat(lead string, f *float64) {
	if f != nil {
		s.float(lead, *f)
	}
}

func (s *scribe) flag(lead string, b bool) {
	s.put(lead)
	s.out = strconv.AppendBool(s.out, b)
}

func (s *scribe) optionalFlag(lead string, b bool) {
	if b {
		s.flag(lead, b)
	}
}

func (s *scribe) time(lead string, t time.Time) {
	s.put(lead)
	if out, err := t.AppendText(append(s.out, '"')); err == nil {
		s.out = append(out, '"')
		return
	}
	s.odd = true
}

// timeOrNull writes null for a time that is not there.
func (s *scribe) timeOrNull(lead string, t *time.Time) {
	if t == nil {
		s.put(lead)
		s.put("null")
		return
	}
	s.time(lead, *t)
}

func (s *scribe) optionalTime(lead string, t *time.Time) {
	if t != nil {
		s.time(lead, *t)
	}
}

func (s *scribe) value(v edgeagent.Value) {
	f, number := v.Float64()
	switch {
	case v.IsNone() || !v.Finite():
		s.put("null")
	case v.Kind() == edgeagent.KindString:
		s.text("", v.String())
	case v.Kind() == edgeagent.KindBool:
		s.flag("", f == 1)
	case v.Kind() == edgeagent.KindFloat:
		s.float("", f)
	case number && math.Abs(f) < 1<<53: // as far as JSON's readers and f are exact
		s.whole("", int64(f))
	default:
		text, err := v.MarshalJSON()
		s.out, s.odd = append(s.out, text...), s.odd || err != nil
	}
}

// each writes a list, null for none.
func each[T any](s *scribe, lead string, all []T, one func(*T)) {
	s.put(lead)
	if all == nil {
		s.put("null")
		return
	}
	s.put("[")
	for i := range all {
		if i > 0 {
			s.put(",")
		}
		one(&all[i])
	}
	s.put("]")
}

// eachOrEmpty writes a list that is never null.
func eachOrEmpty[T any](s *scribe, lead string, all []T, one func(*T)) {
	if all == nil {
		s.put(lead)
		s.put("[]")
		return
	}
	each(s, lead, all, one)
}

func (s *scribe) textsOrEmpty(lead string, all []string) { eachOrEmpty(s, lead, all, s.item) }

func (s *scribe) item(v *string) { s.text("", *v) }

// named writes a map in the order of its keys, null for none.
func named[V any](s *scribe, lead string, all map[string]V, one func(V)) {
	s.put(lead)
	if all == nil {
		s.put("null")
		return
	}
	s.put("{")
	var few [8]string
	for i, name := range sorted(few[:0], all) {
		if i > 0 {
			s.put(",")
		}
		s.text("", name)
		s.put(":")
		one(all[name])
	}
	s.put("}")
}

// sorted appends the keys of a map in their order: a few need no garbage.
func sorted[V any](names []string, all map[string]V) []string {
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (s *scribe) note(lead string, n *edgeagent.Note) {
	s.put(lead)
	if n == nil {
		s.put("null")
		return
	}
	s.text(`{"code":`, n.Code)
	if len(n.Params) > 0 {
		named(s, `,"params":`, n.Params, func(v string) { s.text("", v) })
	}
	s.text(`,"text":`, n.Text)
	s.put("}")
}
