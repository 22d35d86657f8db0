package queue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"time"
)

// ErrInUse is wrapped where a data file belongs to somebody else, who is named.
var ErrInUse = errors.New("is in use by another process")

// readersWait is how long a start waits for commands that read the file: they
// have to have it checked first.
const readersWait = 30 * time.Second

// acquireAfterReaders takes the lock as [acquire] does, but waits for those who
// only read the file: an agent must not fail to start because somebody looked at
// what the last one has left.
func acquireAfterReaders(ctx context.Context, path string, log *slog.Logger) (*os.File, error) {
	ctx, cancel := context.WithTimeout(ctx, readersWait)
	defer cancel()
	for said := false; ; said = true {
		f, err := acquire(path)
		if !errors.Is(err, ErrInUse) || !onlyRead(path) {
			return f, err
		}
		if !said {
			log.Info("a command reads the data file: waiting until it has ended", "lock", path)
		}
		if !waited(ctx, 50*time.Millisecond) {
			return nil, err
		}
	}
}

// onlyRead reports whether those who have a lock share it, or have let go of it.
func onlyRead(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
	return errors.Join(err, f.Close()) == nil
}

// acquire takes the lock of the data file. It is a file of its own, because
// bbolt leaks the lock on the data file when it panics.
func acquire(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, fmt.Errorf("lock the data file: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = fmt.Errorf("the data file %w%s (%s): stop that one first", ErrInUse, holder(f), path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	sign(f)
	return f, nil
}

// holder names the process that has the lock, as far as it is known. What the
// kernel says comes first: who reads the file takes the lock and leaves no name.
func holder(f *os.File) string {
	if pid := locking(f.Name()); pid != "" {
		return ", process " + pid
	}
	text, err := io.ReadAll(io.LimitReader(f, 32))
	if pid := strings.TrimSpace(string(text)); err == nil && pid != "" {
		return ", process " + pid
	}
	return ""
}

// locking returns the number of a process that has a lock on a file, empty where
// the kernel tells none: by Linux's list of locks, whose lines are
// "1: FLOCK ADVISORY WRITE 4711 08:01:131075 0 EOF".
func locking(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	list, err := os.ReadFile("/proc/locks")
	if !ok || err != nil {
		return ""
	}
	file := fmt.Sprintf("%02x:%02x:%d", st.Dev>>8&0xfff, st.Dev&0xff|st.Dev>>12&^0xff, st.Ino)
	for line := range strings.Lines(string(list)) {
		if col := strings.Fields(line); len(col) > 5 && col[1] == "FLOCK" && col[5] == file && col[4] != "0" {
			return col[4] // 0: it lives in another container
		}
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
