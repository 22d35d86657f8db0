package opcua

import (
	"sync"
	"time"

	"edgeagent"
	"edgeagent/plc"
)

const (
	// keepEach is how many values of a tag wait that is no measurement: of a bit
	// that went and came back, both changes count.
	keepEach = 10
	// maxWaiting is how many conditions wait, more than a whole refresh. They are
	// never dropped: a reader that is so late begins anew, with a refresh.
	maxWaiting = 3 * maxConditions
)

// mailbox stands between the server, which must be read at once, and the
// reader, which may be late. Of a measurement the last value wins; what was
// replaced is counted.
type mailbox struct {
	mu        sync.Mutex
	at        time.Time // of the newest
	samples   []edgeagent.Sample
	waiting   map[string]seat
	once      bool                    // no tag waits twice, and waiting is not written up yet
	confirmed map[uint32]confirmation // by subscription
	sets      []edgeagent.ConditionSet
	open      int // conditions in the sets
	gap       bool
	merged    uint64
	wake      chan struct{}
}

// confirmation keeps its own time: of a late reader's, what came since is no proof.
type confirmation struct {
	at    time.Time
	names []string
}

// seat is where a tag's newest sample waits, and how many of its wait.
type seat struct{ newest, count int }

func newMailbox() *mailbox {
	return &mailbox{waiting: make(map[string]seat), confirmed: make(map[uint32]confirmation), wake: make(chan struct{}, 1)}
}

// letter is what one answer of the server told.
type letter struct {
	at           time.Time
	samples      []edgeagent.Sample
	once         bool // no tag is told twice
	twice        bool // one is
	subscription uint32
	confirmed    []string
	sets         []edgeagent.ConditionSet
	gap          bool
}

// tell adds sets of conditions; what one notification tells is one set.
func (l *letter) tell(sets []edgeagent.ConditionSet) {
	for _, set := range sets {
		if n := len(l.sets); n > 0 && !set.Complete && !l.sets[n-1].Complete {
			l.sets[n-1].Conditions = append(l.sets[n-1].Conditions, set.Conditions...)
			continue
		}
		l.sets = append(l.sets, set)
	}
}

// put never waits. It reports false when the reader is hopelessly late.
func (m *mailbox) put(l letter) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.at = l.at
	m.addAll(l)
	if len(l.confirmed) > 0 {
		m.confirmed[l.subscription] = confirmation{l.at, l.confirmed}
	}
	m.sets = append(m.sets, l.sets...)
	for _, set := range l.sets {
		m.open += len(set.Conditions)
	}
	m.gap = m.gap || l.gap
	select {
	case m.wake <- struct{}{}:
	default:
	}
	return m.open <= maxWaiting
}

// addAll takes over the samples of a letter. Into an empty box, as it is with a
// reader who is not late, they go as they are.
func (m *mailbox) addAll(l letter) {
	if l.once && len(m.samples) == 0 {
		m.samples, m.once = l.samples, true
		return
	}
	if m.once && len(l.samples) > 0 {
		m.once = false
		for n := range m.samples {
			m.waiting[m.samples[n].Tag] = seat{newest: n, count: 1}
		}
	}
	for _, s := range l.samples {
		m.add(s)
	}
}

func (m *mailbox) add(s edgeagent.Sample) {
	p, known := m.waiting[s.Tag]
	if known && (p.count >= keepEach || s.Value.Kind() == edgeagent.KindFloat) {
		m.samples[p.newest] = s
		m.merged++
		return
	}
	m.waiting[s.Tag] = seat{newest: len(m.samples), count: p.count + 1}
	m.samples = append(m.samples, s)
}

// take empties the box. A tag is at most once in each message, so that its
// changes stay apart; they come in the order in which they were told.
func (m *mailbox) take() []plc.Heard {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []plc.Heard
	message := func(i int) *plc.Heard {
		for len(out) <= i {
			out = append(out, plc.Heard{At: m.at})
		}
		return &out[i]
	}
	if m.once && len(m.samples) > 0 {
		message(0).Samples = m.samples
	} else {
		m.spread(message)
	}
	if len(m.sets) > 0 || m.gap {
		message(0).Gap = m.gap
		message(len(out) - 1).Conditions = m.sets
	}
	for _, c := range m.confirmed {
		out = append(out, plc.Heard{At: c.at, Confirmed: c.names})
	}
	if len(out) == 0 && !m.at.IsZero() {
		message(0) // that it was heard at all
	}
	m.samples, m.once, m.sets, m.open, m.gap, m.at = nil, false, nil, 0, false, time.Time{}
	clear(m.waiting)
	clear(m.confirmed)
	return out
}

// spread gives each value of a tag a message of its own.
func (m *mailbox) spread(message func(int) *plc.Heard) {
	seen := make(map[string]int, len(m.waiting))
	for _, s := range m.samples {
		h := message(seen[s.Tag])
		h.Samples = append(h.Samples, s)
		seen[s.Tag]++
	}
}

// replaced returns how many samples a later one replaced.
func (m *mailbox) replaced() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.merged
}
