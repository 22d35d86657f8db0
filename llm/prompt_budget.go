package llm

import (
	"maps"
	"slices"
	"strings"
)

// part is one list of the case that competes for the room of a prompt.
type part struct {
	name    string
	share   int                      // of the room beside rules and bare alarm, in percent
	weights func(v *view) []int      // of its items, the most important first
	keep    func(v *view, items int) // leaves so many of them, and counts the others
}

// parts have each a share that no other can take from it: a flood of alarms
// never costs the passage that names the cause. What a part leaves unused goes
// to the others, in this order.
var parts = []part{
	list("tags", 25, func(v *view) *[]viewTag { return &v.Tags }, func(o *omitted) *int { return &o.Tags }),
	list("passages", 27, func(v *view) *[]viewPassage { return &v.Passages }, func(o *omitted) *int { return &o.Passages }),
	list("before", 9, func(v *view) *[]viewBefore { return &v.Before }, func(o *omitted) *int { return &o.Before }),
	single("last_time", 6, func(v *view) **viewBefore { return &v.Alarms[0].LastTime }),
	single("source_text", 5, func(v *view) **string { return &v.Alarms[0].Source }),
	{"values", 5, weighValues, keepValues},
	list("gaps", 4, func(v *view) *[]string { return &v.Gaps }, nil),
	list("others", 7, func(v *view) *[]viewAlarm { return &v.others }, func(o *omitted) *int { return &o.Alarms }),
	list("moved_before", 7, func(v *view) *[]viewTag { return &v.Moved }, func(o *omitted) *int { return &o.Tags }),
	list("related", 5, func(v *view) *[]viewRelated { return &v.Related }, func(o *omitted) *int { return &o.Related }),
}

func list[T any](name string, share int, of func(*view) *[]T, lost func(*omitted) *int) part {
	weights := func(v *view) []int {
		var out []int
		for _, item := range *of(v) {
			out = append(out, weigh("", item))
		}
		return out
	}
	keep := func(v *view, items int) {
		all := of(v)
		v.lose(lost, len(*all)-items)
		*all = (*all)[:items]
	}
	return part{name, share, weights, keep}
}

// single is a part of one item, nil where there is none.
func single[T any](name string, share int, of func(*view) **T) part {
	weights := func(v *view) []int {
		if len(v.Alarms) == 0 || *of(v) == nil {
			return nil
		}
		return []int{weigh(name, *of(v))}
	}
	keep := func(v *view, items int) {
		if items == 0 && len(v.Alarms) > 0 {
			*of(v) = nil
		}
	}
	return part{name, share, weights, keep}
}

func weighValues(v *view) []int {
	if len(v.Alarms) == 0 {
		return nil
	}
	values := v.Alarms[0].Values
	var out []int
	for i, name := range slices.Sorted(maps.Keys(values)) {
		w := weigh(name, values[name])
		if i == 0 {
			w += weight(`"values":{},`)
		}
		out = append(out, w)
	}
	return out
}

func keepValues(v *view, items int) {
	if len(v.Alarms) == 0 {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(v.Alarms[0].Values))[items:] {
		delete(v.Alarms[0].Values, name)
	}
}

// weigh returns the weight of a value as it stands in the case, its key and a
// comma with it.
func weigh(key string, value any) int {
	w := weight(string(marshal(value))) + weightOf(',')
	if key != "" {
		w += weight(string(marshal(key))) + weightOf(':')
	}
	return w
}

// fit leaves of every part what fits into room, in twelfths of a token, and
// reports whether the bare alarm did.
func (v *view) fit(room int) bool {
	room -= v.bare()
	v.cutPassages(shareOf("passages", max(room, 0)))
	weights, kept, left := make([][]int, len(parts)), make([]int, len(parts)), room
	for i, p := range parts {
		weights[i] = p.weights(v)
		share := room * p.share / 100
		kept[i] = taken(weights[i], share)
		left -= sum(weights[i][:kept[i]])
	}
	for i := range parts {
		more := taken(weights[i][kept[i]:], left)
		left -= sum(weights[i][kept[i] : kept[i]+more])
		kept[i] += more
	}
	for i, p := range parts {
		p.keep(v, kept[i])
	}
	return room >= 0
}

// taken returns how many of the first weights room holds.
func taken(weights []int, room int) int {
	for i, w := range weights {
		if room -= w; room < 0 {
			return i
		}
	}
	return len(weights)
}

func sum(weights []int) int {
	s := 0
	for _, w := range weights {
		s += w
	}
	return s
}

func shareOf(name string, room int) int {
	i := slices.IndexFunc(parts, func(p part) bool { return p.name == name })
	return room * parts[i].share / 100
}

// bare returns the weight of a view with every part empty and the most omitted
// that can be.
func (v *view) bare() int {
	b := *v
	b.Alarms, b.Omitted = slices.Clone(v.Alarms), &omitted{}
	if v.Omitted != nil {
		*b.Omitted = *v.Omitted
	}
	if len(b.Alarms) > 0 {
		b.Alarms[0].Values = nil
	}
	for _, p := range parts {
		p.keep(&b, 0)
	}
	return weight(string(marshal(&b)))
}

// lose counts items that are left out; gaps are not counted.
func (v *view) lose(what func(*omitted) *int, n int) {
	if n <= 0 || what == nil {
		return
	}
	if v.Omitted == nil {
		v.Omitted = &omitted{}
	}
	*what(v.Omitted) += n
}

// leastWords of a passage are worth their room.
const leastWords = 20

// cutPassages shortens the passages, the last ones first, to their share.
func (v *view) cutPassages(share int) {
	for i := range v.Passages {
		p := &v.Passages[i]
		whole := strings.Fields(p.Text)
		for n := len(whole) - 1; weigh("", p) > share && n >= leastWords; n -= 4 {
			p.Text = strings.Join(whole[:n], " ") + " …"
		}
		share -= min(share, weigh("", p))
	}
}
