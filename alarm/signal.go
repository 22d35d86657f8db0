package alarm

import (
	"time"

	"edgeagent"
)

// rateOver is the least time that a rate is taken over: shorter ones are mostly
// noise of the scan.
const rateOver = time.Second

// signal is one tag that conditions rest on, shared by all of them.
type signal struct {
	tag    edgeagent.Tag
	env    map[string]any
	name   string // in env
	rate   string // in env; empty if nobody asks for it
	usable bool
	held   bool // not usable, but merely unanswered for less than stale_after
	value  edgeagent.Value
	at     time.Time // of the sample
	known  time.Time // of the sample, or of the keep-alive that confirmed it
	fresh  time.Time // until then, without another of either

	from      edgeagent.Value // where the rate is measured from
	fromAt    time.Time
	rateKnown bool
}

// load takes over what the table knows of the tag, and reports whether a
// condition may rest on it. The value is boxed only when it changes, so that an
// evaluation of a quiet plant allocates nothing here.
func (s *signal) load(v View, now time.Time) bool {
	r, ok := v.Reading(s.tag.Device, s.tag.Name)
	sampled := now
	if r.At != nil {
		sampled = *r.At
	}
	known := sampled
	if r.ConfirmedAt != nil && r.ConfirmedAt.After(sampled) {
		known = *r.ConfirmedAt
	}
	s.fresh = time.Time{}
	if s.tag.StaleAfter > 0 {
		s.fresh = known.Add(s.tag.StaleAfter + time.Millisecond)
	}
	s.usable, s.held = ok && r.Usable() && s.fits(r.Value), false
	if !s.usable {
		s.fromAt, s.rateKnown = time.Time{}, false // a rate over a hole is no rate
		s.held = r.Quality == edgeagent.QualityUncertain && r.Reason.Is(edgeagent.ReasonNoAnswer) && now.Before(s.fresh)
		return false
	}
	if _, boxed := s.env[s.name]; !boxed || !r.Value.Equal(s.value) {
		s.value = r.Value
		s.env[s.name] = s.box(r.Value)
	}
	if s.rate != "" && !known.Equal(s.known) {
		s.measure(known)
	}
	s.at, s.known = sampled, known
	return true
}

func (s *signal) fits(v edgeagent.Value) bool {
	return (kindOf(s.tag) == text) == (v.Kind() == edgeagent.KindString)
}

// box converts to what the expression was compiled for.
func (s *signal) box(v edgeagent.Value) any {
	f, _ := v.Float64()
	switch kindOf(s.tag) {
	case truth:
		return f != 0
	case text:
		return v.Any()
	default:
		return f
	}
}

// measure computes the rate a second from the last point that is at least
// rateOver ago; in between the rate stands.
func (s *signal) measure(at time.Time) {
	d := at.Sub(s.fromAt)
	if !s.fromAt.IsZero() && d < rateOver && d >= 0 {
		return
	}
	if !s.fromAt.IsZero() && d > 0 {
		x, _ := s.from.Float64()
		y, _ := s.value.Float64()
		s.env[s.rate], s.rateKnown = (y-x)/d.Seconds(), true
	}
	s.from, s.fromAt = s.value, at
}
