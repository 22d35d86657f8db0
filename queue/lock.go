package queue

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
)

// acquire takes the lock of the data file. It is a file of its own, because
// bbolt leaks the lock on the data file when it panics.
func acquire(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, fmt.Errorf("lock the data file: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = fmt.Errorf("the data file is in use by another process%s (%s): stop that one first", holder(f), path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	sign(f)
	return f, nil
}

// holder names the process that has the lock, as far as it is known.
func holder(f *os.File) string {
	text, err := io.ReadAll(io.LimitReader(f, 32))
	if pid := strings.TrimSpace(string(text)); err == nil && pid != "" {
		return ", process " + pid
	}
	return ""
}

// sign leaves our number for the message of the next one; the lock holds
// without it.
func sign(f *os.File) {
	if f.Truncate(0) == nil {
		_, _ = fmt.Fprintln(f, os.Getpid())
	}
}
