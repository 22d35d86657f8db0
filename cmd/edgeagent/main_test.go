package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"edgeagent"
	"edgeagent/config"
	"edgeagent/plc/sim"
)

// The data file is checked by a child, which is this binary, and so is an agent
// that is to be killed: then it is no test but the command.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == checkCommand || os.Args[1] == "run") {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		code := mainRun(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
		stop()
		os.Exit(code)
	}
	if os.Getenv("GORACE") == "" {
		_ = os.Setenv("GORACE", "atexit_sleep_ms=0") // every child would sleep for a second before it ends
	}
	goleak.VerifyTestMain(m)
}

// eventually waits for what an active part will do in its own time.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("not in a minute: %s", what)
		}
	}
}

// panel is one simulated PLC of a rig.
type panel struct {
	*sim.Device
	server *sim.Server
}

// startPanel serves a device of zeros until the test ends.
func startPanel(t *testing.T) panel {
	t.Helper()
	p := panel{Device: sim.NewDevice()}
	server, err := sim.Listen("127.0.0.1:0", map[uint8]*sim.Device{1: p.Device})
	if err != nil {
		t.Fatal(err)
	}
	p.server = server
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Run(context.Background()) })
	t.Cleanup(func() {
		_ = server.Close()
		serving.Wait()
	})
	return p
}

// device is a [[device]] with one tag and the alarm F212 above 80.
func (p panel) device(name string) string {
	return fmt.Sprintf(`
[[device]]
name = %q
line = "Filler-2"
url = "modbus-tcp://%s"
scan = "200ms"
timeout = "2s"

  [[device.tag]]
  name = "level"
  address = "holding:0"
  type = "uint16"

  [[device.alarm]]
  code = "F212"
  when = "level > 80"
  text = "Level unstable"
`, name, p.server.Addr())
}

// rig is a configuration in a folder of its own and, once started, a real
// agent that runs it.
type rig struct {
	t    *testing.T
	dir  string
	path string
	page string
	log  *syncBuffer
	a    *agent
	stop func() error
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// newRig writes a configuration: the head, and what the test adds. The folder
// is short, because the path of a socket must be.
func newRig(t *testing.T, parts ...string) *rig {
	t.Helper()
	dir, err := os.MkdirTemp("", "ea") //nolint:usetesting // t.TempDir holds the test's name: too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	r := &rig{t: t, dir: dir, path: filepath.Join(dir, "config.toml"), log: &syncBuffer{}}
	r.write(parts...)
	return r
}

const rigHead = `
[agent]
id = "gw-1"
site = "plant-a"
data_dir = %q
socket = %q
shutdown_grace = "1s"

[status]
listen = "127.0.0.1:0"
`

func (r *rig) write(parts ...string) {
	r.t.Helper()
	r.file("config.toml", fmt.Sprintf(rigHead, filepath.Join(r.dir, "data"), filepath.Join(r.dir, "a.sock"))+strings.Join(parts, "\n"))
}

func (r *rig) text() string {
	r.t.Helper()
	text, err := os.ReadFile(r.path)
	if err != nil {
		r.t.Fatal(err)
	}
	return string(text)
}

// file writes a file of the rig's folder.
func (r *rig) file(name, text string) {
	r.t.Helper()
	path := filepath.Join(r.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) load() *config.Config {
	r.t.Helper()
	cfg, err := config.Load(r.path, checks())
	if err != nil {
		r.t.Fatal(err)
	}
	return cfg
}

// start runs the agent until the test ends or stop is called, and waits until
// it can be asked.
func (r *rig) start() *rig {
	r.t.Helper()
	r.begin()
	eventually(r.t, "the agent runs", func() bool { return r.a.ready() == nil })
	return r
}

// begin runs the agent and waits for nothing.
func (r *rig) begin() *rig {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r.a = newAgent(r.load(), slog.New(slog.NewTextHandler(r.log, nil)))
	r.a.onPage = func(url string) { r.page = url }
	ended := make(chan error, 1)
	go func() { ended <- r.a.Run(ctx) }()
	r.stop = sync.OnceValue(func() error { cancel(); return <-ended })
	r.t.Cleanup(func() {
		if err := r.stop(); err != nil {
			r.t.Errorf("the agent ended with %v\n%s", err, r.log)
		}
	})
	return r
}

// run is the command line.
func (r *rig) run(args ...string) (out, errOut string, code int) {
	r.t.Helper()
	return runCommand(r.t, append(args, "-c", r.path)...)
}

func runCommand(t *testing.T, args ...string) (out, errOut string, code int) {
	t.Helper()
	var o, e bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	code = mainRun(ctx, args, strings.NewReader(""), &o, &e)
	return o.String(), e.String(), code
}

// get asks the agent over its socket.
func get[T any](r *rig, path string) T {
	r.t.Helper()
	var v T
	if err := clientOn(r.load().Agent.Socket).get(r.t.Context(), path, &v); err != nil {
		r.t.Fatalf("GET %s: %v\n%s", path, err, r.log)
	}
	return v
}

func (r *rig) device(name string) edgeagent.DeviceStatus {
	r.t.Helper()
	for _, d := range get[devicesAnswer](r, "/api/v1/devices").Devices {
		if d.Name == name {
			return d
		}
	}
	return edgeagent.DeviceStatus{}
}

func (r *rig) alarms(state string) []edgeagent.Alarm {
	r.t.Helper()
	return get[alarmsAnswer](r, "/api/v1/alarms?state="+state).Alarms
}
