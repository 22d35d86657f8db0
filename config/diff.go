package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Diff says what changed since old, a line for each change, in the order of the
// file. It compares what is written, not comments and layout. Keys that name a
// secret say only that they changed.
func (c *Config) Diff(old *Config) []string {
	if old == nil || len(old.files) == 0 || len(c.files) == 0 {
		return nil
	}
	return diffTables("", old.tree(), c.tree())
}

// expanded are the keys whose effect stands in the devices made of them, where
// it is compared: a template itself is nothing.
func expanded(path, key string) bool {
	return path == "" && (key == "template" || key == "device_list")
}

// diffTables compares two tables that stand under the same name.
func diffTables(path string, old, now *table) []string {
	var out []string
	for _, e := range now.entries {
		was := old.get(e.key)
		switch {
		case expanded(path, e.key):
		case was == nil:
			out = append(out, addedLines(join(path, e.key), e, "added")...)
		default:
			out = append(out, diffEntries(join(path, e.key), was, e)...)
		}
	}
	for _, was := range old.entries {
		if now.get(was.key) == nil && !expanded(path, was.key) {
			out = append(out, addedLines(join(path, was.key), was, "removed")...)
		}
	}
	if len(old.rows)+len(now.rows) > 0 {
		out = append(out, diffLists(join(path, "texts_file"), old.rows, now.rows)...)
	}
	return out
}

func diffEntries(path string, was, now *entry) []string {
	a, b := was.value, now.value
	switch {
	case a.kind == kindTable && b.kind == kindTable:
		return diffTables(path, a.table, b.table)
	case isTables(a) && isTables(b):
		return diffLists(path, a.items, b.items)
	case same(a, b):
		return nil
	case secretKey(now.key):
		return []string{path + ": changed"}
	default:
		return []string{fmt.Sprintf("%s: %s -> %s", path, shown(was), shown(now))}
	}
}

// diffLists compares tables by their names: a device that moved in the file is
// the same device, but providers that changed places are asked in another order.
func diffLists(path string, old, now []*value) []string {
	var out []string
	before, after := elements(old), elements(now)
	was, is := places(before), places(after)
	for i, name := range after {
		element := path + "." + name
		if j, there := was[name]; there {
			out = append(out, diffTables(element, old[j].table, now[i].table)...)
		} else {
			out = append(out, element+": added")
		}
	}
	for _, name := range before {
		if _, there := is[name]; !there {
			out = append(out, path+"."+name+": removed")
		}
	}
	kept := func(names []string, other map[string]int) []string {
		return slices.DeleteFunc(slices.Clone(names), func(name string) bool { _, there := other[name]; return !there })
	}
	if path == "llm.provider" && !slices.Equal(kept(before, is), kept(after, was)) {
		out = append(out, path+": order is now "+strings.Join(after, ", "))
	}
	return out
}

// places returns where each name stands first.
func places(names []string) map[string]int {
	out := make(map[string]int, len(names))
	for i, name := range names {
		if _, twice := out[name]; !twice {
			out[name] = i
		}
	}
	return out
}

// elements names the tables of a list by what tells them apart, or by their
// number.
func elements(items []*value) []string {
	var names []string
	for i, item := range items {
		name := fmt.Sprintf("#%d", i+1)
		for _, key := range []string{"name", "code", "tag", "bit", "value"} {
			if e := item.table.get(key); e != nil {
				name = e.value.text
				break
			}
		}
		names = append(names, name)
	}
	return names
}

// addedLines says that an entry came or went: each key of a [table], each
// element of a list of tables.
func addedLines(path string, e *entry, what string) []string {
	switch v := e.value; {
	case isTables(v):
		var out []string
		for _, name := range elements(v.items) {
			out = append(out, path+"."+name+": "+what)
		}
		return out
	case v.kind == kindTable:
		var out []string
		for _, sub := range v.table.entries {
			out = append(out, addedLines(join(path, sub.key), sub, what)...)
		}
		return out
	case secretKey(e.key):
		return []string{path + ": " + what}
	default:
		return []string{path + ": " + what + " " + shown(e)}
	}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func isTables(v *value) bool {
	return v.kind == kindArray && len(v.items) > 0 && v.items[0].kind == kindTable
}

// same compares two values without regard to how they are written.
func same(a, b *value) bool {
	if a.kind != b.kind || a.text != b.text || len(a.items) != len(b.items) {
		return false
	}
	for i := range a.items {
		if !same(a.items[i], b.items[i]) {
			return false
		}
	}
	if a.kind == kindTable {
		return len(diffTables("", a.table, b.table)) == 0
	}
	return true
}

// secretKey reports whether a key names the place of a secret.
func secretKey(key string) bool {
	return strings.HasSuffix(key, "_env") || strings.HasPrefix(key, "api_key") || strings.HasPrefix(key, "token") ||
		strings.HasPrefix(key, "password")
}

// shown is a value as it is written, on one line and not too long.
func shown(e *entry) string {
	const most = 80
	src := e.src
	if src == "" {
		src = strconv.Quote(e.value.text)
	}
	s := strings.Join(strings.Fields(src), " ")
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "…"
	}
	return s
}
