//go:build qemu

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"edgeagent/e2e/powercut"
	"edgeagent/e2e/qemu"
)

// gateway is the computer on the line, and those who watch it.
type gateway struct {
	t            *testing.T
	kernel, disc string // files: kernel and initial RAM disk
	address      string // that leads to the agent's socket
	empty, image []byte // of the disk: as it was made, and now
	random       *rand.Rand
	fates        []powercut.Fate
	lie          func() bool
	books        *books
	closed       atomic.Bool // upstream takes nothing
	took         chan struct{}

	agent   *agent
	machine *qemu.Machine
	disk    *qemu.Disk

	mu       sync.Mutex
	promises []string
	shown    map[string]bool // jobs as completed
	open     []string        // keys that were posted and not answered
	posted   int

	judged, boots, flushes, endings int
	dirty                           int // cuts at which the drive's cache held something
	cuts                            map[moment]int
}

func newGateway(t *testing.T, tag string) *gateway {
	t.Helper()
	r := &gateway{
		t: t, random: rand.New(rand.NewPCG(uint64(*seed), 21)), fates: fates(0, .1, .5, .9, 1),
		took: make(chan struct{}, 1), cuts: map[moment]int{}, shown: map[string]bool{},
	}
	for _, program := range []string{"qemu-system-aarch64", "mkfs.ext4"} {
		_, err := exec.LookPath(program)
		needs(t, program, err == nil)
	}
	kernels, _ := filepath.Glob(filepath.Join(root, "e2e", "out", "qemu", "boot", "vmlinuz-*"))
	needs(t, "a kernel for arm64; `make powercut`", len(kernels) == 1)
	r.kernel, r.address = kernels[0], freeAddress(t)
	r.books = newBooks(t, r.promise)
	r.disc = filepath.Join(t.TempDir(), "initrd")
	if err := os.WriteFile(r.disc, r.pack(tag), 0o600); err != nil {
		t.Fatal(err)
	}
	image, err := powercut.Format(t.Context(), t.TempDir(), 64<<20)
	if err != nil {
		t.Fatal(err)
	}
	r.empty, r.image = image, bytes.Clone(image)
	return r
}

// fates are those of a drive whose sectors are whole.
func fates(keep ...float64) (all []powercut.Fate) {
	for _, k := range keep {
		all = append(all, powercut.Fate{Sector: qemu.Sector, Keep: k})
	}
	return all
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l := listenLoopback(t)
	defer l.Close()
	return l.Addr().String()
}

// pack makes the initial RAM disk: init, the agent with a tag, its
// configuration and the drivers.
func (r *gateway) pack(tag string) []byte {
	r.t.Helper()
	r.t.Setenv("GOARCH", "arm64")
	r.t.Setenv("CGO_ENABLED", "0")
	agent := builtWith(r.t, tag, "edgeagent-arm64", "build", "-trimpath", "-ldflags", "-s -w", "./cmd/edgeagent")
	init := filepath.Join(r.t.TempDir(), "init")
	if out, err := exec.CommandContext(r.t.Context(), "go", "build", "-o", init, "./qemu/init").CombinedOutput(); err != nil {
		r.t.Fatalf("build init: %v\n%s", err, out)
	}
	config := plan{
		agent:     "data_dir = \"/data\"\nsocket = \"/run/edgeagent.sock\"",
		upstreams: []string{r.upstream()},
	}.toml(r.t)
	files := map[string][]byte{"etc/config.toml": []byte(config), "data/unmounted": nil}
	for name, path := range map[string]string{"init": init, "edgeagent": agent} {
		content, err := os.ReadFile(path)
		if err != nil {
			r.t.Fatal(err)
		}
		files[name] = content
	}
	modules, err := qemu.Modules(filepath.Join(root, "e2e", "out", "qemu", "lib", "modules"), "virtio_mmio", "virtio_blk", "virtio_net", "ext4", "crc32c_generic")
	if err != nil {
		r.t.Fatal(err)
	}
	for i, m := range modules {
		files[fmt.Sprintf("modules/%02d-%s", i, m.Name)] = m.Code
	}
	return qemu.Initrd(files)
}

// upstream returns where the guest finds the books: its network calls this host
// 10.0.2.2. While it is closed, it takes nothing.
func (r *gateway) upstream() string {
	l := listenLoopback(r.t)
	serveUntilDone(r.t, l, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if r.closed.Load() {
			http.Error(w, "closed", http.StatusServiceUnavailable)
			return
		}
		select {
		case r.took <- struct{}{}:
		default:
		}
		r.books.handle(w, req)
	}))
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return "http://10.0.2.2:" + port + "/events"
}

func (r *gateway) promise(line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.promises = append(r.promises, line)
}

func (r *gateway) kept() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.promises)
}

func (r *gateway) count(word string) (n int) {
	for _, p := range r.kept() {
		if strings.HasPrefix(p, word+" ") {
			n++
		}
	}
	return n
}

func (r *gateway) cutsByMoment() string {
	var parts []string
	for _, m := range slices.Sorted(maps.Keys(r.cuts)) {
		parts = append(parts, fmt.Sprintf("%d %s", r.cuts[m], m))
	}
	return strings.Join(parts, ", ")
}

// on switches the computer on and returns when its agent is being started.
func (r *gateway) on() error {
	r.disk = qemu.NewDisk(r.image)
	r.image = nil
	r.disk.Lie = r.lie
	dir, err := os.MkdirTemp("", "qemu") // the path of a socket is short
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = os.RemoveAll(dir) })
	r.boots++
	r.machine, err = qemu.Start(r.t.Context(), qemu.Hardware{Kernel: r.kernel, Initrd: r.disc, Disk: r.disk, Forward: r.address, Dir: dir})
	if err != nil {
		r.t.Fatal(err)
	}
	r.agent = &agent{t: r.t, dir: dir, http: &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", r.address)
		},
	}}}
	ctx, cancel := context.WithTimeout(r.t.Context(), 2*time.Minute)
	defer cancel()
	return r.machine.Console.Await(ctx, "init: starting the agent")
}

// up switches it on and waits until the agent has its file open. What was
// promised before has to be there.
func (r *gateway) up() (broken string) {
	if err := r.on(); err != nil {
		return err.Error()
	}
	deadline := time.Now().Add(2 * time.Minute)
	var s statusDoc
	for tick := time.NewTicker(50 * time.Millisecond); r.agent.get("/api/v1/status", &s) != nil || s.Storage.State == "checking"; <-tick.C {
		if time.Now().After(deadline) {
			return "the agent is not up after two minutes"
		}
	}
	if s.Storage.State != "ok" {
		return "the data file is " + s.Storage.State + ": a power cut is no damage"
	}
	for _, p := range r.kept()[r.judged:] {
		if broken := breaks(r.agent, p); broken != "" {
			return broken
		}
		r.judged++
	}
	return ""
}

// cut ends the power supply; of what the drive had in its cache, chance keeps
// some.
func (r *gateway) cut(at moment) {
	r.t.Helper()
	if err := r.machine.Cut(); err != nil {
		r.t.Logf("the disk's server ended: %v", err) // in the middle of a request, as it must
	}
	r.endings += strings.Count(r.machine.Console.String(), "init: the agent ended")
	n, _ := r.disk.Flushes()
	durable, pending := r.disk.Left()
	fate := r.fates[r.random.IntN(len(r.fates))]
	writes := make([]powercut.Entry, len(pending))
	for i, w := range pending {
		writes[i] = powercut.Entry{Kind: powercut.Write, Off: w.Off, Data: w.Data}
	}
	r.image = fate.Settle(durable, writes, r.random)
	r.flushes += n
	r.cuts[at]++
	if len(pending) > 0 {
		r.dirty++
	}
	r.t.Logf("cut %d (%s): after %d flushes, %d writes in the drive's cache, %v; %d promises so far", r.boots, at, n, len(pending), fate, len(r.kept()))
}

// people raise alarms, acknowledge some and look at the jobs, from the next
// moment on until the power is gone and stop is called.
func (r *gateway) people() (stop func()) {
	ctx, cancel := context.WithCancel(r.t.Context())
	var wg sync.WaitGroup
	for line := range 3 {
		wg.Go(func() {
			for ctx.Err() == nil {
				id, err := r.raise(r.key(line))
				if err != nil && strings.Contains(err.Error(), "POST /api") { // not the power: it was answered
					r.t.Errorf("refused: %v", err)
				}
				if err != nil {
					return
				}
				if line == 0 {
					r.acknowledge(id)
				}
			}
		})
	}
	wg.Go(func() {
		for ctx.Err() == nil && r.lookAtJobs() == nil {
			select {
			case <-time.After(200 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	})
	return func() { cancel(); wg.Wait() }
}

// key returns a key that was never answered to, so that the same alarm is asked
// for again, or a new one.
func (r *gateway) key(line int) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.open); n > 0 {
		key := r.open[n-1]
		r.open = r.open[:n-1]
		return key
	}
	r.posted++
	return fmt.Sprintf("key-%d-%d", line, r.posted)
}

func (r *gateway) raise(key string) (id string, err error) {
	d, err := r.agent.raise("line-"+key[len("key-"):len("key-")+1], "X1", "outside alarm "+key, key)
	if err != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.open = append(r.open, key)
		return "", err
	}
	r.promise("ALARM " + d.ID)
	return d.ID, nil
}

func (r *gateway) acknowledge(id string) {
	if r.agent.do(http.MethodPost, "/api/v1/alarms/"+id+"/ack", nil, map[string]string{}, nil) == nil {
		r.promise("ACK " + id)
	}
}

// lookAtJobs reads what is completed: what was shown must not be taken back.
func (r *gateway) lookAtJobs() error {
	var list struct{ Jobs []jobDoc }
	err := r.agent.get("/api/v1/jobs?state=completed&limit=50", &list)
	for _, j := range list.Jobs {
		r.mu.Lock()
		if !r.shown[j.ID] {
			r.shown[j.ID] = true
			r.promises = append(r.promises, "JOB "+j.ID)
		}
		r.mu.Unlock()
	}
	return err
}
