package alarm

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"edgeagent"
)

// A number that nobody listed may be a counter that somebody took for a fault:
// after so many different ones in so long all others share one alarm, which
// clears when none has been seen for a while.
const (
	unlistedMost  = 20
	unlistedIn    = 10 * time.Minute
	unlistedQuiet = time.Minute
	unlistedAll   = "unlisted"
)

// code reads the number of the present fault.
type code struct {
	Code
	signal   *signal
	rows     map[int64]*rule
	unlisted *rule // of the one number without a row that is present, or of all of them
	stands   int64 // the number that it stands for
	all      bool  // it stands for all
	named    []time.Time
}

// fault asks for a number with a row.
type fault struct {
	*code
	number int64
}

func (f fault) answer() (holds, clears, known bool) {
	n, known := f.signal.number()
	holds = n == f.number && !slices.Contains(f.None, n)
	return holds, !holds, known
}

// stranger asks for numbers without a row.
type stranger struct{ *code }

func (s stranger) answer() (holds, clears, known bool) {
	n, known := s.signal.number()
	holds = s.isUnlisted(n) && (s.all || n == s.stands)
	return holds, !holds, known
}

func (c *code) isUnlisted(n int64) bool { return c.rows[n] == nil && !slices.Contains(c.None, n) }

// choose queues the rule of the number; the one of the number before is live.
func (c *code) choose(p *pass, _ *table) {
	n, whole := c.signal.number()
	if !whole {
		return
	}
	if r := c.rows[n]; r != nil {
		p.enqueue(r)
	}
	if !c.isUnlisted(n) {
		return
	}
	if !c.all && n != c.stands && c.unlisted.open != nil {
		p.look(c.unlisted) // it clears before it stands for another
	}
	if c.unlisted.open == nil {
		c.name(n, p.now)
	}
	p.enqueue(c.unlisted)
}

// name lets the unlisted alarm stand for a number, or for all if there were
// too many of late.
func (c *code) name(n int64, now time.Time) {
	c.named = slices.DeleteFunc(c.named, func(t time.Time) bool { return now.Sub(t) >= unlistedIn })
	switch {
	case c.stands == n && c.unlisted.Code != "" && !c.all:
	case len(c.named) >= unlistedMost:
		c.all, c.unlisted.OffDelay = true, unlistedQuiet
		c.unlisted.Code = unlistedCode(c.Tag, unlistedAll)
		c.unlisted.Text = fmt.Sprintf("more than %d unlisted numbers of %s in %v: is it a fault number?", unlistedMost, c.Tag, unlistedIn)
	default:
		c.named = append(c.named, now)
		c.stand(n)
	}
}

func (c *code) stand(n int64) {
	c.stands, c.all, c.unlisted.OffDelay = n, false, 0
	c.unlisted.Code = unlistedCode(c.Tag, strconv.FormatInt(n, 10))
	c.unlisted.Text = fmt.Sprintf("unlisted number %d of %s", n, c.Tag)
}

// adopts reports whether an alarm of before a restart is of a number without a
// row, and lets the unlisted alarm stand for it.
func (c *code) adopts(a edgeagent.Alarm) bool {
	what, ours := strings.CutPrefix(a.Code, unlistedCode(c.Tag, ""))
	if !ours || a.Device != c.Device || c.unlisted.open != nil {
		return false
	}
	if what == unlistedAll {
		c.unlisted.Code, c.all, c.unlisted.OffDelay = a.Code, true, unlistedQuiet
		return true
	}
	n, err := strconv.ParseInt(what, 10, 64)
	if err != nil || !c.isUnlisted(n) {
		return false
	}
	c.stand(n)
	return true
}

// addCode makes a rule of every row, and one for the numbers without.
func (e *Engine) addCode(def Code, plant *signals) error {
	s, err := plant.whole(def.Device, def.Tag)
	if err != nil {
		return fmt.Errorf("alarm code %s.%s: %w", def.Device, def.Tag, err)
	}
	c := &code{Code: def, signal: s, rows: map[int64]*rule{}}
	t := &table{signal: s, reader: c}
	add := func(q question) *rule {
		r := &rule{Rule: Rule{
			Device: def.Device, Line: def.Line, Area: def.Area, Priority: firstPriority(def.Priority),
			Context: def.Context, Diagnose: def.Diagnose, Safety: def.Safety,
		}, question: q, signals: []*signal{s}, table: t}
		t.rules = append(t.rules, r)
		return r
	}
	for _, row := range def.Rows {
		if c.rows[row.Number] != nil {
			return fmt.Errorf("alarm code %s.%s: number %d has two rows; keep one", def.Device, def.Tag, row.Number)
		}
		r := add(fault{c, row.Number})
		r.Code = unlistedCode(def.Tag, strconv.FormatInt(row.Number, 10))
		r.row(row)
		c.rows[row.Number] = r
	}
	c.unlisted = add(stranger{c})
	for _, r := range t.rules {
		e.add(r)
	}
	e.codes = append(e.codes, c)
	e.of(s.tag).tables = append(e.of(s.tag).tables, t)
	return nil
}
