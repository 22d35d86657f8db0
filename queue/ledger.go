package queue

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"edgeagent"
)

// ErrCap is returned by [DB.Reserve] when the day's cap would be passed.
var ErrCap = errors.New("daily cap reached")

// ledgerDays is how many days are remembered: a box without a clock battery
// spends its first minute in another year and must find today again.
const ledgerDays = 8

// ledger counts money. It is asked before every call to a provider, so it lives
// in memory; what it knows is written with the commits that end a lease.
type ledger struct {
	mu       sync.Mutex
	location *time.Location
	capUSD   float64
	days     map[string]float64       // local day → spent
	reserved map[edgeagent.ID]float64 // calls under way, worst case
	settled  map[edgeagent.ID]float64 // of the running lease
	limits   map[edgeagent.ID]float64 // of jobs that are reviewed: what that may cost
	refused  float64                  // what the cap of the day left no room for last
	latest   string                   // the day that was counted last
	version  uint64                   // rises with days
	saved    uint64
}

func (l *ledger) configure(o Options) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.location, l.capUSD = o.Location, o.DailyCapUSD
	if l.days == nil {
		l.days, l.reserved, l.settled = make(map[string]float64), make(map[edgeagent.ID]float64), make(map[edgeagent.ID]float64)
		l.limits = make(map[edgeagent.ID]float64)
	}
}

// Reserve sets aside what a call may cost at worst, in US dollars. It returns
// ErrCap when reserved and spent money of the local day would pass the cap.
func (db *DB) Reserve(job edgeagent.ID, usd float64) error {
	l := &db.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	total := l.days[l.today()] + usd
	for _, r := range l.reserved {
		total += r
	}
	if l.capUSD > 0 && usd > 0 && total > l.capUSD {
		l.refused = usd
		return fmt.Errorf("%w: %.4f of %.2f USD would be used", ErrCap, total, l.capUSD)
	}
	if limit, reviewed := l.limits[job]; reviewed && usd > 0 && l.reserved[job]+l.settled[job]+usd > limit {
		return fmt.Errorf("%w: a review of this job may cost %.4f USD", ErrCap, limit)
	}
	l.reserved[job] += usd
	return nil
}

// limit bounds what calls for a job may cost from now on, in US dollars.
func (l *ledger) limit(job edgeagent.ID, usd float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.limits[job] = usd
}

// unlimit ends that. What it returns takes that back.
func (l *ledger) unlimit(job edgeagent.ID) (undo func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	usd, limited := l.limits[job]
	delete(l.limits, job)
	return func() {
		if limited {
			l.limit(job, usd)
		}
	}
}

// day returns the local day to count by.
func (l *ledger) day() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.today()
}

// Settle ends a reservation with what the call did cost, in US dollars.
func (db *DB) Settle(job edgeagent.ID, reserved, actual float64) {
	l := &db.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.reserved[job] -= reserved; l.reserved[job] <= 1e-12 {
		delete(l.reserved, job)
	}
	l.settled[job] += actual
	l.add(actual)
}

// Spend returns what the local day has cost so far.
func (db *DB) Spend() edgeagent.SpendStatus {
	l := &db.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	today := l.days[l.today()]
	return edgeagent.SpendStatus{TodayUSD: today, DailyCapUSD: l.capUSD, Capped: l.capUSD > 0 && l.refused > 0 && today+l.refused > l.capUSD}
}

// endLease books whatever the calls of a lease cost beyond what was settled.
// What it returns takes that back, for a commit that fails.
func (l *ledger) endLease(job edgeagent.ID, cost float64) (undo func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	settled, day, extra := l.settled[job], l.today(), max(0, cost-l.settled[job])
	l.add(extra)
	delete(l.settled, job)
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.days[day] -= extra
		l.settled[job] = settled
	}
}

// book adds what was spent without anybody having counted it. What it returns
// takes that back.
func (l *ledger) book(usd float64) (undo func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	day, extra := l.today(), max(0, usd)
	l.add(extra)
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.days[day] -= extra
	}
}

func (l *ledger) add(usd float64) {
	if !(usd > 0) { // NaN is no money either
		return
	}
	l.days[l.today()] += usd
	l.version++
	for len(l.days) > ledgerDays {
		today := l.latest // not the one that is counted, which is the oldest after a time server was years ahead
		delete(l.days, slices.Min(slices.DeleteFunc(sortedKeys(l.days), func(day string) bool { return day == today })))
	}
}

// today returns the day to count by. A clock that is set back over midnight does
// not bring yesterday back, whose cap may be unspent, and one that was never set
// brings no day at all; one that was years ahead brings back the right one.
func (l *ledger) today() string { return l.dayAt(time.Now().In(l.location)) }

func (l *ledger) dayAt(now time.Time) string {
	day := now.Format(time.DateOnly)
	if day < l.latest && (now.Year() < clockBegin || l.latest <= now.Add(clockTrust).Format(time.DateOnly)) {
		return l.latest
	}
	l.latest = day
	return day
}

// snapshot returns the record to write, if anything changed since the last one.
func (l *ledger) snapshot() (body []byte, version uint64, changed bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.version == l.saved {
		return nil, l.version, false, nil
	}
	body, err = json.Marshal(l.days)
	if err != nil {
		return nil, 0, false, fmt.Errorf("write the spend: %w", err)
	}
	return body, l.version, true, nil
}

// stored notes that a snapshot is in the file.
func (l *ledger) stored(version uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.saved = max(l.saved, version)
}

// load fills the ledger from its record.
func (l *ledger) load(body []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	days := make(map[string]float64)
	if err := unmarshal(bucketMeta, keySpend, body, &days); err != nil {
		return err
	}
	maps.Copy(l.days, days)
	for day := range days {
		now := time.Now().In(l.location)
		if day > l.latest && (now.Year() < clockBegin || day <= now.Add(clockTrust).Format(time.DateOnly)) {
			l.latest = day
		}
	}
	return nil
}
