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

// The power of a whole computer is cut, again and again: arm64, Debian's kernel,
// ext4, a drive with a volatile write cache. It has to start by itself each time
// and to have all that it ever answered to.
func TestPowerCutsOfAMachine(t *testing.T) {
	r := newGateway(t, "")
	began := time.Now()
	for range 4 {
		r.image = bytes.Clone(r.empty)
		r.liveAndDie(creating)
		r.liveAndDie(created)
	}
	for i := range 21 {
		r.liveAndDie(moments[i%len(moments)])
	}
	r.lastLife()
	t.Logf("%d power cuts (%s), %d of them with writes in the drive's cache, %d boots, %d promises of which %d alarms acknowledged, %d acknowledged by people and %d jobs shown completed, "+
		"%d flushes, the agent ended by itself %d times, %.0f s, seed %d",
		r.boots-1, r.cutsByMoment(), r.dirty, r.boots, len(r.promises), r.count("ALARM"), r.count("ACK"), r.count("JOB"),
		r.flushes, r.endings, time.Since(began).Seconds(), *seed)
}

// A rig that cannot fail proves nothing. The mutants must lose what they
// acknowledged, by cuts that an honest drive and the agent as it is survive.
func TestPowerCutsOfAMachineCatchMutants(t *testing.T) {
	for _, c := range []struct {
		name, tag string
		lies      bool
		holds     bool
	}{
		{name: "nothing is wrong", holds: true},
		{name: "never synced", tag: "mutant_nosync"},
		{name: "acknowledged before the commit", tag: "mutant_early_ack"},
		{name: "one flush in five ignored", lies: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			const most = 8
			r := newGateway(t, c.tag)
			r.fates = []powercut.Fate{{Sector: 4096, Keep: 0}}
			if c.lies {
				r.lie = func() bool { return r.random.IntN(5) == 0 }
			}
			for cuts := range most + 1 {
				broken := r.ackAndDie()
				if broken != "" && c.holds {
					r.fail(broken)
				}
				if broken != "" {
					t.Logf("caught after %d cuts of at most %d: %s", cuts, most, broken)
					return
				}
			}
			if c.holds {
				return
			}
			t.Fatalf("not caught in %d cuts: this rig proves nothing", most)
		})
	}
}

// A moment is when in its life a machine loses its power.
type moment string

const (
	creating     moment = "creating its file"         // on an empty disk
	created      moment = "on what its creation left" // nothing has been promised yet
	starting     moment = "starting"
	working      moment = "posting"
	draining     moment = "draining"
	acknowledged moment = "right after an acknowledgement"
)

// moments is the order in which they come, once there is a file.
var moments = []moment{working, working, draining, starting, working, draining, working}

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
		t: t, random: rand.New(rand.NewPCG(uint64(*seed), 21)), fates: powercut.Fates,
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
	r.t.Logf("cut %d (%s): %d writes in the drive's cache, %v; %d promises so far", r.boots, at, len(pending), fate, len(r.kept()))
}

// liveAndDie is one life of the computer, until its power is cut at a moment.
func (r *gateway) liveAndDie(at moment) {
	r.t.Helper()
	// What is created anew is another file: upstream must not know of it before it
	// stays.
	r.closed.Store(at == creating || at == created || at == draining)
	if at == creating || at == starting {
		if err := r.on(); err != nil {
			r.fail(err.Error())
		}
		r.strike(1500*time.Millisecond, 60)
		r.cut(at)
		return
	}
	if broken := r.up(); broken != "" {
		r.fail(broken)
	}
	if at == created {
		r.cut(at)
		return
	}
	stop := r.people()
	r.pass(2 * time.Second)
	if at == draining {
		r.drain()
	}
	r.strike(time.Second, 120)
	r.cut(at)
	stop()
}

// drain opens the upstream and returns when it has begun to take what was
// waiting.
func (r *gateway) drain() {
	select {
	case <-r.took:
	default:
	}
	r.closed.Store(false)
	select {
	case <-r.took:
	case <-time.After(2 * time.Minute): // after an outage it takes up to one
		r.fail("nothing came upstream within two minutes")
	}
}

// strike returns at the moment of the power cut: every third at a random time,
// the others in the midst of what goes to the disk, at a random write or flush.
func (r *gateway) strike(most time.Duration, requests int) {
	if r.boots%3 == 0 {
		r.pass(most)
		return
	}
	select {
	case <-r.disk.FailAfter(r.random.IntN(requests)):
	case <-time.After(3 * most): // an agent at rest writes nothing
	}
}

// pass lets a random time pass, up to most.
func (r *gateway) pass(most time.Duration) {
	time.Sleep(time.Duration(r.random.Int64N(int64(most)))) // what the rig is about: there is nothing to wait for
}

func (r *gateway) fail(why string) {
	r.t.Helper()
	_ = r.machine.Cut()
	r.t.Fatalf("boot %d: %s\n%s", r.boots, why, tail(r.machine.Console.String(), 4000))
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
		if strings.Contains(err.Error(), "POST /api") { // not the power: it was answered
			r.t.Errorf("refused: %v", err)
		}
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

// lastLife brings everything to its end and judges all promises there ever were.
func (r *gateway) lastLife() {
	r.t.Helper()
	r.judged = 0
	if broken := r.up(); broken != "" {
		r.fail(broken)
	}
	for len(r.open) > 0 {
		if _, err := r.raise(r.key(0)); err != nil {
			r.fail(err.Error())
		}
	}
	r.agent.eventually(3*time.Minute, "everything is diagnosed and confirmed", func() bool {
		var s statusDoc
		return r.agent.get("/api/v1/status", &s) == nil && s.Jobs.Pending+s.Jobs.Running == 0 && s.Upstream[0].Backlog == 0
	})
	r.books.judge(r.t, r.kept())
	if err := r.machine.Cut(); err != nil {
		r.t.Logf("the disk's server ended: %v", err)
	}
	if len(r.kept()) < 100 {
		r.t.Errorf("only %d promises were made: this proves little", len(r.promises))
	}
}

// ackAndDie cuts the power right after an alarm was acknowledged, of a lying
// drive after an acknowledgement that rests on a lie. It says what was broken by
// the cuts before.
func (r *gateway) ackAndDie() (broken string) {
	r.t.Helper()
	if broken := r.up(); broken != "" {
		return broken
	}
	for range 100 {
		if _, err := r.raise(r.key(0)); err != nil {
			return "the agent does not answer: " + err.Error()
		}
		if _, withheld := r.disk.Flushes(); withheld || r.lie == nil {
			break
		}
	}
	r.cut(acknowledged)
	return ""
}
