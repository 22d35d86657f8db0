package qemu

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Initrd returns an initial RAM disk (cpio, "newc") that holds files by their
// paths, every one executable. Folders above them are made.
func Initrd(files map[string][]byte) []byte {
	var out []byte
	for _, dir := range foldersOf(files) {
		out = appendEntry(out, dir, 0o040755, nil)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		out = appendEntry(out, name, 0o100755, files[name])
	}
	return appendEntry(out, "TRAILER!!!", 0, nil)
}

// foldersOf returns the folders above files, the outer ones first.
func foldersOf(files map[string][]byte) []string {
	folders := make(map[string]bool)
	for name := range files {
		for dir := filepath.Dir(name); dir != "."; dir = filepath.Dir(dir) {
			folders[dir] = true
		}
	}
	return slices.Sorted(maps.Keys(folders))
}

func appendEntry(out []byte, name string, mode int, content []byte) []byte {
	const inode, uid, gid, links, mtime, device = 0, 0, 0, 1, 0, 0
	out = fmt.Appendf(out, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		inode, mode, uid, gid, links, mtime, len(content), device, device, device, device, len(name)+1, 0, name)
	out = pad(out)
	return pad(append(out, content...))
}

// pad fills up to the next multiple of four, where every part of an entry begins.
func pad(out []byte) []byte { return append(out, make([]byte, -len(out)&3)...) }

// Modules reads the kernel's modules of these names and all that they depend on
// from below dir, in the order in which they can be loaded. One that is not there
// is taken for built in.
func Modules(dir string, names ...string) ([]Module, error) {
	paths := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if name, ok := strings.CutSuffix(filepath.Base(path), ".ko"); ok {
			paths[strings.ReplaceAll(name, "-", "_")] = path
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	var ordered []Module
	seen := make(map[string]bool)
	var load func(name string) error
	load = func(name string) error {
		if seen[name] || paths[name] == "" {
			return nil
		}
		seen[name] = true
		code, needs, err := readModule(paths[name])
		if err != nil {
			return err
		}
		for _, n := range needs {
			if err := load(n); err != nil {
				return err
			}
		}
		ordered = append(ordered, Module{name, code})
		return nil
	}
	for _, name := range names {
		if err := load(name); err != nil {
			return nil, err
		}
	}
	return ordered, nil
}

// Module is a module of the kernel.
type Module struct {
	Name string
	Code []byte
}

// readModule returns a module and the names of those that it depends on.
func readModule(path string) (code []byte, needs []string, err error) {
	if code, err = os.ReadFile(path); err != nil {
		return nil, nil, err
	}
	file, err := elf.NewFile(bytes.NewReader(code))
	if err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", path, err)
	}
	section := file.Section(".modinfo")
	if section == nil {
		return nil, nil, fmt.Errorf("read %s: no section .modinfo: not a module", path)
	}
	info, err := section.Data()
	if err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", path, err)
	}
	for field := range strings.SplitSeq(string(info), "\x00") {
		if list, ok := strings.CutPrefix(field, "depends="); ok && list != "" {
			needs = strings.Split(strings.ReplaceAll(list, "-", "_"), ",")
		}
	}
	return code, needs, nil
}
