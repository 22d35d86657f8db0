package modbus

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// port is an open serial port that is ours alone.
type port struct{ *os.File }

// openPort opens without waiting for a modem's carrier, and non-blocking, so
// that deadlines and Close end a read.
func openPort(path string, s Serial) (stream, error) {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	p := port{f}
	if err := p.control(func(fd int) error { return claim(fd, s) }); err != nil {
		_ = f.Close()
		return nil, err
	}
	return p, nil
}

func (p port) control(do func(fd int) error) error {
	rc, err := p.SyscallConn()
	if err != nil {
		return fmt.Errorf("reach the port: %w", err)
	}
	var failed error
	if err := rc.Control(func(fd uintptr) { failed = do(int(fd)) }); err != nil {
		return fmt.Errorf("reach the port: %w", err)
	}
	return failed
}

// Close gives the port back: a pseudo terminal would stay exclusive for as long
// as its other end lives.
func (p port) Close() error {
	_ = p.control(func(fd int) error { return unix.IoctlSetInt(fd, unix.TIOCNXCL, 0) })
	return p.File.Close()
}

// claim takes the port for this process alone, sets it and forgets what it has
// heard so far. The lock is for other agents, TIOCEXCL for everybody else.
func claim(fd int, s Serial) error {
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
		return errors.New("another program uses it; two masters on a line garble each other")
	} else if err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	if err := set(fd, s); err != nil {
		return err
	}
	if err := unix.IoctlSetInt(fd, unix.TIOCEXCL, 0); err != nil {
		return fmt.Errorf("take alone: %w", err)
	}
	if err := unix.IoctlSetInt(fd, unix.TCFLSH, unix.TCIOFLUSH); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	return nil
}

// set makes the port raw. A byte with a parity error is kept, as a zero: the
// checksum then tells, and the length of the frame stays right.
func set(fd int, s Serial) error {
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS2)
	if err != nil {
		return fmt.Errorf("is it a serial port? read its setting: %w", err)
	}
	t.Iflag, t.Oflag, t.Lflag = 0, 0, 0
	t.Cflag &^= unix.CSIZE | unix.PARENB | unix.PARODD | unix.CSTOPB | unix.CRTSCTS | unix.CBAUD | unix.CBAUD<<unix.IBSHIFT
	t.Cflag |= unix.CREAD | unix.CLOCAL | unix.BOTHER | unix.BOTHER<<unix.IBSHIFT | map[int]uint32{7: unix.CS7, 8: unix.CS8}[s.DataBits]
	if s.Stop == 2 {
		t.Cflag |= unix.CSTOPB
	}
	if s.Parity != "none" {
		t.Cflag |= unix.PARENB
		t.Iflag |= unix.INPCK
	}
	if strings.HasPrefix(s.Parity, "odd") {
		t.Cflag |= unix.PARODD
	}
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	t.Ispeed, t.Ospeed = uint32(s.Baud), uint32(s.Baud)
	if err := unix.IoctlSetTermios(fd, unix.TCSETS2, t); err != nil {
		return fmt.Errorf("set %v: %w", s, err)
	}
	return checkSpeed(fd, s)
}

// checkSpeed finds out what the hardware made of the wish: most can do a few
// rates only and take the nearest without a word.
func checkSpeed(fd int, s Serial) error {
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS2)
	if err != nil {
		return fmt.Errorf("read its setting: %w", err)
	}
	if off := int(t.Ospeed) - s.Baud; off > s.Baud/40 || -off > s.Baud/40 {
		return fmt.Errorf("set %v: the port does %d baud instead", s, t.Ospeed)
	}
	return nil
}
