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
// line about it, then its bytes. It is one file, because two could be torn
// apart by a power cut.
const acceptedName = "accepted.toml"

// acceptedMark begins the line about an accepted configuration; it is a comment
// in TOML, and its number is the version of the format.
const acceptedMark = "# edgeagent accepted 1 "

// accepted is what that line says.
type accepted struct {
	Path string    `json:"path"` // of the original, absolute
	At   time.Time `json:"at"`
	Sum  string    `json:"sha256"` // of the bytes below
}

// ErrNoAccepted is returned by [LastAccepted] when there is none to run.
var ErrNoAccepted = errors.New("no accepted configuration")

// Accept keeps a configuration in its data directory, for the day on which the
// file is broken. It writes nothing when the same is kept there already.
func Accept(c *Config) error {
	path, err := filepath.Abs(c.Path)
	if err != nil {
		return fmt.Errorf("keep configuration: %w", err)
	}
	sum := sha256.Sum256(c.data)
	head := accepted{Path: path, At: time.Now().UTC().Truncate(time.Second), Sum: hex.EncodeToString(sum[:])}
	file := filepath.Join(c.Agent.DataDir, acceptedName)
	if old, _, err := readAccepted(file); err == nil && old.Path == head.Path && old.Sum == head.Sum {
		return nil
	}
	line, err := json.Marshal(head)
	if err != nil {
		return fmt.Errorf("keep configuration: %w", err)
	}
	data := bytes.Join([][]byte{[]byte(acceptedMark), line, []byte("\n"), c.data}, nil)
	if err := replaceFile(file, data); err != nil {
		return fmt.Errorf("keep configuration %s: %w", file, err)
	}
	return nil
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
	cfg, err := parse(file, filepath.Dir(path), data, c)
	if err != nil {
		return nil, fmt.Errorf("read %s: this version refuses what was accepted (lines count from below the first): %w", file, err)
	}
	cfg.Path = path
	return cfg, nil
}

func readAccepted(file string) (accepted, []byte, error) {
	var head accepted
	data, err := os.ReadFile(file)
	if err != nil {
		return head, nil, err
	}
	line, body, found := bytes.Cut(data, []byte("\n"))
	line, marked := bytes.CutPrefix(line, []byte(acceptedMark))
	if !found || !marked || json.Unmarshal(line, &head) != nil {
		return head, nil, fmt.Errorf("read %s: it does not begin like an accepted configuration; it is damaged", file)
	}
	if sum := sha256.Sum256(body); hex.EncodeToString(sum[:]) != head.Sum {
		return head, nil, fmt.Errorf("read %s: its checksum does not fit; it is damaged", file)
	}
	return head, body, nil
}

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
