package queue

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// keepDamaged is how many damaged files are kept for a person to look at. They
// are on the same card as the data: the newest stays whatever its size, older
// ones only as long as all of them fit into the quota.
const keepDamaged = 3

// Why a file was set aside, as its name says.
const (
	asideCorrupt = "corrupt"
	asideNewer   = "newer"
	asideForeign = "foreign"
)

// setAside gives the file a second name and leaves the first in place: until
// another file takes it, a power cut finds everything as it was.
func setAside(path, why string) (kept string, err error) {
	stamp := time.Now().UTC().Format("20060102T150405.000Z")
	kept = fmt.Sprintf("%s.%s-%s", path, why, stamp)
	err = durable("aside.link", func() error { return os.Link(path, kept) })
	for n := 2; errors.Is(err, os.ErrExist) && n < 100; n++ {
		kept = fmt.Sprintf("%s.%s-%s-%d", path, why, stamp, n)
		err = os.Link(path, kept)
	}
	if err == nil {
		return kept, linkJournal(path, kept)
	}
	// A file system without hard links, as on a card that a camera has formatted.
	if err := announce(path, why); err != nil {
		return "", fmt.Errorf("set the data file %s aside: %w", path, err)
	}
	if err := durable("aside.rename", func() error { return os.Rename(path, kept) }); err != nil {
		return "", fmt.Errorf("set the data file %s aside: %w", path, err)
	}
	err = os.Rename(path+journalSuffix, kept+journalSuffix)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("set the journal of %s aside: %w", path, err)
	}
	return kept, nil
}

// announce leaves a file that says that another is about to take the place of the data
// file, if that is not there already: see takeBackAside.
func announce(path, why string) error {
	if why == asideForeign { // of a journal, which is made anew wherever there is none
		return nil
	}
	f, err := os.OpenFile(path+".new", os.O_RDWR|os.O_CREATE, 0o640)
	if err == nil {
		err = errors.Join(f.Close(), syncPath(filepath.Dir(path)))
	}
	return err
}

// takeBackAside gives a data file its name back that was set aside where there are no
// hard links, if a power cut came before another took its place: else a new one would
// be begun without a word. It returns ErrNotExist when there is none; one that lies
// there with no file about to follow it was left without a name by a person.
func takeBackAside(o Options) error {
	if _, err := os.Stat(o.Path + ".new"); err != nil {
		return err
	}
	kept, stamp := "", ""
	for _, why := range []string{asideCorrupt, asideNewer} {
		found, err := filepath.Glob(escapeGlob(o.Path) + "." + why + "-*Z*")
		if err != nil {
			return fmt.Errorf("look for a data file that was set aside: %w", err)
		}
		for _, name := range found {
			if at := strings.TrimPrefix(name, o.Path+"."+why+"-"); at > stamp && !strings.HasSuffix(name, journalSuffix) {
				kept, stamp = name, at
			}
		}
	}
	if kept == "" {
		return os.ErrNotExist
	}
	for _, suffix := range []string{journalSuffix, ""} {
		if err := os.Rename(kept+suffix, o.Path+suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("take back the data file that was set aside: %w", err)
		}
	}
	o.Log.Warn("a data file that was being set aside has its name back", "file", kept)
	return syncPath(filepath.Dir(o.Path))
}

// linkJournal gives the journal of a data file a second name beside that of the
// file: the one is not whole without the other.
func linkJournal(path, kept string) error {
	err := os.Link(path+journalSuffix, kept+journalSuffix)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("set the journal of %s aside: %w", path, err)
	}
	return nil
}

// dropJournal takes the journal away of a data file that another has replaced.
func dropJournal(path string) error {
	err := os.Remove(path + journalSuffix)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("delete the journal of the file before: %w", err)
	}
	return nil
}

// swapIn puts a new file, whole and synced, in place of the old one.
func swapIn(fresh, path string) error {
	if err := durable("swap.rename", func() error { return os.Rename(fresh, path) }); err != nil {
		return fmt.Errorf("put the new data file in place: %w", err)
	}
	if err := durable("swap.folder", func() error { return syncPath(filepath.Dir(path)) }); err != nil {
		return err
	}
	return dropJournal(path)
}

// pruneDamaged deletes damaged files that are too old or too much.
func pruneDamaged(path string, keep int, quota int64) error {
	found, err := filepath.Glob(escapeGlob(path) + "." + asideCorrupt + "-*")
	if err != nil {
		return fmt.Errorf("look for damaged files: %w", err)
	}
	slices.Sort(found) // their names tell their age
	slices.Reverse(found)
	var sum int64
	found = slices.DeleteFunc(found, func(name string) bool { return strings.HasSuffix(name, journalSuffix) })
	for i, name := range found {
		info, statErr := os.Stat(name)
		if statErr == nil {
			sum += info.Size()
		}
		if i < keep && (i == 0 || sum <= quota) { // the newest, or with all before it within the quota
			continue
		}
		err = errors.Join(err, os.Remove(name), dropJournal(name))
	}
	return err
}

// escapeGlob keeps a path from being read as a pattern.
func escapeGlob(path string) string {
	out := make([]byte, 0, len(path))
	for i := range len(path) {
		switch path[i] {
		case '*', '?', '[', '\\':
			out = append(out, '\\')
		}
		out = append(out, path[i])
	}
	return string(out)
}
