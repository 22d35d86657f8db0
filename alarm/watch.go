package alarm

import (
	"slices"

	"edgeagent"
)

// watch is what is looked at when a tag was read.
type watch struct {
	rules  []*rule // by expressions
	rated  []*rule // those that rest on the tag's rate
	tables []*table
	lines  []*lineModes
}

// of returns the watch of a tag, which is made if there is none.
func (e *Engine) of(t edgeagent.Tag) *watch {
	if e.watches[t.Device] == nil {
		e.watches[t.Device] = map[string]*watch{}
	}
	w := e.watches[t.Device][t.Name]
	if w == nil {
		w = &watch{}
		e.watches[t.Device][t.Name] = w
	}
	return w
}

// watchRule lets the tags of a rule call it. The rules of a table are called by
// the table, for the bits that matter alone.
func (e *Engine) watchRule(r *rule) {
	if r.table != nil {
		return
	}
	for _, s := range r.signals {
		w := e.of(s.tag)
		w.rules = append(w.rules, r)
		if s.rateAsked {
			w.rated = append(w.rated, r)
			e.rated[r.Device] = true
		}
	}
}

// read queues what rests on the tags of a scan. Lines come first: a mode that
// begins with this scan mutes what it brings.
func (p *pass) read(scan edgeagent.Scan) {
	of := p.engine.watches[scan.Device]
	if of == nil {
		return
	}
	for _, s := range scan.Samples {
		if w := of[s.Tag]; w != nil {
			p.lines(w.lines)
		}
	}
	for _, s := range scan.Samples {
		w := of[s.Tag]
		if w == nil {
			continue
		}
		p.enqueue(w.rules...)
		for _, t := range w.tables {
			t.read(p)
		}
	}
	p.confirm(scan, of)
}

// confirm queues what a keep-alive may change: a rate goes to zero while the
// value stands, and what was lost is found again. Nothing else can change.
func (p *pass) confirm(scan edgeagent.Scan, of map[string]*watch) {
	if len(scan.Confirmed) == 0 {
		return
	}
	for r := range p.engine.live {
		if r.Device == scan.Device && r.open != nil && r.open.alarm.ValueLostSince != nil {
			p.enqueue(r)
		}
	}
	if !p.engine.rated[scan.Device] {
		return
	}
	for _, name := range scan.Confirmed {
		if w := of[name]; w != nil {
			p.lines(w.lines)
			p.enqueue(w.rated...)
		}
	}
}

// note keeps the rules for which time alone may change something, so that
// neither Next nor Tick has to ask thousands of quiet ones.
func (e *Engine) note(r *rule) {
	live := r.awaits()
	if live == r.live {
		return
	}
	r.live = live
	if live {
		e.live[r] = struct{}{}
	} else {
		delete(e.live, r)
	}
	if r.table != nil {
		r.table.note(r)
	}
}

// table is what words and codes have in common: one tag, and an alarm for each
// of many things that its value can say.
type table struct {
	signal *signal
	rules  []*rule
	live   []*rule // of rules: open or about to be
	reader interface {
		// choose queues the rules that the value concerns.
		choose(p *pass, t *table)
	}
	seen bool // all rules had their first look
}

// read queues what a reading of the tag can change: what the value concerns,
// and what is open.
func (t *table) read(p *pass) {
	p.enqueue(t.live...)
	if !t.signal.load(p.view, p.now) {
		return
	}
	if !t.seen {
		t.seen = true
		p.enqueue(t.rules...)
	}
	t.reader.choose(p, t)
}

func (t *table) note(r *rule) {
	if r.live {
		t.live = append(t.live, r)
		return
	}
	t.live = slices.DeleteFunc(t.live, func(o *rule) bool { return o == r })
}

// number returns the signal's value as a whole number.
func (s *signal) number() (int64, bool) {
	f, ok := s.value.Float64()
	if !ok || f != float64(int64(f)) || f < -1<<53 || f > 1<<53 {
		return 0, false
	}
	return int64(f), true
}
