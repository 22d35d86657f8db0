package config

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// acceptedName is the last accepted configuration in the data directory: one
// line about it, then the bytes of its files. It is one file, because several
// could be torn apart by a power cut.
const acceptedName = "accepted.toml"

// The line about an accepted configuration begins like this; it is a comment in
// TOML, and its number is the version of the format. A configuration of one
// file is kept as version 1, which every version of the agent reads.
const (
	acceptedMark  = "# edgeagent accepted 1 "
	acceptedMark2 = "# edgeagent accepted 2 "
)

// accepted is what that line says.
type accepted struct {
	Path  string     `json:"path"` // of the original, absolute
	At    time.Time  `json:"at"`
	Sum   string     `json:"sha256"`          // of the files and of the bytes below
	Files []keptFile `json:"files,omitempty"` // of version 2: the first is Path
}

// keptFile says how many of the bytes below are a file's, one after the other.
type keptFile struct {
	Path  string `json:"path"` // absolute
	Bytes int    `json:"bytes"`
}

// ErrNoAccepted is returned by [LastAccepted] when there is none to run.
var ErrNoAccepted = errors.New("no accepted configuration")

// Accept keeps a configuration in its data directory, with all the files that
// it is made of, for the day on which one of them is broken or gone. It writes
// nothing when the same is kept there already. Certificates and secrets stay
// where they are.
func Accept(c *Config) error {
	head, body, err := pack(c)
	if err != nil {
		return fmt.Errorf("keep configuration: %w", err)
	}
	file := filepath.Join(c.Agent.DataDir, acceptedName)
	if old, _, err := readAccepted(file); err == nil && old.Path == head.Path && old.Sum == head.Sum && slices.Equal(old.Files, head.Files) {
		return nil
	}
	line, err := json.Marshal(head)
	if err != nil {
		return fmt.Errorf("keep configuration: %w", err)
	}
	mark := acceptedMark
	if head.Files != nil {
		mark = acceptedMark2
	}
	data := bytes.Join([][]byte{[]byte(mark), line, []byte("\n"), body}, nil)
	if err := replaceFile(file, data); err != nil {
		return fmt.Errorf("keep configuration %s: %w", file, err)
	}
	return nil
}

// pack puts the files of a configuration one after the other.
func pack(c *Config) (accepted, []byte, error) {
	head := accepted{At: time.Now().UTC().Truncate(time.Second)}
	var body []byte
	for _, f := range c.files {
		path, err := filepath.Abs(f.Path)
		if err != nil {
			return head, nil, err
		}
		head.Files = append(head.Files, keptFile{Path: path, Bytes: len(f.data)})
		body = append(body, f.data...)
	}
	path, err := filepath.Abs(c.Path)
	if err != nil {
		return head, nil, err
	}
	if len(head.Files) == 1 {
		head.Files = nil
	}
	head.Path, head.Sum = path, sumOf(head.Files, body)
	return head, body, nil
}

// sumOf returns the checksum of the bytes and of what says whose they are.
func sumOf(files []keptFile, body []byte) string {
	sum := sha256.New()
	for _, f := range files {
		fmt.Fprintf(sum, "%d %s\n", f.Bytes, f.Path)
	}
	sum.Write(body)
	return hex.EncodeToString(sum.Sum(nil))
}

// replaceFile writes data under the name, whole or not at all: temporary file,
// fsync, rename, fsync of the folder. The temporary file has one name, so that
// what a power cut leaves is overwritten, and never gathers.
func replaceFile(file string, data []byte) error {
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	tmp := filepath.Join(dir, "."+filepath.Base(file)+".new")
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(tmp, file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	return syncDir(dir)
}

// syncDir makes a rename last: until then it may be undone by a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// LastAccepted returns the configuration that was accepted last, for when the
// file at path is refused or gone. The data directory is looked for in the
// broken file itself, in $STATE_DIRECTORY, and beside the file. It returns
// [ErrNoAccepted] when there is none, and what is wrong with it otherwise.
func LastAccepted(path string, c Checks) (*Config, error) {
	var problems []error
	for _, dir := range dataDirs(path) {
		cfg, err := loadAccepted(filepath.Join(dir, acceptedName), path, c)
		if err == nil {
			return cfg, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			problems = append(problems, err)
		}
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return nil, fmt.Errorf("%w: nothing was kept under %s", ErrNoAccepted, strings.Join(dataDirs(path), " or "))
}

func loadAccepted(file, path string, c Checks) (*Config, error) {
	head, data, err := readAccepted(file)
	if err != nil {
		return nil, err
	}
	if original, err := filepath.Abs(path); err != nil || original != head.Path {
		return nil, fmt.Errorf("read %s: it was kept for %s, not for %s", file, head.Path, path)
	}
	main, rest := unpack(head, data)
	cfg, err := parse(file, filepath.Dir(path), main, &kept{archive: file, files: rest}, c)
	if err != nil {
		return nil, fmt.Errorf("read %s: this version refuses what was accepted (lines count from below the first): %w", file, err)
	}
	cfg.Path, cfg.files[0].Path = path, path
	return cfg, nil
}

// readAccepted returns what is kept after having compared it with its sum.
func readAccepted(file string) (accepted, []byte, error) {
	var head accepted
	data, err := os.ReadFile(file)
	if err != nil {
		return head, nil, err
	}
	line, body, found := bytes.Cut(data, []byte("\n"))
	text, marked := bytes.CutPrefix(line, []byte(acceptedMark))
	text2, marked2 := bytes.CutPrefix(line, []byte(acceptedMark2))
	if marked2 {
		text = text2
	}
	if !found || !marked && !marked2 || json.Unmarshal(text, &head) != nil {
		return head, nil, fmt.Errorf("read %s: it does not begin like an accepted configuration; it is damaged", file)
	}
	total := 0
	for _, f := range head.Files {
		if total += f.Bytes; f.Bytes < 0 || total > len(body) {
			break
		}
	}
	if sumOf(head.Files, body) != head.Sum || marked2 && total != len(body) {
		return head, nil, fmt.Errorf("read %s: its checksum does not fit; it is damaged", file)
	}
	return head, body, nil
}

// unpack returns the first file and the others by their paths.
func unpack(head accepted, body []byte) (main []byte, rest map[string][]byte) {
	if head.Files == nil {
		return body, nil
	}
	rest = map[string][]byte{}
	for i, f := range head.Files {
		if i == 0 {
			main = body[:f.Bytes]
		} else {
			rest[f.Path] = body[:f.Bytes]
		}
		body = body[f.Bytes:]
	}
	return main, rest
}

// kept are the files of an accepted configuration. What stands on the disk now
// is not looked at.
type kept struct {
	archive string
	files   map[string][]byte // by absolute path
}

// keep holds what was read; a path that cannot be made absolute is not found
// again, as it was not found at first.
func keep(all []file) *kept {
	k := &kept{files: map[string][]byte{}}
	for _, f := range all {
		if path, err := filepath.Abs(f.Path); err == nil {
			k.files[path] = f.data
		}
	}
	return k
}

func (k *kept) read(path string) ([]byte, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	data, found := k.files[abs]
	if !found {
		return nil, fs.ErrNotExist
	}
	return data, nil
}

func (k *kept) glob(dir, pattern string) ([]string, error) {
	base, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	path := under(base, pattern)
	if _, there := k.files[path]; there || !hasWildcard(pattern) {
		return []string{path}, nil
	}
	var out []string
	for path := range k.files {
		match, err := filepath.Match(under(literal(base), filepath.Clean(pattern)), path)
		if err != nil {
			return nil, err
		}
		if match {
			out = append(out, path)
		}
	}
	return visible(out), nil
}

func (k *kept) shown(path string) string { return filepath.Join(k.archive, filepath.Base(path)) }

var dataDirLine = regexp.MustCompile(`(?m)^[ \t]*(?:agent\.)?data_dir[ \t]*=[ \t]*(?:"([^"\r\n]+)"|'([^'\r\n]+)')`)

// dataDirs returns where the data directory may be, likeliest first, without
// duplicates. The file is searched line by line, because it is broken.
func dataDirs(path string) []string {
	base := filepath.Dir(path)
	var dirs []string
	add := func(dir string) {
		if dir != "" && !filepath.IsAbs(dir) {
			dir = filepath.Join(base, dir)
		}
		if dir == "" {
			return
		}
		if slices.Contains(dirs, dir) {
			return
		}
		dirs = append(dirs, dir)
	}
	if data, err := readFile(path); err == nil {
		for _, m := range dataDirLine.FindAllSubmatch(data, 8) {
			add(string(m[1]) + string(m[2]))
		}
	}
	for _, dir := range filepath.SplitList(os.Getenv("STATE_DIRECTORY")) {
		add(dir)
	}
	add("data")
	return dirs
}
