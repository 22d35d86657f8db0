package opcua

import (
	"time"

	"edgeagent"
)

// roster holds the tags of a subscription whose last value is not bad: a
// message of the subscription confirms that they have not changed since. Out
// of range values are confirmed, too, or a standing one would grow stale and
// silence its own alarm.
type roster struct {
	at    map[string]int // place in names
	names []string       // shared with readers: never written to once handed out
	lent  bool
	last  time.Time
}

// told notes a tag's newest sample.
func (r *roster) told(s edgeagent.Sample) {
	if r.at == nil {
		r.at = make(map[string]int)
	}
	place, in := r.at[s.Tag]
	if in == (s.Quality != edgeagent.QualityBad) {
		return
	}
	r.own()
	if !in {
		r.at[s.Tag] = len(r.names)
		r.names = append(r.names, s.Tag)
		return
	}
	last := len(r.names) - 1
	r.names[place] = r.names[last]
	r.at[r.names[place]] = place
	r.names = r.names[:last]
	delete(r.at, s.Tag)
}

// toldAll notes the newest samples of an item's tags and returns whether all of
// them are listed, which they are known to be where listed is true.
func (r *roster) toldAll(samples []edgeagent.Sample, listed bool) bool {
	good := true
	for i := range samples {
		good = good && samples[i].Quality != edgeagent.QualityBad
	}
	if good && listed {
		return true // as nearly always: a thousand times a second nothing is looked up
	}
	for i := range samples {
		r.told(samples[i])
	}
	return good
}

// own copies the names before they change, if somebody reads them.
func (r *roster) own() {
	if r.lent {
		r.names, r.lent = append([]string(nil), r.names...), false
	}
}

// confirmed returns the names at most once in every: values of a busy
// subscription need not be confirmed with each message. The same slice comes
// until the set changes.
func (r *roster) confirmed(now time.Time, every time.Duration) []string {
	if now.Sub(r.last) < every || len(r.names) == 0 {
		return nil
	}
	r.last, r.lent = now, true
	return r.names
}
