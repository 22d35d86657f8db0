package plc

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"edgeagent"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// oracle is what every register holds: its own address, in a way that no
// neighbour's value can be taken for it.
func oracle(area edgeagent.Area, address int) uint16 {
	return uint16(address*7) ^ uint16(area)<<12
}

// call is one request as the fake has seen it.
type call struct {
	at   time.Time
	unit uint8
	r    Request
}

// fakeDriver answers from the oracle, or as answer says. It takes took for it.
type fakeDriver struct {
	mu     sync.Mutex
	calls  []call
	closes int
	took   time.Duration
	answer func(unit uint8, r Request) error // nil error: the oracle
	value  func(area edgeagent.Area, address int) uint16
}

func (f *fakeDriver) Read(ctx context.Context, unit uint8, r Request) ([]byte, error) {
	f.mu.Lock()
	f.calls = append(f.calls, call{time.Now(), unit, r})
	answer, took := f.answer, f.took
	f.mu.Unlock()
	if took > 0 {
		select {
		case <-time.After(took):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if answer != nil {
		if err := answer(unit, r); err != nil {
			return nil, err
		}
	}
	return f.payload(r), nil
}

func (f *fakeDriver) payload(r Request) []byte {
	value := oracle
	if f.value != nil {
		value = f.value
	}
	if r.Area.Bits() {
		out := make([]byte, (r.Quantity+7)/8)
		for i := range int(r.Quantity) {
			out[i/8] |= byte(value(r.Area, int(r.Offset)+i)&1) << (i % 8)
		}
		return out
	}
	var out []byte
	for i := range int(r.Quantity) {
		out = binary.BigEndian.AppendUint16(out, value(r.Area, int(r.Offset)+i))
	}
	return out
}

func (f *fakeDriver) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closes++
	return nil
}

// closed returns how often the connection was closed.
func (f *fakeDriver) closed() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.closes
}

func (f *fakeDriver) set(answer func(unit uint8, r Request) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = answer
}

func (f *fakeDriver) takeCalls() []call {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := f.calls
	f.calls = nil
	return out
}

// refusing answers every request that touches one of the addresses with an
// exception.
func refusing(code byte, addresses ...uint16) func(uint8, Request) error {
	return func(_ uint8, r Request) error {
		for _, a := range addresses {
			if a >= r.Offset && int(a) < r.end() {
				return &Exception{Function: r.Area.Function(), Code: code}
			}
		}
		return nil
	}
}

var errDead = fmt.Errorf("i/o timeout: %w", ErrSilent)

func dead(uint8, Request) error { return errDead }

func unreachable(uint8, Request) error {
	return fmt.Errorf("connection refused: %w", ErrUnreachable)
}

// fakeMemory is a data file that may stall or fail.
type fakeMemory struct {
	mu    sync.Mutex
	kept  map[string]edgeagent.DeviceMemory
	saves []edgeagent.DeviceMemory
	stall time.Duration
	fail  int // so many saves fail first
}

func newFakeMemory() *fakeMemory { return &fakeMemory{kept: make(map[string]edgeagent.DeviceMemory)} }

func (m *fakeMemory) LoadDevice(name string) (edgeagent.DeviceMemory, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, ok := m.kept[name]
	return d, ok
}

func (m *fakeMemory) SaveDevice(ctx context.Context, d edgeagent.DeviceMemory) error {
	m.mu.Lock()
	stall := m.stall
	m.mu.Unlock()
	if stall > 0 {
		select {
		case <-time.After(stall):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail > 0 {
		m.fail--
		return errors.New("disk full")
	}
	m.kept[d.Device] = d
	m.saves = append(m.saves, d)
	return nil
}

func (m *fakeMemory) saved() []edgeagent.DeviceMemory {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.saves)
}

// line is what a polled and a subscribed connection have in common, as those
// who wire them up see it.
type line interface {
	Run(ctx context.Context) error
	Status() []edgeagent.DeviceStatus
	Resume(device, by, reason string) error
	Maintain(device, by, reason string, length time.Duration) error
	Probe(ctx context.Context, device string) (edgeagent.Scan, error)
}

// rig is a connection that runs inside a synctest bubble.
type rig struct {
	t      *testing.T
	driver *fakeDriver
	conn   line
	start  time.Time
	stop   func()

	mu    sync.Mutex
	scans []edgeagent.Scan
}

// run starts a connection; it ends with the test or with stop.
func run(t *testing.T, f *fakeDriver, m Memory, devices ...DeviceSpec) *rig {
	t.Helper()
	r := &rig{t: t, driver: f, start: time.Now()}
	r.conn = NewConnection(f, devices, Options{Memory: m, Deliver: r.deliver})
	r.begin()
	return r
}

// listen starts a subscription; it ends with the test or with stop.
func listen(t *testing.T, f *fakeServer, m Memory, device DeviceSpec) *rig {
	t.Helper()
	r := &rig{t: t, start: time.Now()}
	r.conn = NewSubscription(f, device, Options{Memory: m, Deliver: r.deliver})
	r.begin()
	return r
}

func (r *rig) begin() {
	t := r.t
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.conn.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v, want nil after its context ended", err)
		}
	})
	t.Cleanup(r.stop)
}

func (r *rig) deliver(s edgeagent.Scan) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.scans = append(r.scans, s)
}

// until lets time pass to so long after the start.
func (r *rig) until(d time.Duration) {
	r.t.Helper()
	<-time.After(time.Until(r.start.Add(d)))
	synctest.Wait()
}

func (r *rig) takeScans() []edgeagent.Scan {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.scans
	r.scans = nil
	return out
}

// gaps returns the gaps of a device in seconds since the start: from, to, and so on.
func (r *rig) gaps(device string) []float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []float64
	for _, s := range r.scans {
		for _, e := range s.Events {
			if s.Device == device && e.Kind == edgeagent.DeviceEventGap {
				out = append(out, e.From.Sub(r.start).Seconds(), e.At.Sub(r.start).Seconds())
			}
		}
	}
	return out
}

func (r *rig) events(device string) []edgeagent.DeviceEventKind {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []edgeagent.DeviceEventKind
	for _, s := range r.scans {
		for _, e := range s.Events {
			if s.Device == device {
				out = append(out, e.Kind)
			}
		}
	}
	return out
}

// latest returns the last sample of every tag of a device.
func (r *rig) latest(device string) map[string]edgeagent.Sample {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make(map[string]edgeagent.Sample)
	for _, s := range r.scans {
		for _, sample := range s.Samples {
			if s.Device == device {
				out[sample.Tag] = sample
			}
		}
	}
	return out
}

func (r *rig) status(device string) edgeagent.DeviceStatus {
	r.t.Helper()
	for _, s := range r.conn.Status() {
		if s.Name == device {
			return s
		}
	}
	r.t.Fatalf("no status of device %q", device)
	return edgeagent.DeviceStatus{}
}

// seconds returns when the requests to a unit were sent, since the start.
func (r *rig) seconds(unit uint8) []float64 {
	var out []float64
	for _, c := range r.driver.takeCalls() {
		if c.unit == unit {
			out = append(out, c.at.Sub(r.start).Seconds())
		}
	}
	return out
}

// word is a uint16 tag in a holding register.
func word(name string, offset uint16) TagSpec {
	return TagSpec{
		Tag:  edgeagent.Tag{Name: name, Type: edgeagent.TypeUint16},
		Addr: edgeagent.Address{Area: edgeagent.AreaHolding, Offset: offset, Bit: -1},
	}
}

// filler is a device with one tag, scanned every second.
func filler() DeviceSpec {
	return DeviceSpec{
		Name: "filler", Unit: 1, Scan: time.Second, Timeout: time.Second, Enabled: true, Key: "k1",
		Retry: defaultRetry, Tags: []TagSpec{word("level", 100)},
	}
}

func (d DeviceSpec) named(name string, unit uint8) DeviceSpec {
	d.Name, d.Unit = name, unit
	return d
}
