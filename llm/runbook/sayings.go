package runbook

import (
	"strconv"
	"strings"
)

// sayings are the sentences that code writes, by language.
type sayings struct {
	entry, noEntry, entryOther string // alarm; the latter: alarm, other alarm
	firstOut                   string // alarm, number, line
	lastTime, earlier          string // when, what
	wasFixed, confirmed        string // by; -
	causes, checks, wasFixedBy string // of drafts
	owner, reviewed, overdue   string // name; day; -
	today, daysAgo             string // -; number
	monthsAgo, yearsAgo        string // number
	similar, byWords           string // a text
	moved, nothingMoved        string // tags; window
	noEvidence, history        string // -; since
	from, slope, changed       string // low, high; slope; times, seconds
	limit, badTag, lookFirst   string
	noValue, drawing, part     string
	decimal                    string
	stopped                    string // device, error
	stoppedChecks              []stoppedCheck
	stoppedCause, stoppedMiss  string
}

var texts = map[string]*sayings{"en": &english, "de": &german}

var english = sayings{
	entry:         "Runbook entry for %s: %s.",
	entryOther:    "No runbook entry for %s; this is the one for %s, which rose with it: %s.",
	noEntry:       "No runbook entry for %s.",
	firstOut:      "%s rose first of %d alarms on %s.",
	lastTime:      "Last time on %s: %s.",
	earlier:       "Before, on %s: %s.",
	wasFixed:      "fixed by %s",
	causes:        "Causes",
	checks:        "Checks",
	wasFixedBy:    "It was fixed by",
	confirmed:     "confirmed by an engineer",
	owner:         "Owner: %s",
	reviewed:      "reviewed %s",
	overdue:       ", review overdue",
	today:         "today",
	daysAgo:       "%d days ago",
	monthsAgo:     "%d months ago",
	yearsAgo:      "%d years ago",
	similar:       "Similar, not this machine: %s",
	byWords:       "Found by its words, no entry for this alarm: %s",
	moved:         "These tags moved before the alarm: %s.",
	nothingMoved:  "No tag of the line moved in the %s before the alarm.",
	noEvidence:    "No tag values were recorded with the alarm.",
	history:       "The history starts at %s, shortly before the alarm.",
	from:          "between %s and %s",
	slope:         "%s per min",
	changed:       "changed %d times, last %s s before",
	limit:         "limits %s to %s",
	badTag:        "%s: quality %s",
	lookFirst:     "Look at %s first: it moved most before the alarm.",
	noValue:       "no value",
	drawing:       "Drawing",
	part:          "Part",
	decimal:       ".",
	stopped:       "%s is not being read and the state of its machine is unknown: %s",
	stoppedCause:  "The connection to %s is interrupted or its PLC does not answer: %s",
	stoppedChecks: englishStopped,
	stoppedMiss:   "Everything on %s since it was last read",
}

var german = sayings{
	entry:         "Runbook-Eintrag zu %s: %s.",
	entryOther:    "Kein Runbook-Eintrag zu %s; dies ist der zu %s, das zugleich kam: %s.",
	noEntry:       "Kein Runbook-Eintrag zu %s.",
	firstOut:      "%s kam als erste von %d Meldungen an %s.",
	lastTime:      "Letztes Mal am %s: %s.",
	earlier:       "Davor, am %s: %s.",
	wasFixed:      "behoben durch %s",
	causes:        "Ursachen",
	checks:        "Prüfungen",
	wasFixedBy:    "Behoben durch",
	confirmed:     "von einem Ingenieur bestätigt",
	owner:         "Verantwortlich: %s",
	reviewed:      "geprüft %s",
	overdue:       ", Prüfung überfällig",
	today:         "heute",
	daysAgo:       "vor %d Tagen",
	monthsAgo:     "vor %d Monaten",
	yearsAgo:      "vor %d Jahren",
	similar:       "Ähnlich, nicht diese Maschine: %s",
	byWords:       "Nach Wörtern gefunden, kein Eintrag zu dieser Meldung: %s",
	moved:         "Diese Werte bewegten sich vor der Meldung: %s.",
	nothingMoved:  "In den %s vor der Meldung bewegte sich kein Wert der Linie.",
	noEvidence:    "Zu der Meldung wurden keine Werte aufgezeichnet.",
	history:       "Die Aufzeichnung beginnt um %s, kurz vor der Meldung.",
	from:          "zwischen %s und %s",
	slope:         "%s pro min",
	changed:       "%d-mal geändert, zuletzt %s s davor",
	limit:         "Grenzen %s bis %s",
	badTag:        "%s: Qualität %s",
	lookFirst:     "Zuerst %s ansehen: dieser Wert bewegte sich vor der Meldung am stärksten.",
	noValue:       "kein Wert",
	drawing:       "Zeichnung",
	part:          "Teil",
	decimal:       ",",
	stopped:       "%s wird nicht gelesen, der Zustand der Maschine ist unbekannt: %s",
	stoppedCause:  "Die Verbindung zu %s ist unterbrochen, oder die Steuerung antwortet nicht: %s",
	stoppedChecks: germanStopped,
	stoppedMiss:   "Alles an %s seit dem letzten Lesen",
}

// number writes four significant digits with the decimal mark of the language,
// never with an exponent.
func (s *sayings) number(f float64) string {
	digits := strconv.FormatFloat(f, 'g', 4, 64)
	if strings.ContainsRune(digits, 'e') {
		if rounded, err := strconv.ParseFloat(digits, 64); err == nil {
			digits = strconv.FormatFloat(rounded, 'f', -1, 64)
		}
	}
	return strings.Replace(digits, ".", s.decimal, 1)
}

// with appends a unit.
func (s *sayings) with(f float64, unit string) string {
	if unit == "" {
		return s.number(f)
	}
	return s.number(f) + " " + unit
}

// window writes a span as minutes, or as seconds where it is short.
func (s *sayings) window(seconds float64) string {
	if seconds >= 120 {
		return s.number(seconds/60) + " min"
	}
	return s.number(seconds) + " s"
}
