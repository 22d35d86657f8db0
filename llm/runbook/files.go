package runbook

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"unicode/utf16"
	"unicode/utf8"

	"edgeagent/llm"
)

// Limits of a folder. They are far above any real runbook; what passes them is
// named in Problems, not cut in silence.
const (
	maxFile     = 8 << 20 // bytes
	maxBytes    = 8 << 20 // of all files: each is held against the list of forbidden advice before the plant is read
	maxFiles    = 2000
	maxNames    = 20000 // of files and folders of any kind: the path may be / by mistake
	maxEntries  = 20000
	maxEntry    = 16 << 10 // bytes
	maxFindings = 2000
)

// errTooMany ends a walk.
var errTooMany = errors.New("too many files")

// walk calls visit for every file of the runbook, in lexical order, so that
// equal folders make equal books; broken for what cannot be looked at. Folders
// behind symbolic links are not entered: they may lead in circles.
func walk(dir string, visit func(name string) error, broken func(name string, err error)) error {
	names, files := 0, 0
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if names++; names > maxNames {
			broken(name, fmt.Errorf("left out with all that follows: the folder has more than %d files; give the runbook a folder of its own", maxNames))
			return errTooMany
		}
		switch {
		case err != nil && name == ".":
			return err
		case err != nil:
			broken(name, fmt.Errorf("cannot be read: %w", err))
			return nil
		case name != "." && strings.HasPrefix(path.Base(name), "."):
			return skip(d)
		case d.IsDir() || !wanted(name):
			return nil
		}
		if files++; files > maxFiles {
			broken(name, fmt.Errorf("left out with all that follows: the folder has more than %d runbook files", maxFiles))
			return errTooMany
		}
		return visit(name)
	})
	if errors.Is(err, errTooMany) {
		return nil
	}
	return err
}

func skip(d fs.DirEntry) error {
	if d.IsDir() {
		return fs.SkipDir
	}
	return nil
}

// wanted leaves out the README, which is about the folder, not about a machine.
func wanted(name string) bool {
	base := strings.ToLower(path.Base(name))
	if strings.HasPrefix(base, "readme") {
		return false
	}
	switch path.Ext(base) {
	case ".md", ".markdown", ".csv", ".tsv":
		return true
	}
	return false
}

// readAll reads the folder's files.
func (b *Book) readAll() error {
	left := int64(maxBytes)
	return walk(b.dir, func(name string) error {
		if llm.Clean(name, len(name)) != name { // it is part of the ids that prompts and answers hold
			b.problem(position{file: fmt.Sprintf("%q", name)}, codeFile, "left out: its name holds characters that cannot be shown; rename it")
			return nil
		}
		raw, err := readFile(filepath.Join(b.dir, filepath.FromSlash(name)))
		switch {
		case err != nil:
			b.problem(position{file: name}, codeFile, "%v", err)
			return nil
		case int64(len(raw)) > left:
			b.problem(position{file: name}, codeFile, "left out with all that follows: the files are larger than %d bytes together", maxBytes)
			return errTooMany
		}
		left -= int64(len(raw))
		b.read(name, decode(raw))
		return nil
	}, func(name string, err error) { b.problem(position{file: name}, codeFile, "%v", err) })
}

// read takes the text of one file.
func (b *Book) read(name, text string) {
	switch {
	case strings.ContainsRune(text, 0):
		b.problem(position{file: name}, codeFile, "left out: not a text file")
	case isTable(name):
		b.readTable(name, text)
	default:
		b.readMarkdown(name, text)
	}
}

func isTable(name string) bool {
	ext := strings.ToLower(path.Ext(name))
	return ext == ".csv" || ext == ".tsv"
}

// readFile reads a regular file of at most maxFile bytes. A FIFO under a
// runbook's name must not hold up the start, so the file is opened without
// waiting, and judged once it is open: it may have changed since it was listed.
func readFile(name string) ([]byte, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", reason(err))
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, fmt.Errorf("cannot be read: %w", reason(err))
	case info.IsDir():
		return nil, errors.New("left out: it is a folder behind a link or under a file's name; move its files into the runbook's folder")
	case !info.Mode().IsRegular():
		return nil, errors.New("left out: not a file")
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("cannot be read: %w", reason(err))
	case len(raw) > maxFile:
		return nil, fmt.Errorf("left out: larger than %d bytes; divide it", maxFile)
	}
	return raw, nil
}

// reason is an error without its path, which stands before it already.
func reason(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}

// stampOf is a figure that is another one when a file of the folder was
// written, added or removed. It looks at names, sizes and times alone.
func stampOf(dir string) uint64 {
	h := fnv.New64a()
	note := func(name string, err error) { fmt.Fprintf(h, "%s: %v\n", name, err) }
	err := walk(dir, func(name string) error {
		info, err := os.Stat(filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil {
			note(name, err)
			return nil
		}
		fmt.Fprintf(h, "%s %d %d\n", name, info.Size(), info.ModTime().UnixNano())
		return nil
	}, note)
	note(".", err)
	return h.Sum64()
}

// decode returns the text of a file without byte order mark. UTF-16 is what
// Excel calls Unicode text; what is neither that nor UTF-8 is taken for
// Windows-1252, which spreadsheets still write.
func decode(raw []byte) string {
	switch s := string(raw); {
	case strings.HasPrefix(s, "\ufeff"):
		return strings.ToValidUTF8(s[3:], "\uFFFD")
	case strings.HasPrefix(s, "\xff\xfe"):
		return fromUTF16(raw[2:], binary.LittleEndian)
	case strings.HasPrefix(s, "\xfe\xff"):
		return fromUTF16(raw[2:], binary.BigEndian)
	case utf8.ValidString(s):
		return s
	}
	var out strings.Builder
	for _, c := range raw {
		if r, found := windows1252[c]; found {
			out.WriteRune(r)
		} else {
			out.WriteRune(rune(c))
		}
	}
	return out.String()
}

func fromUTF16(raw []byte, order binary.ByteOrder) string {
	units := make([]uint16, len(raw)/2)
	for i := range units {
		units[i] = order.Uint16(raw[2*i:])
	}
	return string(utf16.Decode(units))
}

// windows1252 holds what differs from Latin-1 and occurs in texts.
var windows1252 = map[byte]rune{0x80: '€', 0x82: '‚', 0x84: '„', 0x85: '…', 0x91: '‘', 0x92: '’', 0x93: '“', 0x94: '”', 0x96: '–', 0x97: '—'}
