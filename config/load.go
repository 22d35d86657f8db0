package config

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"unicode/utf8"

	"edgeagent"
)

// maxFile is a hundred times the configuration of a large plant. What is
// larger was named by mistake.
const maxFile = 4 << 20

// Checks are what the configuration cannot know itself. A nil check is not made.
type Checks struct {
	// Expr compiles an alarm's expression over the tags of its device. Its
	// error becomes the text of a problem at the expression.
	Expr func(expr string, tags []edgeagent.Tag) error
	// Mode compiles the expression of a line's mode over DEVICE.TAG of any device.
	Mode func(expression string, tags []edgeagent.Tag) error
}

// DefaultPath returns the file to read: the flag, $EDGEAGENT_CONFIG,
// ./config.toml if it is there, else /etc/edgeagent/config.toml.
func DefaultPath(flag string) string {
	if flag != "" {
		return flag
	}
	if env := os.Getenv("EDGEAGENT_CONFIG"); env != "" {
		return env
	}
	if _, err := os.Stat("config.toml"); err == nil {
		return "config.toml"
	}
	return "/etc/edgeagent/config.toml"
}

// Load reads and checks a configuration file. The error is an [*Invalid] when
// the content is refused, and any other when there is no content to judge.
func Load(path string, c Checks) (*Config, error) {
	data, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read configuration: %w; name another with -c FILE", err)
	}
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return Parse(path, data, c)
}

// readFile reads at most one byte more than is accepted: what is named may be a
// device that never ends.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFile+1))
}

// Parse checks the content of a configuration file. Relative paths in it, and
// the files that it is made of, are relative to the directory of name. The
// error is always an [*Invalid].
func Parse(name string, data []byte, c Checks) (*Config, error) {
	return parse(name, filepath.Dir(name), data, &disk{}, c)
}

func parse(name, dir string, data []byte, from files, c Checks) (*Config, error) {
	p := &problems{}
	l := &loader{problems: p, files: from}
	main := l.text(name, dir, data)
	l.encoding(main, data, true)
	if err := p.err(); err != nil {
		return nil, err
	}
	root, broken := build(p, main)
	l.broken = broken
	l.include(root, main)
	expand(l, root)
	if l.parts > maxParts {
		return nil, p.err()
	}
	r := &reader{problems: p, checks: c, dir: dir, broken: l.broken}
	cfg := r.config(root)
	r.unusedTemplates(l.templates)
	if len(p.found) == 0 {
		for _, src := range l.documents {
			conform(p, src)
		}
	}
	if err := p.err(); err != nil {
		return nil, err
	}
	cfg.Path = name
	cfg.files = append([]file{{Path: filepath.Join(dir, filepath.Base(name)), data: bytes.Clone(data)}}, l.made...)
	return cfg, nil
}

// tree reads the files of an accepted configuration once more.
func (c *Config) tree() *table {
	first := c.files[0]
	l := &loader{problems: &problems{}, files: keep(c.files[1:])}
	main := l.text(first.Path, filepath.Dir(first.Path), first.data)
	root, _ := build(l.problems, main)
	l.include(root, main)
	expand(l, root)
	return root
}

// encoding books what makes the bytes no text that could be read further.
func (l *loader) encoding(src *region, data []byte, main bool) (good bool) {
	before := len(l.found)
	switch {
	case len(data) > maxFile:
		l.add(src.base, "the file is larger than %s; is it the right file?", formatSize(maxFile))
	case utf16Order(data) != nil:
		l.add(src.base, "the file is UTF-16; save it as UTF-8")
	case main && len(bytes.TrimSpace(src.data)) == 0:
		l.add(src.base, "the file is empty; it needs at least [agent] with id and site")
	case bytes.IndexByte(src.data, 0) >= 0:
		l.add(src.base+bytes.IndexByte(src.data, 0), "a NUL byte stands here; the file is damaged or no text")
	case !utf8.Valid(src.data):
		l.add(src.base+invalidUTF8(src.data), "this character is not UTF-8; save the file as UTF-8")
	}
	return len(l.found) == before
}

// utf16Order returns the byte order of UTF-16, with a mark or without, nil for
// any other text.
func utf16Order(data []byte) binary.ByteOrder {
	zero := func(i int) bool {
		return len(data) >= 4 && data[i] == 0 && data[i+2] == 0 && data[1-i] != 0 && data[3-i] != 0
	}
	switch {
	case bytes.HasPrefix(data, []byte{0xff, 0xfe}), zero(1):
		return binary.LittleEndian
	case bytes.HasPrefix(data, []byte{0xfe, 0xff}), zero(0):
		return binary.BigEndian
	default:
		return nil
	}
}

func invalidUTF8(data []byte) int {
	for i := 0; i < len(data); {
		r, n := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return 0
}
