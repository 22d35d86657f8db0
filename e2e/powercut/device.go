package powercut

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Image is the file of a [Disk] that holds a whole file system.
const Image = "disk.img"

// Format returns the image of an empty ext4 file system of size bytes, made in
// the scratch folder dir.
func Format(ctx context.Context, dir string, size int64) ([]byte, error) {
	path := filepath.Join(dir, Image)
	if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, size)); err != nil {
		return nil, err
	}
	if _, err := run(ctx, "mkfs.ext4", "-q", "-F", "-b", "4096", "-O", "^metadata_csum_seed", "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard", path); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

// Attach makes a block device of the image at path and mounts its file system
// at dir. Writes go straight through to the image, and every flush of the file
// system is an fsync of it. Detach undoes both.
func Attach(ctx context.Context, path, dir string) (detach func() error, err error) {
	device, err := loop(ctx, path)
	if err != nil {
		return nil, err
	}
	free := func() error {
		_, err := run(context.WithoutCancel(ctx), "losetup", "--detach", device)
		return err
	}
	if _, err := run(ctx, "mount", "-t", "ext4", device, dir); err != nil {
		return nil, errors.Join(err, free())
	}
	return func() error {
		_, err := run(context.WithoutCancel(ctx), "umount", dir)
		return errors.Join(err, free())
	}, nil
}

// loop makes a block device of an image. Others look for a free one at the same
// time, and who comes second is told that it is busy.
func loop(ctx context.Context, path string) (device string, err error) {
	for range 10 {
		if device, err = run(ctx, "losetup", "--direct-io=on", "--find", "--show", path); err == nil {
			break
		}
	}
	return device, err
}

// WriteImage writes an image and leaves holes where it is empty.
func WriteImage(path string, image []byte) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Truncate(int64(len(image))); err != nil {
		return err
	}
	empty := make([]byte, 64<<10)
	for off := 0; off < len(image); off += len(empty) {
		chunk := image[off:min(len(image), off+len(empty))]
		if bytes.Equal(chunk, empty[:len(chunk)]) {
			continue
		}
		if _, err := f.WriteAt(chunk, int64(off)); err != nil {
			return err
		}
	}
	return nil
}

// run executes a program and returns what it printed.
func run(ctx context.Context, name string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	text := strings.TrimSpace(string(out))
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, text)
	}
	return text, nil
}
