//go:build linux

package modbus_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"edgeagent"
	"edgeagent/plc"
	"edgeagent/plc/modbus"
	"edgeagent/plc/sim"
)

var block = plc.Request{Area: edgeagent.AreaHolding, Offset: 100, Quantity: 20}

// adapter is a USB adapter without anybody behind it, under a path of its own.
type adapter struct {
	t      *testing.T
	path   string
	master *os.File
}

func plug(t *testing.T) *adapter {
	t.Helper()
	a := &adapter{t: t, path: filepath.Join(t.TempDir(), "usb-adapter")}
	a.plug()
	t.Cleanup(a.pull)
	return a
}

func (a *adapter) plug() {
	a.t.Helper()
	master, tty, err := sim.OpenPTY()
	if err != nil {
		a.t.Fatal(err)
	}
	if err := os.Symlink(tty, a.path); err != nil {
		a.t.Fatal(err)
	}
	a.master = master
}

func (a *adapter) pull() {
	if a.master != nil {
		_ = a.master.Close()
		_ = os.Remove(a.path)
		a.master = nil
	}
}

func (a *adapter) link(timeout time.Duration) *modbus.Link {
	l := modbus.New(modbus.Options{Addr: a.path, Serial: &modbus.Serial{Baud: 115200}, Timeout: timeout})
	a.t.Cleanup(func() { _ = l.Close() })
	return l
}

// asked waits until a request is on the line.
func (a *adapter) asked() {
	if _, err := io.ReadFull(a.master, make([]byte, 8)); err != nil {
		a.t.Errorf("no request on the line: %v", err)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

func cpuUsed(t *testing.T) time.Duration {
	t.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestAdapterVanishesMidRequest pulls the adapter while an hour's timeout runs:
// the read ends all the same, nothing is left open, and the next adapter under
// the path is read.
func TestAdapterVanishesMidRequest(t *testing.T) {
	a := plug(t)
	before := 0
	for round := range 5 {
		l := a.link(time.Hour) // a fresh one: the cut request binds the unit for its timeout
		var waiting sync.WaitGroup
		waiting.Go(func() { a.asked(); a.pull() })
		_, err := l.Read(t.Context(), 1, block)
		if !errors.Is(err, plc.ErrUnreachable) {
			t.Errorf("read = %v, want an unreachable port", err)
		}
		waiting.Wait()
		for range 3 {
			if _, err := l.Read(t.Context(), 1, block); !errors.Is(err, plc.ErrUnreachable) || !strings.Contains(err.Error(), "plugged in") {
				t.Errorf("read = %v, want an unreachable port and a hint", err)
			}
		}
		if round == 0 {
			before = openFiles(t)
		} else if n := openFiles(t); n > before {
			t.Errorf("%d open files after %d adapters, %d after the first", n, round+1, before)
		}
		a.plug()
	}
	a.pull()
	server, err := sim.ServePTYAt(a.path, sim.OracleUnits(1))
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() { _ = server.Run(context.Background()) })
	defer running.Wait()
	defer server.Close()
	got, err := a.link(10*time.Second).Read(t.Context(), 1, block)
	if err != nil || len(got) != 40 || uint16(got[0])<<8|uint16(got[1]) != sim.OracleValue(1, block.Area, block.Offset) {
		t.Errorf("read = %x, %v; want the values behind the new adapter", got, err)
	}
}

// TestAdapterThatVanishedDoesNotSpin looks at the processor, not the clock.
func TestAdapterThatVanishedDoesNotSpin(t *testing.T) {
	a := plug(t)
	l := a.link(patience)
	var pulling sync.WaitGroup
	pulling.Go(func() { a.asked(); a.pull() })
	_, _ = l.Read(t.Context(), 1, block)
	pulling.Wait()
	begin := cpuUsed(t)
	for range 100 {
		if _, err := l.Read(t.Context(), 1, block); err == nil {
			t.Fatal("read from a port that is gone")
		}
	}
	if used := cpuUsed(t) - begin; used > time.Second {
		t.Errorf("100 reads of a port that is gone took %v of processor time", used)
	}
}

func TestPortIsOurs(t *testing.T) {
	a := plug(t)
	l := a.link(20 * time.Millisecond)
	if _, err := l.Read(t.Context(), 1, block); !errors.Is(err, plc.ErrSilent) {
		t.Errorf("read = %v, want silence", err)
	}
	second := a.link(20 * time.Millisecond)
	if _, err := second.Read(t.Context(), 1, block); !errors.Is(err, plc.ErrUnreachable) || !strings.Contains(err.Error(), "another program") {
		t.Errorf("second link: %v, want a port in use", err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := second.Read(t.Context(), 1, block); !errors.Is(err, plc.ErrSilent) {
		t.Errorf("second link: %v, want silence on a port that is free again", err)
	}
}

func TestPortsThatAreNone(t *testing.T) {
	plain := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	a := plug(t)
	for name, tc := range map[string]struct {
		path   string
		serial modbus.Serial
		want   string
	}{
		"missing":       {filepath.Join(t.TempDir(), "none"), modbus.Serial{}, "plugged in"},
		"a file":        {plain, modbus.Serial{}, "serial port"},
		"a folder":      {t.TempDir(), modbus.Serial{}, "serial port"},
		"odd parity":    {a.path, modbus.Serial{Parity: "mark"}, "none, even or odd"},
		"no baud rate":  {a.path, modbus.Serial{Baud: 3}, "baud"},
		"no stop":       {a.path, modbus.Serial{Stop: 3}, "stop bits"},
		"no data bits":  {a.path, modbus.Serial{DataBits: 5}, "data bits"},
		"what there is": {a.path, modbus.Serial{Baud: 250000, Parity: "odd", Stop: 2, DataBits: 8}, ""},
	} {
		l := modbus.New(modbus.Options{Addr: tc.path, Serial: &tc.serial, Timeout: 10 * time.Millisecond})
		_, err := l.Read(t.Context(), 1, block)
		if opened := tc.want == ""; opened && !errors.Is(err, plc.ErrSilent) || !opened && (!errors.Is(err, plc.ErrUnreachable) || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
		_ = l.Close()
	}
}

func TestContextEndsAReadOfAPort(t *testing.T) {
	a := plug(t)
	l := a.link(time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	var waiting sync.WaitGroup
	waiting.Go(func() { a.asked(); cancel() })
	if _, err := l.Read(ctx, 1, block); !errors.Is(err, context.Canceled) {
		t.Errorf("read = %v, want cancelled long before its hour", err)
	}
	waiting.Wait()
}

func TestListenHearsOthersAndSendsNothing(t *testing.T) {
	a := plug(t)
	held, err := os.OpenFile(a.path, os.O_RDWR|unix.O_NOCTTY, 0) // a line whose other end nobody has open cannot be read
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if n, err := modbus.Listen(t.Context(), a.path, modbus.Serial{}, 20*time.Millisecond); n != 0 || err != nil {
		t.Errorf("a quiet line: %d frames, %v", n, err)
	}
	begun := make(chan struct{})
	var talking sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	talking.Go(func() {
		close(begun)
		for ctx.Err() == nil {
			_, _ = a.master.Write([]byte{1, 3, 0, 0, 0, 10, 0xc5, 0xcd})
			select {
			case <-ctx.Done():
			case <-time.After(10 * time.Millisecond):
			}
		}
	})
	<-begun
	n := 0
	for tries := 0; n == 0 && err == nil && tries < 50; tries++ { // of a busy machine each may be over before it hears
		n, err = modbus.Listen(t.Context(), a.path, modbus.Serial{Baud: 115200}, 200*time.Millisecond)
	}
	cancel()
	talking.Wait()
	if n == 0 || err != nil {
		t.Errorf("a line with traffic: %d frames, %v", n, err)
	}
	if _, err := modbus.Listen(ctx, a.path, modbus.Serial{}, time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("listening under an ended context = %v", err)
	}
	if err := a.master.SetReadDeadline(time.Now().Add(10 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := a.master.Read(make([]byte, 10)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%d bytes were sent, %v", n, err)
	}
}

func TestSerialIsWrittenAsEverybodyDoes(t *testing.T) {
	for want, s := range map[string]modbus.Serial{
		"19200 8E1": {}, "9600 8N2": {Baud: 9600, Parity: "none"}, "1200 7O1": {Baud: 1200, Parity: "odd", DataBits: 7, Stop: 1},
	} {
		if got := s.String(); got != want {
			t.Errorf("%+v = %q, want %q", s, got, want)
		}
	}
}
