package sim

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

var errLineGone = errors.New("the line is gone")

// OpenSerial serves units on the serial line at path, raw and at the speed the
// line has. The path is opened once: when the line goes, Run ends with an error.
func OpenSerial(path string, units map[uint8]*Device) (*Server, error) {
	fd, err := openTTY(path)
	if err != nil {
		return nil, fmt.Errorf("open simulated PLC on %s: %w", path, err)
	}
	return newServer(&port{path: path, line: newLine(os.NewFile(uintptr(fd), path), nil)}, Serial, units), nil
}

// OpenPTY returns the master of a new pseudo-terminal, raw, and the path of its
// other end, which a driver takes for a serial line. Closing the master hangs
// that up.
func OpenPTY() (*os.File, string, error) {
	fd, err := openTTY("/dev/ptmx")
	if err != nil {
		return nil, "", fmt.Errorf("open a pseudo-terminal: %w", err)
	}
	master := os.NewFile(uintptr(fd), "/dev/ptmx")
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return nil, "", errors.Join(fmt.Errorf("unlock a pseudo-terminal: %w", err), master.Close())
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		return nil, "", errors.Join(fmt.Errorf("number of a pseudo-terminal: %w", err), master.Close())
	}
	return master, "/dev/pts/" + strconv.Itoa(n), nil
}

// openTTY opens a terminal without becoming its slave and makes it raw.
func openTTY(path string) (int, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err == nil {
		raw(t)
		err = unix.IoctlSetTermios(fd, unix.TCSETS, t)
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("make it raw: %w", err)
	}
	return fd, nil
}

// raw is cfmakeraw: eight bits, no echo, no signal, no translation.
func raw(t *unix.Termios) {
	t.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	t.Oflag &^= unix.OPOST
	t.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	t.Cflag &^= unix.CSIZE | unix.PARENB
	t.Cflag |= unix.CS8 | unix.CREAD | unix.CLOCAL
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
}

// line is an open serial line, or the master of a pty with its other end held
// open: a master whose other end nobody has open cannot be read.
type line struct {
	*os.File
	other *os.File // nil for a real line
	ends  func()   // told before the line is hung up; nil: nobody
	ended chan struct{}
	once  sync.Once
}

func newLine(f, other *os.File) *line {
	return &line{File: f, other: other, ended: make(chan struct{})}
}

// Close hangs up.
func (l *line) Close() error {
	var err error
	l.once.Do(func() {
		if l.ends != nil {
			l.ends()
		}
		err = l.File.Close()
		if l.other != nil {
			err = errors.Join(err, l.other.Close())
		}
		close(l.ended)
	})
	return err
}

// port is a serial line as a source: it has one connection, for as long as it
// is there.
type port struct {
	path  string
	line  *line
	taken bool
}

func (p *port) accept() (io.ReadWriteCloser, error) {
	if !p.taken {
		p.taken = true
		return p.line, nil
	}
	<-p.line.ended
	return nil, errLineGone
}

func (p *port) address() string { return p.path }
func (p *port) close() error    { return p.line.Close() }

// ServePTY serves units on a serial line behind a new pseudo-terminal and
// returns its path. Where the line is hung up (a fault, Disconnect) a new one
// takes its place under the same path, as an adapter that was pulled and
// plugged in again. Close hangs up and takes the path away.
func ServePTY(units map[uint8]*Device) (*Server, string, error) {
	dir, err := os.MkdirTemp("", "edgeagent-sim-")
	if err != nil {
		return nil, "", fmt.Errorf("make a folder for a simulated line: %w", err)
	}
	path := filepath.Join(dir, "tty")
	s, err := servePTY(&adapter{path: path, dir: dir}, units)
	if err != nil {
		return nil, "", errors.Join(err, os.Remove(dir))
	}
	return s, path, nil
}

// ServePTYAt is [ServePTY] under a path of the caller's: the adapter that is
// plugged into the same socket again.
func ServePTYAt(path string, units map[uint8]*Device) (*Server, error) {
	return servePTY(&adapter{path: path}, units)
}

func servePTY(a *adapter, units map[uint8]*Device) (*Server, error) {
	a.gone = make(chan struct{})
	if err := a.plug(); err != nil {
		return nil, err
	}
	return newServer(a, Serial, units), nil
}

// adapter is a pseudo-terminal under a fixed path, which survives its lines.
type adapter struct {
	path string
	dir  string // to be removed in the end; empty for the caller's
	gone chan struct{}

	mu    sync.Mutex
	line  *line
	taken bool
	err   error // why there is no line any more
}

// plug makes a new line and points the path at it. The caller holds the lock.
func (a *adapter) plug() error {
	master, tty, err := OpenPTY()
	if err != nil {
		return err
	}
	other, err := os.OpenFile(tty, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return errors.Join(fmt.Errorf("open the other end of a simulated line: %w", err), master.Close())
	}
	l := newLine(master, other)
	l.ends = a.replug
	if err := os.Symlink(tty, a.path); err != nil {
		return errors.Join(fmt.Errorf("name a simulated line: %w", err), l.Close())
	}
	a.line, a.taken = l, false
	return nil
}

func (a *adapter) accept() (io.ReadWriteCloser, error) {
	for {
		a.mu.Lock()
		l, taken, err := a.line, a.taken, a.err
		a.taken = true
		a.mu.Unlock()
		if err != nil {
			return nil, err
		}
		if !taken {
			return l, nil
		}
		<-l.ended
	}
}

// replug puts the next line under the path before the last is hung up, so that
// a driver that is quick finds it; unless that was the end.
func (a *adapter) replug() {
	a.mu.Lock()
	defer a.mu.Unlock()
	select {
	case <-a.gone:
		a.err = errLineGone
		return
	default:
	}
	if a.err = os.Remove(a.path); a.err == nil {
		a.err = a.plug()
	}
}

func (a *adapter) address() string { return a.path }

func (a *adapter) close() error {
	a.mu.Lock()
	close(a.gone)
	last := a.line
	a.mu.Unlock()
	err := errors.Join(last.Close(), os.Remove(a.path))
	if a.dir != "" {
		err = errors.Join(err, os.Remove(a.dir))
	}
	return err
}
