package status

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// lens is the moment and the zone in which a page is drawn, and the plant as
// it is then.
type lens struct {
	now   time.Time
	zone  *time.Location
	plant *board
}

// stamp is one time as a page shows it: in words, with the absolute one behind
// it. The zero stamp is no time at all.
type stamp struct {
	Ago  string // 2 min ago
	Abs  string // 12:04:31, with the date on another day
	Full string // 2026-11-22 12:04:31 UTC+01:00
	ISO  string
}

// Set reports whether there is a time.
func (s stamp) Set() bool { return s.ISO != "" }

func (l lens) stamp(t time.Time) stamp {
	if t.IsZero() {
		return stamp{}
	}
	t = t.In(l.zone)
	return stamp{Ago: l.ago(t), Abs: l.abs(t), Full: t.Format("2006-01-02 15:04:05 ") + offset(t), ISO: t.Format(time.RFC3339)}
}

func (l lens) stampPtr(t *time.Time) stamp {
	if t == nil {
		return stamp{}
	}
	return l.stamp(*t)
}

// due is a time that is to come: once it has passed, it is any moment now.
func (l lens) due(t *time.Time) stamp {
	s := l.stampPtr(t)
	if s.Set() && !t.After(l.now) {
		s.Ago = "any moment"
	}
	return s
}

// abs leaves the date out today.
func (l lens) abs(t time.Time) string {
	if t.YearDay() == l.now.In(l.zone).YearDay() && t.Year() == l.now.In(l.zone).Year() {
		return t.Format(time.TimeOnly)
	}
	return t.Format("2 Jan 15:04:05")
}

func (l lens) ago(t time.Time) string {
	switch d := l.now.Sub(t); {
	case d < -time.Second:
		return "in " + words(-d)
	case d < 2*time.Second:
		return "just now"
	default:
		return words(d) + " ago"
	}
}

// clock is the time of the gateway as the head of a page shows it.
func (l lens) clock() string {
	t := l.now.In(l.zone)
	return t.Format(time.TimeOnly) + " " + offset(t)
}

func offset(t time.Time) string { return "UTC" + t.Format("-07:00") }

// words writes a duration with its one or two largest units.
func words(d time.Duration) string {
	switch {
	case d > 0 && d < time.Millisecond:
		return "under 1 ms"
	case d < time.Second:
		return strconv.FormatInt(d.Milliseconds(), 10) + " ms"
	case d < 10*time.Second:
		return strconv.FormatFloat(math.Round(d.Seconds()*10)/10, 'f', -1, 64) + " s"
	case d < time.Minute:
		return strconv.Itoa(int(d.Seconds())) + " s"
	case d < time.Hour:
		return strconv.Itoa(int(d.Minutes())) + " min"
	case d < 24*time.Hour:
		return twoUnits(int(d.Hours()), "h", int(d.Minutes())%60, "min")
	default:
		return twoUnits(int(d.Hours())/24, "d", int(d.Hours())%24, "h")
	}
}

func twoUnits(a int, unitA string, b int, unitB string) string {
	if b == 0 {
		return fmt.Sprintf("%d %s", a, unitA)
	}
	return fmt.Sprintf("%d %s %d %s", a, unitA, b, unitB)
}

func seconds(s float64) string { return words(time.Duration(s * float64(time.Second))) }

// age is of a value: tenths of a second matter, thousandths do not.
func age(s float64) string {
	if s < 1 {
		return strconv.FormatFloat(max(s, 0), 'f', 1, 64) + " s"
	}
	return seconds(s)
}

func millis(ms int64) string { return words(time.Duration(ms) * time.Millisecond) }

// size writes bytes in binary units, as the configuration does.
func size(n int64) string {
	f, units := float64(n), []string{"B", "KiB", "MiB", "GiB", "TiB"}
	for len(units) > 1 && math.Abs(f) >= 1024 {
		f /= 1024
		units = units[1:]
	}
	return strconv.FormatFloat(math.Round(f*10)/10, 'f', -1, 64) + " " + units[0]
}

// usd writes what one answer or one day costs: cents matter, and less.
func usd(f float64) string {
	if f != 0 && math.Abs(f) < 0.01 {
		return "$" + strconv.FormatFloat(f, 'g', 2, 64)
	}
	return "$" + strconv.FormatFloat(f, 'f', 2, 64)
}

// number writes a measurement for people: four significant digits.
func number(f float64) string {
	if a := math.Abs(f); a >= 1e6 || a != 0 && a < 1e-3 {
		return strconv.FormatFloat(f, 'g', 4, 64)
	}
	digits := 3
	for a := math.Abs(f); a >= 1 && digits > 0; a /= 10 {
		digits--
	}
	s := strconv.FormatFloat(f, 'f', digits+1, 64)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}

// registers writes what came over the wire, register by register.
func registers(raw []uint16) string {
	out := make([]string, len(raw))
	for i, r := range raw {
		out[i] = fmt.Sprintf("%04X", r)
	}
	return strings.Join(out, " ")
}
