package commission

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"edgeagent"
	"edgeagent/plc"
)

// Hypothesis is one way of reading a device: every value in this order, every
// address shifted by so many.
type Hypothesis struct {
	Order   edgeagent.ByteOrder `json:"order"`
	Shift   int                 `json:"shift"`
	For     int                 `json:"for"`     // tags that are plausible under it
	Against []string            `json:"against"` // tags that are not

	open int // tags that are neither: they do not speak for it, and do not rule it out
}

// String writes the hypothesis in words.
func (h Hypothesis) String() string {
	switch h.Shift {
	case 0:
		return fmt.Sprintf("order %s at the configured addresses", h.Order)
	case 1:
		return fmt.Sprintf("order %s one address further", h.Order)
	default:
		return fmt.Sprintf("order %s one address before", h.Order)
	}
}

// conclude weighs all tags of more than one register together: one value seldom
// tells an order from another, several do. A hypothesis stands only when no tag
// contradicts it, and is concluded only when it stands alone.
func (r *Report) conclude(tags []plc.TagSpec) {
	weighed := 0
	own := ownOrders{stand: true}
	hypotheses := newHypotheses()
	for i := range r.Tags {
		if r.Tags[i].Read && len(ordersOf(&tags[i])) == len(orders) && tells(r.Tags[i].Readings) {
			weighed++
			weighTag(&r.Tags[i], hypotheses)
			own.weigh(r.Tags[i].Readings[0])
		}
	}
	if weighed == 0 {
		if slices.ContainsFunc(r.Tags, func(t TagReport) bool { return t.Read }) {
			r.say("no tag tells the byte orders apart: none is concluded")
		}
		return
	}
	slices.SortStableFunc(hypotheses, func(a, b Hypothesis) int {
		return cmp.Or(cmp.Compare(len(a.Against), len(b.Against)), cmp.Compare(b.For, a.For))
	})
	r.Ranking = hypotheses
	r.judgeRanking(weighed, own.mixed && own.stand)
}

// ownOrders is the hypothesis that tags of one device have different orders, as
// they are configured.
type ownOrders struct {
	first        edgeagent.ByteOrder
	mixed, stand bool
}

func (o *ownOrders) weigh(configured Reading) {
	if o.first == "" {
		o.first = configured.Order
	}
	o.mixed = o.mixed || configured.Order != o.first
	o.stand = o.stand && configured.Plausibility == Plausible
}

func newHypotheses() []Hypothesis {
	var out []Hypothesis
	for _, shift := range []int{0, -1, 1} {
		for _, order := range orders {
			out = append(out, Hypothesis{Order: order, Shift: shift, Against: []string{}})
		}
	}
	return out
}

// tells reports whether a tag's readings differ in plausibility at all.
func tells(readings []Reading) bool {
	has := map[Plausibility]bool{}
	for _, x := range readings {
		has[x.Plausibility] = true
	}
	return has[Plausible] && has[Implausible]
}

// weighTag books what a tag says of every hypothesis. An address that was
// refused cannot be the tag's; one that was not asked says nothing.
func weighTag(t *TagReport, hypotheses []Hypothesis) {
	for i := range hypotheses {
		h := &hypotheses[i]
		at := slices.IndexFunc(t.Readings, func(x Reading) bool { return x.Shift == h.Shift && x.Order == h.Order })
		switch {
		case at < 0 && slices.Contains(t.refusedShifts, h.Shift):
			h.Against = append(h.Against, t.Tag)
		case at < 0:
		case t.Readings[at].Plausibility == Implausible:
			h.Against = append(h.Against, t.Tag)
		case t.Readings[at].Plausibility == Plausible:
			h.For++
		default:
			h.open++
		}
	}
}

const shownDissent = 5

func (r *Report) judgeRanking(weighed int, own bool) {
	best := r.Ranking[0]
	var standing, open []string
	if own {
		standing = append(standing, "each tag's own order as configured")
	}
	if len(best.Against) > 0 && !own {
		dissent := best.Against[:min(len(best.Against), shownDissent)]
		r.say("nothing explains all %d tags that tell orders apart; %s comes closest, but not %s (%d): look at their types",
			weighed, best, strings.Join(dissent, ", "), len(best.Against))
		return
	}
	for _, h := range r.Ranking {
		switch {
		case len(h.Against) > 0:
		case h.For > 0:
			standing = append(standing, h.String())
		case h.open > 0 && h.Shift == 0:
			open = append(open, h.String())
		}
	}
	switch {
	case len(standing) == 0:
		r.say("no order makes sense of any tag: look at addresses and types")
	case len(standing) == 1 && len(open) > 0:
		r.say("%s makes most sense of the %d tags that tell orders apart, but these are not ruled out: %s: nothing is concluded; compare one value with the machine's panel",
			standing[0], weighed, strings.Join(open, "; "))
	case len(standing) == 1:
		r.say("%s alone explains all %d tags that tell orders apart", standing[0], weighed)
	default:
		r.say("%d tags tell orders apart, and these explain all of them equally well: %s: nothing is concluded; compare one value with the machine's panel",
			weighed, strings.Join(standing, "; "))
	}
}

func (r *Report) say(format string, args ...any) {
	r.Conclusions = append(r.Conclusions, fmt.Sprintf(format, args...))
}
