package runbook

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// reviewPeriod is how long a review holds unless review_every says otherwise.
const reviewPeriod = 365 * 24 * time.Hour

// review says who stands by an entry, and since when.
type review struct {
	owner string
	at    time.Time     // day; zero: never, or not understood
	every time.Duration // 0: reviewPeriod
	said  bool          // something stands under reviewed, understood or not
}

// due returns when the next review is due; zero when there was none.
func (r review) due() time.Time {
	switch {
	case r.at.IsZero():
		return time.Time{}
	case r.every > 0:
		return r.at.Add(r.every)
	}
	return r.at.Add(reviewPeriod)
}

func (r review) overdue(now time.Time) bool { return !r.at.IsZero() && now.After(r.due()) }

// dayFormats are how people write a day. One with slashes is not among them: the
// same figures are another day elsewhere.
var dayFormats = []string{"2006-01-02", "2.1.2006", "2006-01", "2 January 2006", "2 Jan 2006"}

func parseDay(s string) (time.Time, bool) {
	s = strings.TrimSpace(s)
	for _, f := range dayFormats {
		if t, err := time.Parse(f, s); err == nil && t.Year() > 1970 {
			return t, true
		}
	}
	return time.Time{}, false
}

var periodPattern = regexp.MustCompile(`^(\d{1,4}) ?(d|days?|w|weeks?|mo|months?|y|years?)$`)

// parsePeriod reads "180d", "26w", "6mo" and "2y". A lone m is refused: half of
// the readers take it for minutes.
func parsePeriod(s string) (time.Duration, bool) {
	m := periodPattern.FindStringSubmatch(strings.ToLower(strings.TrimSpace(s)))
	if m == nil {
		return 0, false
	}
	n, _ := strconv.Atoi(m[1])
	days := map[byte]float64{'d': 1, 'w': 7, 'm': 30.4375, 'y': 365.25}[m[2][0]]
	return time.Duration(float64(n) * days * float64(24*time.Hour)), n > 0
}

// statuses of an entry. One that is not here is kept back as a draft is: what it
// was meant to say may be just that.
var statuses = map[string]bool{"": false, "approved": false, "released": false, "freigegeben": false, "draft": true, "entwurf": true}

// stated reads who stands by the entries of a file or a row, and whether they
// are a draft.
func (b *Book) stated(file string, fm frontMatter) (r review, draft bool) {
	r.owner = clipped(plainText(fm.text("owner")))
	if w := fm.first("reviewed"); w.text != "" {
		r.said = true
		var ok bool
		if r.at, ok = parseDay(w.text); !ok {
			b.problem(position{file, w.line, w.column}, codeMatter, "reviewed %q is not a day; write it like 2026-10-05", clipped(w.text))
		}
	}
	if w := fm.first("review_every"); w.text != "" {
		var ok bool
		if r.every, ok = parsePeriod(w.text); !ok {
			b.problem(position{file, w.line, w.column}, codeMatter, "review_every %q is not understood; write it like 180d, 26w, 6mo or 2y", clipped(w.text))
		}
	}
	w := fm.first("status")
	draft, known := statuses[fold(w.text)]
	if !known {
		b.problem(position{file, w.line, w.column}, codeStatus, "status %q is not understood, so the entries are not quoted; write draft, or approved", clipped(w.text))
	}
	return r, draft || !known
}

// age is how long ago something was, in words of a language.
func (s *sayings) age(d time.Duration) string {
	days := int(d.Hours() / 24)
	switch {
	case days < 1:
		return s.today
	case days < 60:
		return fmt.Sprintf(s.daysAgo, days)
	case days < 730:
		return fmt.Sprintf(s.monthsAgo, days*12/365)
	default:
		return fmt.Sprintf(s.yearsAgo, days/365)
	}
}

// standing says who stands by an entry and how old that is, "" when nobody does.
func (w *writer) standing(r review) string {
	var out []string
	if r.owner != "" {
		out = append(out, fmt.Sprintf(w.s.owner, r.owner))
	}
	if !r.at.IsZero() {
		text := fmt.Sprintf(w.s.reviewed, r.at.Format(time.DateOnly))
		if now := w.c.At; !now.IsZero() && !now.Before(r.at) {
			text += ", " + w.s.age(now.Sub(r.at))
			if r.overdue(now) {
				text += w.s.overdue
			}
		}
		out = append(out, text)
	}
	if len(out) == 0 {
		return ""
	}
	return strings.Join(out, "; ") + "."
}
