package alarm

import (
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"strings"

	"edgeagent"
)

// word reads the alarms out of packed bits.
type word struct {
	Word
	signal *signal
}

// bit asks for one of them.
type bit struct {
	*word
	mask uint32
}

func (b bit) answer() (holds, clears, known bool) {
	now, known := b.bits()
	set := now&b.mask != 0
	return set, !set, known
}

// bits returns the word as its manual numbers it: bit 0 is the manual's first.
// A value that is no word of that width says nothing.
func (w *word) bits() (uint32, bool) {
	n, whole := w.signal.number()
	if !whole || n < -1<<(w.Bits-1) || n >= 1<<w.Bits {
		return 0, false
	}
	v := uint32(n) & (1<<w.Bits - 1)
	switch w.Swap {
	case "bytes":
		v = v&0x00ff00ff<<8 | v&0xff00ff00>>8
	case "words":
		v = bits.RotateLeft32(v, 16)
	}
	return v, true
}

// choose queues the bits that are set; those that were and matter are live.
func (w *word) choose(p *pass, t *table) {
	set, _ := w.bits()
	for ; set != 0; set &= set - 1 {
		p.enqueue(t.rules[bits.TrailingZeros32(set)])
	}
}

// addWord makes a rule of every bit.
func (e *Engine) addWord(def Word, plant *signals) error {
	if err := def.check(); err != nil {
		return fmt.Errorf("alarm word %s.%s: %w", def.Device, def.Tag, err)
	}
	s, err := plant.whole(def.Device, def.Tag)
	if err != nil {
		return fmt.Errorf("alarm word %s.%s: %w", def.Device, def.Tag, err)
	}
	w := &word{Word: def, signal: s}
	t := &table{signal: s, reader: w}
	for k := range def.Bits {
		r := &rule{Rule: def.rule(k), question: bit{w, 1 << k}, signals: []*signal{s}, table: t}
		t.rules = append(t.rules, r)
		e.add(r)
	}
	e.of(s.tag).tables = append(e.of(s.tag).tables, t)
	return nil
}

func (w Word) check() error {
	switch {
	case w.Bits != 16 && w.Bits != 32:
		return fmt.Errorf("it has %d bits; 16 and 32 are words", w.Bits)
	case w.Swap != "" && w.Swap != "none" && w.Swap != "bytes" && w.Swap != "words":
		return fmt.Errorf("swap %q; want none, bytes or words", w.Swap)
	case w.Swap == "words" && w.Bits == 16:
		return errors.New("swap \"words\" wants 32 bits; this word has 16")
	}
	seen := map[int64]bool{}
	for _, row := range w.Rows {
		switch k := row.Number - int64(w.FirstBit); {
		case k < 0 || k >= int64(w.Bits):
			return fmt.Errorf("bit %d is not one of its bits %d to %d", row.Number, w.FirstBit, w.FirstBit+w.Bits-1)
		case seen[row.Number]:
			return fmt.Errorf("bit %d has two rows; keep one", row.Number)
		}
		seen[row.Number] = true
	}
	return nil
}

// rule defines the alarm of bit k, counted from the least significant.
func (w Word) rule(k int) Rule {
	number := int64(w.FirstBit + k)
	r := Rule{
		Device: w.Device, Line: w.Line, Area: w.Area, OnDelay: w.OnDelay, OffDelay: w.OffDelay,
		Code: unlistedCode(w.Tag, strconv.FormatInt(number, 10)), Text: fmt.Sprintf("unlisted bit %d of %s", number, w.Tag),
		Priority: firstPriority(w.Priority), Context: w.Context, Diagnose: w.Diagnose, Safety: w.Safety,
	}
	for _, row := range w.Rows {
		if row.Number == number {
			r.row(row)
		}
	}
	return r
}

// row takes over what a row says; what it leaves open stays.
func (r *Rule) row(t Text) {
	if t.Code != "" {
		r.Code = t.Code
	}
	if t.Text != "" {
		r.Text = t.Text
	} else {
		r.Text = r.Code
	}
	r.Priority, r.ActiveIn = firstPriority(t.Priority, r.Priority), t.ActiveIn
}

// unlistedCode is the code of what a table does not list.
func unlistedCode(tag, what string) string { return strings.ToUpper(tag) + "." + what }

// whole returns the signal of a tag that holds whole numbers.
func (p *signals) whole(device, name string) (*signal, error) {
	tags := p.device(device)
	tag, ok := tags.find(name)
	if !ok {
		return nil, errors.New(tags.unknown(name))
	}
	if kindOf(tag) != number || tag.Type == edgeagent.TypeFloat32 || tag.Type == edgeagent.TypeFloat64 {
		return nil, fmt.Errorf("its tag is a %s; want a whole number such as uint16", tag.Type)
	}
	return tags.signal(name), nil
}
