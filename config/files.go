package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"edgeagent/internal/spelling"
)

const (
	maxFiles = 1000     // that a configuration may be made of
	maxTotal = 64 << 20 // bytes of all of them
	maxParts = 1 << 19  // keys and cells after expansion: five times a large plant, and a quarter of a gigabyte
)

// files is where the files come from that a configuration is made of: the disk,
// or what was kept of an accepted one.
type files interface {
	// read returns the content of a regular file.
	read(path string) ([]byte, error)
	// glob returns the files of dir that match a pattern relative to it, sorted.
	glob(dir, pattern string) ([]string, error)
	// shown names a file in messages.
	shown(path string) string
}

// file is a file that a configuration was made of, with the bytes that were
// accepted.
type file struct {
	Path string
	data []byte
}

// disk reads what stands on the disk now.
type disk struct{}

func (*disk) shown(path string) string { return path }

// read refuses what is no regular file: a pipe would block a reload for ever.
func (*disk) read(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is no regular file")
	}
	return readFile(path)
}

func (*disk) glob(dir, pattern string) ([]string, error) {
	path := under(dir, pattern)
	if _, err := os.Stat(path); err == nil || !hasWildcard(pattern) {
		return []string{path}, nil
	}
	found, err := filepath.Glob(under(literal(dir), pattern))
	return visible(found), err
}

var wildcards = strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`)

// literal makes a pattern of a directory that matches it alone, whatever
// characters its name has.
func literal(dir string) string { return wildcards.Replace(dir) }

// visible leaves out what editors put beside a file: .#name, .name.swp.
func visible(paths []string) []string {
	paths = slices.DeleteFunc(paths, func(p string) bool { return strings.HasPrefix(filepath.Base(p), ".") })
	slices.Sort(paths)
	return paths
}

func hasWildcard(pattern string) bool { return strings.ContainsAny(pattern, "*?[") }

// under joins a path to the directory that it is relative to.
func under(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// loader puts the files of a configuration together into one tree.
type loader struct {
	*problems
	files
	broken    bool      // a file could not be read to its end: nothing is called missing
	made      []file    // beside the first
	documents []*region // that are TOML
	templates []*template
	tables    map[string]*csvFile // by path
	unused    []func()            // checks whether each column of a list is used, for when all is expanded
	total     int
	parts     int
}

// spend books that a configuration multiplies itself beyond all measure, once.
func (l *loader) spend(parts, pos int) bool {
	before := l.parts
	l.parts += parts
	if before <= maxParts && l.parts > maxParts {
		l.add(pos, "lists and templates make more than %d keys of this; shorten the list, or is it the wrong file?", maxParts)
		l.broken = true
	}
	return l.parts <= maxParts
}

// text makes a file's bytes a part of the configuration.
func (l *loader) text(name, dir string, data []byte) *region {
	src := l.open(newSource(name, dir, bytes.TrimPrefix(data, []byte("\ufeff"))), "")
	l.documents = append(l.documents, src)
	return src
}

// fetch reads a file that the configuration names at an offset.
func (l *loader) fetch(path string, pos int) ([]byte, bool) {
	data, err := l.read(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		l.add(pos, "there is no file %s; relative paths are relative to the file that names them", quote(path))
	case err != nil:
		l.add(pos, "read %s: %s", quote(path), cause(err))
	case len(l.made) >= maxFiles:
		l.add(pos, "the configuration is made of more than %d files; is the pattern too wide?", maxFiles)
	case l.total+len(data) > maxTotal:
		l.add(pos, "the files of the configuration are larger than %s together; is the pattern too wide?", formatSize(maxTotal))
	default:
		l.total += len(data)
		l.made = append(l.made, file{Path: path, data: data})
		return data, true
	}
	l.broken = true
	return nil, false
}

// cause is an error of the system without the path, which is said already.
func cause(err error) string {
	if perr, ok := errors.AsType[*fs.PathError](err); ok {
		return perr.Err.Error()
	}
	return oneLine(err)
}

// included are the tables that an included file may hold. What is there once,
// stands in the first file.
var included = []string{"device", "device_list", "line", "template"}

// include reads the files that the first one names and adds their tables to its
// own, in the order of the names.
func (l *loader) include(root *table, main *region) {
	e := root.get("include")
	if e == nil || e.value.kind != kindArray {
		return
	}
	done := []string{filepath.Clean(main.file)}
	for _, item := range e.value.items {
		if item.kind != kindString {
			continue // booked when the key is read
		}
		for _, path := range l.matches(main.dir, item) {
			if path == done[0] {
				l.add(item.pos, "include %s names this file itself; put what is included into a folder of its own", quote(item.text))
			} else if !slices.Contains(done, path) {
				done = append(done, path)
				l.includeFile(root, path, item.pos)
			}
		}
	}
}

// matches returns the files that one word of include names. An empty folder is
// no fault, a file that is named and not there is.
func (l *loader) matches(dir string, word *value) []string {
	if strings.TrimSpace(word.text) == "" {
		l.add(word.pos, `include names no file; write one such as "devices/*.toml"`)
		return nil
	}
	paths, err := l.glob(dir, word.text)
	if err != nil {
		l.add(word.pos, "include %s is no pattern: %s", quote(word.text), oneLine(err))
	}
	return paths
}

func (l *loader) includeFile(root *table, path string, pos int) {
	data, ok := l.fetch(path, pos)
	if !ok {
		return
	}
	src := l.text(l.shown(path), filepath.Dir(path), data)
	if !l.encoding(src, data, false) {
		l.broken = true
		return
	}
	tree, broken := build(l.problems, src)
	l.broken = l.broken || broken
	for _, e := range tree.entries {
		l.merge(root, e)
	}
}

// merge adds one list of tables of an included file.
func (l *loader) merge(root *table, e *entry) {
	if !slices.Contains(included, e.key) {
		remedy := "an included file holds " + list(headed(included))
		if near := spelling.Nearest(e.key, included); near != "" {
			remedy = "did you mean " + quote(near) + "?"
		}
		l.add(e.at(), "%s does not belong into an included file; %s", quote(e.key), remedy)
		return
	}
	v := e.value
	if v.kind == kindTable {
		l.add(v.table.pos, "%s must be written [[%s]]: there may be several", v.table.title, e.key)
		v = &value{kind: kindArray, pos: v.pos, items: []*value{v}, heads: true}
	}
	was := root.get(e.key)
	switch {
	case v.kind != kindArray:
		l.add(v.pos, "%q wants tables, each under [[%s]], not %s", e.key, e.key, kindWords[v.kind])
	case was == nil:
		root.set(&entry{key: e.key, pos: e.pos, src: e.src, value: &value{kind: kindArray, pos: v.pos, heads: true, items: v.items}})
	case was.value.kind == kindArray:
		was.value.items = append(was.value.items, v.items...)
	}
}

func headed(keys []string) []string {
	out := make([]string, len(keys))
	for i, key := range keys {
		out[i] = fmt.Sprintf("[[%s]]", key)
	}
	return out
}
