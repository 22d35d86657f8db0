package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"text/tabwriter"
	"time"
)

// printJSON writes v as the one document of a command.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// table prints rows in columns; the first row is the heading.
func table(w io.Writer, rows [][]string) error {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, r := range rows {
		for i := range r {
			r[i] = printable(r[i])
		}
		fmt.Fprintln(tw, strings.Join(r, "\t"))
	}
	return tw.Flush()
}

// printable keeps text from the plant from steering the terminal: control,
// bidirectional and zero-width characters become visible.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0:
			return '\uFFFD'
		case r >= 0x200b && r <= 0x200f, r >= 0x202a && r <= 0x202e, r >= 0x2060 && r <= 0x2069, r == 0xfeff:
			return '\uFFFD'
		default:
			return r
		}
	}, s)
}

// printableLines is printable for a text of several lines.
func printableLines(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = printable(lines[i])
	}
	return strings.Join(lines, "\n")
}

// shownIn is the zone of the configuration that a command has read, in which the
// page shows times too; nil is the machine's.
var shownIn atomic.Pointer[time.Location]

// clock prints a time for a person beside the machine: today without a date.
func clock(t *time.Time) string {
	if t == nil || t.IsZero() {
		return "-"
	}
	zone := cmp.Or(shownIn.Load(), time.Local)
	l := t.In(zone)
	if y, m, d := time.Now().In(zone).Date(); l.Year() == y && l.Month() == m && l.Day() == d {
		return l.Format("15:04:05")
	}
	return l.Format("2006-01-02 15:04:05")
}

// seconds prints a duration given in seconds.
func seconds(s float64) string {
	d := time.Duration(s * float64(time.Second))
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f min", d.Minutes())
	default:
		return fmt.Sprintf("%.0f h", d.Hours())
	}
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
