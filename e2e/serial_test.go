package e2e

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// serialLine joins two pseudo-terminals as a cable joins two serial ports, and
// records what the agent sends.
type serialLine struct {
	t           *testing.T
	peer, agent string // paths of the ports
	mu          sync.Mutex
	ends        []*os.File // masters, and the ports themselves: while one holds them open, a peer can come and go
}

// newSerialLine lays a cable. The agent's end is a link that keeps its name,
// as /dev/serial/by-id does, whatever port is behind it.
func newSerialLine(t *testing.T) *serialLine {
	t.Helper()
	l := &serialLine{t: t, agent: filepath.Join(t.TempDir(), "by-id")}
	t.Cleanup(l.hangUp)
	l.plug()
	return l
}

// plug puts a new adapter behind the names.
func (l *serialLine) plug() {
	l.t.Helper()
	there, peer := openPTY(l.t)
	here, agent := openPTY(l.t)
	_ = os.Remove(l.agent)
	if err := os.Symlink(agent, l.agent); err != nil {
		l.t.Fatal(err)
	}
	l.mu.Lock()
	l.peer, l.ends = peer, []*os.File{there, here, openPort(l.t, peer), openPort(l.t, agent)}
	l.mu.Unlock()
	go l.carry(here, there, true)
	go l.carry(there, here, false)
}

// carry moves bytes one way.
func (l *serialLine) carry(from, to *os.File, requests bool) {
	buf := make([]byte, 512)
	var asked []byte
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		if requests {
			asked = noteRequests(append(asked, buf[:n]...))
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// noteRequests records what was asked and returns the beginning of what is not
// here yet. What reads is 8 bytes and its checksum is right; on a machine that
// stood still two of them may be read here at once.
func noteRequests(asked []byte) (rest []byte) {
	for ; len(asked) >= 8; asked = asked[8:] {
		frame := asked[:8]
		if binary.LittleEndian.Uint16(frame[6:]) != checksum(frame[:6]) {
			record(nil)
			return nil
		}
		record([]byte{0, 0, 0, 0, 0, 6, frame[0], frame[1]})
	}
	return asked
}

// checksum is the CRC of Modbus RTU.
func checksum(frame []byte) uint16 {
	crc := uint16(0xffff)
	for _, b := range frame {
		crc ^= uint16(b)
		for range 8 {
			odd := crc & 1
			if crc >>= 1; odd == 1 {
				crc ^= 0xa001
			}
		}
	}
	return crc
}

// hangUp pulls the adapter: both ports are gone.
func (l *serialLine) hangUp() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.ends {
		_ = f.Close()
	}
	l.ends = nil
	_ = os.Remove(l.agent)
}

// openPort makes a port raw, so that it echoes nothing before somebody uses it.
func openPort(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := f.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.IoctlSetTermios(int(fd), unix.TCSETS, &unix.Termios{Cflag: unix.CS8 | unix.CREAD | unix.CLOCAL})
	})
	return f
}

func openPTY(t *testing.T) (*os.File, string) {
	t.Helper()
	m, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := m.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var n uint32
	var failed error
	_ = raw.Control(func(fd uintptr) {
		var unlock int32
		for _, c := range []struct {
			op  uintptr
			arg unsafe.Pointer
		}{{unix.TIOCSPTLCK, unsafe.Pointer(&unlock)}, {unix.TIOCGPTN, unsafe.Pointer(&n)}} {
			if _, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, c.op, uintptr(c.arg)); errno != 0 {
				failed = errno
			}
		}
	})
	if failed != nil {
		t.Fatal(failed)
	}
	return m, fmt.Sprintf("/dev/pts/%d", n)
}
