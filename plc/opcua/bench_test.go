//go:build linux

package opcua

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	library "github.com/gopcua/opcua"
	"github.com/gopcua/opcua/server"
	"github.com/gopcua/opcua/ua"

	"edgeagent"
	"edgeagent/plc"
)

// benchRole in the environment makes TestBenchProcess one of the processes of
// BenchmarkChanges; benchEndpoint is where its server is.
const (
	benchRole     = "OPCUA_BENCH_ROLE"
	benchEndpoint = "OPCUA_BENCH_ENDPOINT"
	benchNodes    = 1000
)

// TestBenchProcess is the server or a client of BenchmarkChanges, in a process
// of its own, so that the CPU time is its alone. It ends with its standard input.
func TestBenchProcess(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var changes atomic.Int64
	switch role := os.Getenv(benchRole); role {
	case "":
		return // nobody measures
	case "server":
		serveChanges(ctx, t)
	case "ours":
		go listenAsWeDo(ctx, &changes)
	case "bare":
		listenBare(ctx, t, &changes)
	default:
		t.Fatalf("role %q", role)
	}
	for input := bufio.NewScanner(os.Stdin); input.Scan(); {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			t.Fatal(err)
		}
		fmt.Println(u.Utime.Nano()+u.Stime.Nano(), u.Nvcsw+u.Nivcsw, changes.Load())
	}
}

func benchNode(i int) string { return fmt.Sprintf("Line1.Machine%d.Value", i) }

// serveChanges is the library's server with 1,000 values that all change once a
// second.
func serveChanges(ctx context.Context, t *testing.T) {
	port := freePort(t)
	s := server.New(server.EndPoint("127.0.0.1", port), server.EnableSecurity("None", ua.MessageSecurityModeNone),
		server.EnableAuthMode(ua.UserTokenTypeAnonymous))
	ns := server.NewNodeNameSpace(s, plantURI)
	var count atomic.Int64
	var nodes []*ua.NodeID
	for i := range benchNodes {
		n := ns.AddNewVariableStringNode(benchNode(i), func() *ua.DataValue {
			now := time.Now()
			dv := &ua.DataValue{Value: ua.MustVariant(float32(count.Load()) + float32(i)/benchNodes), SourceTimestamp: now, ServerTimestamp: now}
			dv.UpdateMask()
			return dv
		})
		nodes = append(nodes, n.ID())
	}
	if err := s.Start(ctx); err != nil {
		t.Fatal(err)
	}
	go func() {
		for range time.Tick(time.Second) {
			count.Add(1)
			for _, n := range nodes {
				s.ChangeNotification(n)
			}
		}
	}()
	fmt.Printf("opc.tcp://127.0.0.1:%d\n", port)
}

// listenAsWeDo subscribes as the agent does, to the delivery of scans.
func listenAsWeDo(ctx context.Context, changes *atomic.Int64) {
	o := Options{Endpoint: os.Getenv(benchEndpoint)}
	for i := range benchNodes {
		o.Tags = append(o.Tags, plc.TagSpec{
			Tag:  edgeagent.Tag{Name: fmt.Sprintf("value_%d", i), Device: "line", Type: edgeagent.TypeFloat32},
			Node: "nsu=" + plantURI + ";s=" + benchNode(i), Scan: time.Second,
		})
	}
	spec := plc.DeviceSpec{Name: "line", Enabled: true, Tags: o.Tags}
	deliver := func(s edgeagent.Scan) { changes.Add(int64(len(s.Samples))) }
	_ = plc.NewSubscription(New(o), spec, plc.Options{Deliver: deliver}).Run(ctx) // it ends with the process
}

// listenBare is the least that a client of the library can do. Its loop of publish
// requests may never start: NewClient leaves it a "pause" and Subscribe a
// "resume", and a loop that runs for the first time after both may take the
// resume first and then rest for ever. The benchmark says so and fails.
func listenBare(ctx context.Context, t *testing.T, changes *atomic.Int64) {
	c, err := library.NewClient(os.Getenv(benchEndpoint), library.SecurityMode(ua.MessageSecurityModeNone), library.AutoReconnect(false))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Connect(ctx); err != nil {
		t.Fatal(err)
	}
	ns, err := c.FindNamespace(ctx, plantURI)
	if err != nil {
		t.Fatal(err)
	}
	told := make(chan *library.PublishNotificationData, 10)
	sub, err := c.Subscribe(ctx, &library.SubscriptionParameters{Interval: time.Second}, told)
	if err != nil {
		t.Fatal(err)
	}
	var items []*ua.MonitoredItemCreateRequest
	for i := range benchNodes {
		items = append(items, library.NewMonitoredItemCreateRequestWithDefaults(ua.NewStringNodeID(ns, benchNode(i)), ua.AttributeIDValue, uint32(i)))
	}
	if _, err := sub.Monitor(ctx, ua.TimestampsToReturnBoth, items...); err != nil {
		t.Fatal(err)
	}
	go func() {
		for n := range told {
			if v, ok := n.Value.(*ua.DataChangeNotification); ok {
				changes.Add(int64(len(v.MonitoredItems)))
			}
		}
	}()
}

// patience is how long a process may say nothing, and a client be told nothing.
const patience = 30 * time.Second

// process is one of the benchmark's.
type process struct {
	b              *testing.B
	role           string
	kill           func() error
	in             io.Writer
	out            *bufio.Reader
	cost, switched []float64 // of each turn: CPU, nanoseconds a change; context switches a second
	total          usage
}

// usage is what a process has used, and what it was told.
type usage struct{ cpu, switches, changes int64 }

func startProcess(b *testing.B, role, endpoint string) *process {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), os.Args[0], "-test.run=^TestBenchProcess$")
	cmd.Env = append(os.Environ(), benchRole+"="+role, benchEndpoint+"="+endpoint)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = in.Close(); _, _ = io.Copy(io.Discard, out); _ = cmd.Wait() })
	return &process{b: b, role: role, kill: cmd.Process.Kill, in: in, out: bufio.NewReader(out)}
}

func (p *process) line() string {
	watch := time.AfterFunc(patience, func() { _ = p.kill() })
	defer watch.Stop()
	line, err := p.out.ReadString('\n')
	if err != nil {
		p.b.Fatalf("the process %q ended, or said nothing for %v: %v", p.role, patience, err)
	}
	return strings.TrimSpace(line)
}

// ask returns the usage since it was last asked.
func (p *process) ask() usage {
	fmt.Fprintln(p.in)
	var now usage
	line := p.line()
	if _, err := fmt.Sscan(line, &now.cpu, &now.switches, &now.changes); err != nil {
		p.b.Fatalf("the process %q says %q: %v", p.role, line, err)
	}
	before := p.total
	p.total = now
	return usage{now.cpu - before.cpu, now.switches - before.switches, now.changes - before.changes}
}

// settle waits until the client is told what it subscribed to.
func (p *process) settle() {
	for since := time.Now(); p.total.changes < 3*benchNodes; p.ask() {
		switch waited := time.Since(since) > patience; {
		case waited && p.total.changes == 0:
			p.b.Fatalf("the process %q was told nothing in %v: of the bare client the library's publish loop did not start (see listenBare): measure again", p.role, patience)
		case waited:
			p.b.Fatalf("the process %q was told %d changes in %v, want %d", p.role, p.total.changes, patience, 3*benchNodes)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// turn books what the last seconds cost.
func (p *process) turn(seconds int64) {
	u := p.ask()
	if u.changes < benchNodes*(seconds-2) {
		p.b.Fatalf("the process %q was told %d changes in %d s", p.role, u.changes, seconds)
	}
	p.cost = append(p.cost, float64(u.cpu)/float64(u.changes))
	p.switched = append(p.switched, float64(u.switches)/float64(seconds))
}

func median(of []float64) float64 { return slices.Sorted(slices.Values(of))[len(of)/2] }

// BenchmarkChanges is the CPU of 1,000 changes a second, from the socket to the
// delivered scan, against the library's own client and a bare subscription:
// each a process of its own, at the same time, at one server.
func BenchmarkChanges(b *testing.B) {
	endpoint := startProcess(b, "server", "").line()
	ours, bare := startProcess(b, "ours", endpoint), startProcess(b, "bare", endpoint)
	ours.settle()
	bare.settle()
	const turns, seconds = 10, 3
	for b.Loop() {
		for range turns {
			time.Sleep(seconds * time.Second) // the server's pace is what is measured
			ours.turn(seconds)
			bare.turn(seconds)
		}
	}
	b.ReportMetric(0, "ns/op")
	var ratios []float64 // turn by turn: other work on the machine falls on both
	for i := range ours.cost {
		ratios = append(ratios, ours.cost[i]/bare.cost[i])
	}
	b.ReportMetric(median(ours.cost)/1e3, "us-CPU/change")
	b.ReportMetric(median(ratios), "x-CPU-bare-subscription")
	b.ReportMetric(median(ours.switched), "switches/s")
	b.ReportMetric(median(bare.switched), "switches-bare/s")
}
