package config

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// section reads one table key by key. What was asked for is what is known:
// every other key is refused in the end, and so no key can be documented,
// accepted and forgotten.
type section struct {
	*reader
	t        *table
	schema   string // path without brackets, as in unsupported: "device.tag"
	parent   *section
	asked    []string        // in the order of the documentation
	bad      map[string]bool // keys that brought a problem: checks between keys leave them out
	contents bool            // what is in it is read elsewhere: no key is unknown here
	void     bool            // the file has something else in its place: nothing in it is missing
}

func (r *reader) section(t *table, schema string, parent *section) *section {
	s := &section{reader: r, t: t, schema: schema, parent: parent, bad: map[string]bool{}}
	if last := r.last[schema]; last != nil { // ten thousand tags are asked for the same keys
		s.asked = make([]string, 0, len(last.asked))
	} else if r.last == nil {
		r.last = map[string]*section{}
	}
	r.last[schema] = s
	r.sections = append(r.sections, s)
	return s
}

// get returns the value of a key, nil without one, and marks the key known.
func (s *section) get(key string) *value {
	if !slices.Contains(s.asked, key) {
		s.asked = append(s.asked, key)
	}
	if e := s.t.get(key); e != nil {
		return e.value
	}
	return nil
}

// set reports whether the file has the key.
func (s *section) set(key string) bool { return s.get(key) != nil }

// fail books a problem at the value of a key, or at the table's header when the
// file does not have the key.
func (s *section) fail(key, format string, args ...any) {
	s.bad[key] = true
	s.add(s.pos(key), format, args...)
}

// pos returns where the value of a key stands, the table without one.
func (s *section) pos(key string) int {
	if e := s.t.get(key); e != nil {
		return e.value.pos
	}
	return s.t.pos
}

// failAt books a problem of a key at one place within its value.
func (s *section) failAt(key string, pos int, format string, args ...any) {
	s.bad[key] = true
	s.add(pos, format, args...)
}

// good reports whether none of the keys brought a problem.
func (s *section) good(keys ...string) bool {
	return !slices.ContainsFunc(keys, func(k string) bool { return s.bad[k] })
}

// missing books that a required key is not there. It is said in the end, unless
// the key turns out to be misspelt; after a syntax error nobody knows.
func (s *section) missing(key, example string) {
	s.bad[key] = true
	if !s.broken && !s.void {
		s.absent = append(s.absent, absence{s, key, example})
	}
}

// scalar returns the value of a key if it has the wanted type.
func (s *section) scalar(key string, want kind, words string) *value {
	v := s.get(key)
	switch {
	case v != nil && v.wrong:
		s.bad[key] = true
		return nil
	case v == nil || v.kind == want:
		return v
	case v.cell:
		if typed := v.as(want); typed != nil {
			return typed
		}
		s.fail(key, "%s %s is not %s", key, quote(v.text), kindWords[want])
		return nil
	}
	s.fail(key, "%q wants %s, not %s", key, words, kindWords[v.kind])
	return nil
}

// text returns a text, def when the key is not set.
func (s *section) text(key, def string) string {
	if v := s.scalar(key, kindString, "a text in double quotes"); v != nil {
		return v.text
	}
	return def
}

// boolean returns true or false.
func (s *section) boolean(key string, def bool) bool {
	if v := s.scalar(key, kindBool, "true or false without quotes"); v != nil {
		return v.text == "true"
	}
	return def
}

// choice returns one of the options, the first when the key is not set. Words
// of later are known to the contract and not supported by this version.
func (s *section) choice(key string, options []string, later ...string) string {
	word := s.text(key, options[0])
	switch {
	case slices.Contains(options, word):
		return word
	case slices.Contains(later, word):
		s.fail(key, "%s = %q is not supported by this version; use %s", key, word, list(quoted(options)))
	default:
		s.fail(key, "%s %s is not known; want %s%s", key, quote(word), list(quoted(options)), didYouMean(word, options))
	}
	return options[0]
}

func quoted(words []string) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = quote(w)
	}
	return out
}

// integer returns a whole number from least to most.
func (s *section) integer(key string, def, least, most int) int {
	v := s.scalar(key, kindInt, "a whole number without quotes")
	if v == nil {
		return def
	}
	n, err := strconv.ParseInt(strings.ReplaceAll(v.text, "_", ""), 0, 64)
	if err != nil || n < int64(least) || n > int64(most) {
		s.fail(key, "%s %s is out of range; want %d to %d", key, v.text, least, most)
		return def
	}
	return int(n)
}

// number returns a finite number from least to most.
func (s *section) number(key string, def, least, most float64) float64 {
	v := s.get(key)
	if v == nil {
		return def
	}
	f, err := toFloat(v)
	switch {
	case v.wrong:
		s.bad[key] = true
	case errors.Is(err, errGrouped):
		s.fail(key, "%s %s can be read as two numbers: %s; write it with a comma, or without the point", key, quote(v.text), err)
	case err != nil && v.cell:
		s.fail(key, "%s %s is no number", key, quote(v.text))
	case err != nil:
		s.fail(key, "%q wants a number without quotes, not %s", key, kindWords[v.kind])
	case !(f >= least && f <= most): // NaN is in no range
		s.fail(key, "%s %s is out of range; want %s", key, v.text, span(least, most))
	default:
		return f
	}
	return def
}

func toFloat(v *value) (float64, error) {
	text := strings.ReplaceAll(v.text, "_", "")
	switch v.kind {
	case kindString:
		return v.float()
	case kindFloat:
		return strconv.ParseFloat(text, 64)
	case kindInt:
		n, err := strconv.ParseInt(text, 0, 64)
		return float64(n), err
	default:
		return 0, fmt.Errorf("%s is no number", kindWords[v.kind])
	}
}

func span(least, most float64) string {
	switch {
	case most >= endless && least <= -endless:
		return "a finite number"
	case most >= endless:
		return plain(least) + " or more"
	default:
		return plain(least) + " to " + plain(most)
	}
}

// plain writes a number without an exponent.
func plain(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

// duration returns a duration from least to most.
func (s *section) duration(key string, def, least, most time.Duration) time.Duration {
	v := s.scalar(key, kindString, `a duration in quotes with a unit, such as "500ms", "30s", "8h" or "30d"`)
	if v == nil {
		return def
	}
	d, err := parseDuration(v.text)
	switch {
	case err != nil:
		s.fail(key, `%s %s is no duration; want a number with a unit, such as "500ms", "30s", "8h" or "30d"`, key, quote(v.text))
	case d < least || d > most:
		s.fail(key, "%s %s is out of range; want %q to %q", key, quote(v.text), formatDuration(least), formatDuration(most))
	default:
		return d
	}
	return def
}

// size returns a number of bytes from least to most.
func (s *section) size(key string, def, least, most int64) int64 {
	v := s.scalar(key, kindString, `a size in quotes with a unit, such as "256MiB"`)
	if v == nil {
		return def
	}
	n, err := parseSize(v.text)
	switch {
	case err != nil:
		s.fail(key, `%s %s is no size; want a whole number with B, KiB, MiB or GiB, such as "256MiB"`, key, quote(v.text))
	case n < least || n > most:
		s.fail(key, "%s %s is out of range; want %q to %q", key, quote(v.text), formatSize(least), formatSize(most))
	default:
		return n
	}
	return def
}

// word is a text of a list with its place.
type word struct {
	text string
	pos  int
}

// words returns the texts of a list.
func (s *section) words(key string) []word {
	v := s.scalar(key, kindArray, "a list of texts in brackets")
	if v == nil {
		return nil
	}
	var out []word
	for _, item := range v.items {
		if item.wrong {
			s.bad[key] = true
			continue
		}
		if item.kind != kindString {
			s.failAt(key, item.pos, "%q wants a list of texts, and this is %s", key, kindWords[item.kind])
			continue
		}
		out = append(out, word{text: item.text, pos: item.pos})
	}
	return out
}

// table returns a table of which there is one; without it, an empty one.
func (s *section) table(key string) *section {
	v := s.get(key)
	child := strings.TrimPrefix(s.schema+"."+key, ".")
	title := quote(key) + " of " + s.t.title
	if s.parent == nil {
		title = "[" + key + "]"
	}
	switch {
	case v == nil:
		return s.section(newTable(title, s.t.pos), child, s)
	case v.kind == kindTable:
		return s.section(v.table, child, s)
	case v.heads:
		t := v.items[0].table
		s.add(v.pos, "%s must be written [%s]: there is only one", t.title, strings.Trim(t.title, "[]"))
		return s.section(t, child, s)
	default:
		s.fail(key, "%q wants a table, not %s", key, kindWords[v.kind])
		none := s.section(newTable(title, v.pos), child, s)
		none.void = true
		return none
	}
}

// tables returns the tables of a list, in the order of the file.
func (s *section) tables(key string) []*section {
	v := s.get(key)
	child := strings.TrimPrefix(s.schema+"."+key, ".")
	switch {
	case v == nil:
		return nil
	case v.kind == kindTable:
		s.add(v.table.pos, "%s must be written [[%s]]: there may be several", v.table.title, child)
		return []*section{s.section(v.table, child, s)}
	case v.kind != kindArray:
		s.fail(key, "%q wants tables, each under [[%s]], not %s", key, child, kindWords[v.kind])
		return nil
	}
	var out []*section
	for _, item := range v.items {
		if item.kind != kindTable {
			s.failAt(key, item.pos, "%q wants tables, each under [[%s]], not %s", key, child, kindWords[item.kind])
			continue
		}
		out = append(out, s.section(item.table, child, s))
	}
	return out
}

// knows reports whether a key was asked for.
func (s *section) knows(key string) bool { return slices.Contains(s.asked, key) }
