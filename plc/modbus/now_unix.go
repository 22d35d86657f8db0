//go:build unix

package modbus

import (
	"errors"
	"io"
	"syscall"
	"time"
)

// readNow reads what has come already and does not wait.
func readNow(s stream, b []byte) (n int, err error) {
	file, can := s.(syscall.Conn)
	if !can {
		return readSoon(s, b)
	}
	rc, err := file.SyscallConn()
	if err != nil {
		return 0, err
	}
	if err := s.SetReadDeadline(time.Time{}); err != nil {
		return 0, err
	}
	var failed error
	err = rc.Read(func(fd uintptr) bool {
		for {
			if n, failed = syscall.Read(int(fd), b); !errors.Is(failed, syscall.EINTR) {
				return true
			}
		}
	})
	switch {
	case err != nil:
		return 0, err
	case errors.Is(failed, syscall.EAGAIN):
		return 0, nil
	case failed != nil:
		return 0, failed
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}
