package alarm

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"edgeagent"
)

const (
	// serverMost is how many open alarms of one server are kept: whoever tells
	// of more is broken or hostile, and must not fill the agent's memory.
	serverMost = 1000
	// rememberedKeys and rememberedActivations bound what is kept of closed
	// ones, so that a replay raises nothing twice.
	rememberedKeys        = 4 * serverMost
	rememberedActivations = 4

	ackedByServer = "OPC UA server"

	maxServerText = 1000 // letters
	maxServerCode = 128
)

// server is what is known of the alarms that one OPC UA server tells of.
type server struct {
	Server
	open    int
	heard   bool      // a complete set has come since the engine was made
	lostAt  time.Time // what is open is lost then, unless a complete set comes before; zero: it is not
	raised  map[string][]episode
	refused uint64
}

// episode is one activation of a condition as its server told it. A time alone
// does not name it: clocks count in seconds, and some servers never touch a
// TransitionTime.
type episode struct {
	since time.Time
	told  time.Time // what was told of it last, by the server's clock
	over  bool      // that was its end, or came after it
}

// Refused returns how many activations of a server were not taken over, since
// the engine was made, because too many were open.
func (e *Engine) Refused(device string) uint64 {
	if s := e.servers[device]; s != nil {
		return s.refused
	}
	return 0
}

func serverKey(device, condition string) key {
	return key{origin: edgeagent.OriginServer, device: device, code: condition}
}

// conditions takes over what a server tells. A device in maintenance is not
// listened to; its next complete set says all.
func (p *pass) conditions(scan edgeagent.Scan) {
	s := p.engine.servers[scan.Device]
	if s == nil {
		return
	}
	if s.open > 0 && s.lostAt.IsZero() && unanswered(scan) {
		s.lostAt = p.now.Add(settling)
	}
	if p.engine.maintained[scan.Device] {
		return
	}
	for _, set := range scan.Conditions {
		for _, c := range set.Conditions {
			p.condition(s, c, set.Complete)
		}
		if set.Complete {
			p.complete(s, set)
		}
	}
}

// unanswered reports whether a scan says that the server did not answer.
func unanswered(scan edgeagent.Scan) bool {
	if len(scan.Conditions) > 0 || goodSince(scan, time.Time{}) {
		return false
	}
	return scan.Err != nil || slices.ContainsFunc(scan.Samples, func(s edgeagent.Sample) bool { return s.Reason.Is(edgeagent.ReasonNoAnswer) })
}

// condition follows one state of one condition. Refreshed is one that is told
// again, after a time in which nobody listened.
func (p *pass) condition(s *server, c edgeagent.Condition, refreshed bool) {
	if c.ActiveSince.IsZero() {
		c.ActiveSince = c.At
	}
	act := p.engine.active[serverKey(s.Device, c.Key())]
	if act != nil && s.stale(act, c) {
		return
	}
	if act != nil && s.renewed(act, c, refreshed) {
		p.replace(act)
		act = nil
	}
	known := act == nil && s.tellsAgain(c, refreshed)
	s.note(act, c)
	if act != nil && c.At.After(act.toldAt) {
		act.toldAt = c.At
	}
	switch {
	case act == nil && c.Active && !c.Gone && !known:
		p.begins(s, c, refreshed)
	case act == nil:
	case c.Gone && c.Acked && act.alarm.State == edgeagent.AlarmClearedUnacked:
		p.acknowledged(act, c)
	case c.Gone:
		p.ends(act, vanish, refreshed)
	case !c.Active:
		p.returns(act, c, refreshed)
	case act.alarm.State.Active():
		p.goesOn(s, act, c)
	}
}

// renewed reports whether an active condition is another activation than the
// open one: after one that ended, or one that began in a gap, later than all
// that was told of the open one. One that only grew worse goes on with its
// beginning; of one that has none nobody knows, and one job too few is better
// than one after each start.
func (s *server) renewed(act *activation, c edgeagent.Condition, refreshed bool) bool {
	if !c.Active || c.Gone {
		return false
	}
	if !act.alarm.State.Active() {
		return !s.tellsAgain(c, refreshed)
	}
	at := act.alarm.SourceAt
	return !c.Undated && at != nil && c.ActiveSince.After(*at) && c.ActiveSince.After(act.toldAt)
}

// replace closes an activation whose end nobody saw.
func (p *pass) replace(act *activation) {
	if act.alarm.State.Active() {
		p.ends(act, vanish, true)
		return
	}
	p.change(act, rise)
}

// begins raises an alarm.
func (p *pass) begins(s *server, c edgeagent.Condition, refreshed bool) {
	if s.open >= serverMost {
		p.refuse(s)
		return
	}
	s.remember(c, p.engine)
	since := c.ActiveSince.Round(0)
	a := edgeagent.Alarm{
		Device: s.Device, Line: s.Line, Area: s.Area, Code: plain(c.Code, maxServerCode), Text: plain(c.Text, maxServerText),
		SourceID: c.Key(), SourceAt: &since, Origin: edgeagent.OriginServer, Priority: firstPriority(c.Priority),
		Values: p.valuesOf(s), Observed: edgeagent.ObservedLive, Diagnose: s.Diagnose,
	}
	a.SourceText = a.Text
	for _, name := range []string{c.Name, c.Source, c.ID} {
		a.Code, a.Text = firstText(a.Code, plain(name, maxServerCode)), firstText(a.Text, plain(name, maxServerText))
	}
	if refreshed && !s.heard {
		a.Observed = edgeagent.ObservedAtStart
	}
	act, t := p.engine.begin(a, nil, p.now)
	act.toldAt = c.At
	t.Evidence = p.evidence(s.Line, s.Device, s.Context)
	p.out = append(p.out, t)
	p.acknowledged(act, c)
}

func firstText(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// valuesOf are the values of the server's context that are usable now.
func (p *pass) valuesOf(s *server) map[string]edgeagent.Value {
	out := map[string]edgeagent.Value{}
	for _, name := range s.Context {
		if r, ok := p.view.Reading(s.Device, name); ok && r.Usable() {
			out[s.Device+"."+name] = r.Value
		}
	}
	return out
}

// goesOn follows an activation that lasts.
func (p *pass) goesOn(s *server, act *activation, c edgeagent.Condition) {
	p.acknowledged(act, c)
	a := &act.alarm
	text := firstText(plain(c.Text, maxServerText), a.Text)
	changed := a.Priority != firstPriority(c.Priority) || a.Text != text || a.ValueLostSince != nil
	a.Priority, a.Text, a.ValueLostSince = firstPriority(c.Priority), text, nil
	if a.SourceText != "" || c.Text != "" {
		a.SourceText = text
	}
	// A server without a TransitionTime moves ActiveSince with every change:
	// the next refresh tells this one, not the first.
	if a.SourceAt == nil || c.ActiveSince.After(*a.SourceAt) {
		since := c.ActiveSince.Round(0)
		a.SourceAt, changed = &since, true
		s.remember(c, p.engine)
	}
	if changed {
		p.change(act, mark)
	}
}

// acknowledged follows the server's acknowledgement, in both directions.
func (p *pass) acknowledged(act *activation, c edgeagent.Condition) {
	switch state := act.alarm.State; {
	case c.Acked && state != edgeagent.AlarmAcked:
		act.alarm.AckedBy = ackedByServer
		p.change(act, acknowledge)
		p.out[len(p.out)-1].By = ackedByServer
	case !c.Acked && state == edgeagent.AlarmAcked:
		act.alarm.AckedAt, act.alarm.AckedBy = nil, ""
		p.change(act, unsee)
	}
}

// returns follows a condition that is not active any more.
func (p *pass) returns(act *activation, c edgeagent.Condition, refreshed bool) {
	p.acknowledged(act, c)
	if act.alarm.State.Active() {
		p.ends(act, fall, refreshed)
	}
}

// ends closes an activation; unseen is one whose end nobody saw.
func (p *pass) ends(act *activation, by event, unseen bool) {
	act.alarm.ValueLostSince = nil
	if unseen && act.alarm.State.Active() {
		act.alarm.Observed = edgeagent.ObservedAfterGap
	}
	p.change(act, by)
}

// complete closes what a refresh does not speak of: it ended while nobody
// listened.
func (p *pass) complete(s *server, set edgeagent.ConditionSet) {
	told := make(map[string]bool, len(set.Conditions))
	for _, c := range set.Conditions {
		told[c.Key()] = !c.Gone
	}
	for _, act := range p.engine.ofServer(s.Device) {
		switch {
		case !told[act.alarm.SourceID]:
			p.ends(act, vanish, true)
		case act.alarm.State.Active() && act.alarm.ValueLostSince != nil:
			act.alarm.ValueLostSince = nil
			p.change(act, mark)
		}
	}
	s.heard, s.lostAt = true, time.Time{}
	if k := outageKey(s.Device, edgeagent.CodeConditionsFull); s.open < serverMost && p.engine.isActive(k) {
		p.change(p.engine.active[k], fall)
	}
}

// ofServer returns the open alarms of a server, oldest first.
func (e *Engine) ofServer(device string) []*activation {
	return slices.DeleteFunc(e.byAge(), func(act *activation) bool {
		return act.alarm.Origin != edgeagent.OriginServer || act.alarm.Device != device
	})
}

// loseServer marks what a server has told and cannot be asked about any more.
func (p *pass) loseServer(device string) {
	s := p.engine.servers[device]
	if s == nil {
		return
	}
	s.lostAt = time.Time{}
	at := p.now.Round(0)
	for _, act := range p.engine.ofServer(device) {
		if act.alarm.State.Active() && act.alarm.ValueLostSince == nil {
			act.alarm.ValueLostSince = &at
			p.change(act, mark)
		}
	}
}

// refuse counts an activation that is not taken over, and says so once.
func (p *pass) refuse(s *server) {
	s.refused++
	k := outageKey(s.Device, edgeagent.CodeConditionsFull)
	if p.engine.isActive(k) {
		return
	}
	if seen := p.engine.active[k]; seen != nil {
		p.change(seen, rise)
	}
	p.own(edgeagent.Alarm{Device: s.Device, Code: edgeagent.CodeConditionsFull, Priority: outagePriority,
		Text: fmt.Sprintf("the OPC UA server of %s tells of more than %d open alarms; the others are not shown: raise min_severity or mend the server", s.Device, serverMost)})
}

// episode returns what is remembered of an activation, nil for one that was
// never raised.
func (s *server) episode(condition string, since time.Time) *episode {
	all := s.raised[condition]
	if i := slices.IndexFunc(all, func(e episode) bool { return !since.IsZero() && e.since.Equal(since) }); i >= 0 {
		return &all[i]
	}
	return nil
}

// tellsAgain reports whether an active condition that is not open is but told
// again: of a known activation, and not after what was told of it last. A
// complete set is what holds now, whatever was told before.
func (s *server) tellsAgain(c edgeagent.Condition, complete bool) bool {
	if s.leftBehind(c) {
		return true
	}
	e := s.episode(c.Key(), c.ActiveSince)
	return e != nil && !complete && (c.At.Before(e.told) || c.At.Equal(e.told) && !e.over)
}

// leftBehind reports whether a branch is a state that the trunk has left: of an
// activation that the trunk told, it is no other.
func (s *server) leftBehind(c edgeagent.Condition) bool {
	trunk := c
	trunk.Branch = ""
	return c.Branch != "" && s.episode(trunk.Key(), c.ActiveSince) != nil
}

// stale reports whether c is of an activation that a later one has replaced.
func (s *server) stale(act *activation, c edgeagent.Condition) bool {
	return act.alarm.SourceAt != nil && c.ActiveSince.Before(*act.alarm.SourceAt) && s.episode(c.Key(), c.ActiveSince) != nil
}

// note books what was told last of an activation.
func (s *server) note(act *activation, c edgeagent.Condition) {
	since := c.ActiveSince
	if act != nil && act.alarm.SourceAt != nil {
		since = *act.alarm.SourceAt
	}
	if e := s.episode(c.Key(), since); e != nil && !c.At.Before(e.told) {
		e.told, e.over = c.At, e.over || !c.Active || c.Gone
	}
}

// remember books an activation. It is known by when it began, not by what came
// last: the clock of a server may be set back.
func (s *server) remember(c edgeagent.Condition, e *Engine) {
	if len(s.raised) >= rememberedKeys {
		for id := range s.raised {
			if e.active[serverKey(s.Device, id)] == nil {
				delete(s.raised, id)
			}
		}
	}
	key, since := c.Key(), c.ActiveSince.Round(0)
	all := slices.DeleteFunc(s.raised[key], func(e episode) bool { return e.since.Equal(since) })
	all = append(all, episode{since: since, told: c.At})
	s.raised[key] = all[max(0, len(all)-rememberedActivations):]
}

// plain keeps at most so many letters of a server's text, without what steers a
// screen or a terminal.
func plain(text string, most int) string {
	text = strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar || unicode.Is(unicode.Cf, r) {
			return ' '
		}
		return r
	}, text[:min(len(text), 4*most)]))
	n := 0
	for i := range text {
		if n++; n > most {
			return text[:i]
		}
	}
	return text
}
