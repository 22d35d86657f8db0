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
	usable bool
	held   bool // not usable, but merely unanswered for less than stale_after
	unread bool // not usable, for nothing has been read since the start
	value  edgeagent.Value
	at     time.Time // of the sample
	known  time.Time // of the sample, or of the keep-alive that confirmed it
	fresh  time.Time // until then, without another of either

	// What expressions read: the one that the tag's kind asks for.
	float float64
	truth bool
	text  string

	from      edgeagent.Value // where the rate is measured from
	fromAt    time.Time
	rate      float64 // a second
	rateAsked bool
	rateKnown bool
}

// load takes over what the table knows of the tag, and reports whether a
// condition may rest on it.
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
	s.unread = r.Reason.Is(edgeagent.ReasonNeverRead)
	if !s.usable {
		s.held = r.Quality == edgeagent.QualityUncertain && r.Reason.Is(edgeagent.ReasonNoAnswer) && now.Before(s.fresh)
		if !s.held {
			s.fromAt, s.rateKnown = time.Time{}, false // a rate over a hole is no rate
		}
		return false
	}
	s.set(r.Value)
	if s.rateAsked && !known.Equal(s.known) {
		s.measure(known)
	}
	s.at, s.known = sampled, known
	return true
}

func (s *signal) fits(v edgeagent.Value) bool {
	return (kindOf(s.tag) == text) == (v.Kind() == edgeagent.KindString)
}

// set converts to what expressions read.
func (s *signal) set(v edgeagent.Value) {
	s.value = v
	if v.Kind() == edgeagent.KindString {
		s.text = v.String()
		return
	}
	s.float, _ = v.Float64()
	s.truth = s.float != 0
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
		s.rate, s.rateKnown = (y-x)/d.Seconds(), true
	}
	s.from, s.fromAt = s.value, at
}
