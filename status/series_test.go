package status

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"edgeagent"
)

func TestHistogramText(t *testing.T) {
	s := newSeries()
	s.declare("x_seconds", []float64{0.1, 1})
	for _, v := range []float64{0.05, 0.1, 0.5, 2, -1, math.NaN()} {
		s.observe("x_seconds", v, "provider", "a")
	}
	var b strings.Builder
	s.write(&b)
	want := `# TYPE edgeagent_x_seconds histogram
edgeagent_x_seconds_bucket{provider="a",le="0.1"} 2
edgeagent_x_seconds_bucket{provider="a",le="1"} 3
edgeagent_x_seconds_bucket{provider="a",le="+Inf"} 4
edgeagent_x_seconds_sum{provider="a"} 2.65
edgeagent_x_seconds_count{provider="a"} 4
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestCountersNeverFallAndStayBounded(t *testing.T) {
	s := newSeries()
	s.add("x_total", 5)
	s.add("x_total", -3)
	if got := s.counters["x_total"][""]; got != 5 {
		t.Errorf("fell to %v", got)
	}
	for i := range 3 * maxSeries {
		s.add("y_total", 1, "label", fmt.Sprint(i))
		s.observe("y_seconds", 1, "label", fmt.Sprint(i))
	}
	s.add("y_total", 1, "label", "0")
	if a, b := len(s.counters["y_total"]), len(s.spreads["y_seconds"]); a > maxSeries || b > maxSeries || s.counters["y_total"][`label="0"`] != 2 {
		t.Errorf("%d counters, %d histograms", a, b)
	}
}

// A scraper that takes nothing must not hold up a scan: counting goes on while
// its answer waits to be read.
func TestScraperThatTakesNothing(t *testing.T) {
	m := NewMetrics()
	reader, writer := io.Pipe()
	defer reader.Close()
	go m.write(writer, newPlant(time.Now()))
	if _, err := reader.Read(make([]byte, 1)); err != nil { // the answer is on its way, and stays there
		t.Fatal(err)
	}
	counted := make(chan struct{})
	go func() { m.ScanDone("filler", time.Millisecond, nil); close(counted) }()
	select {
	case <-counted:
	case <-time.After(5 * time.Second):
		t.Error("a scan waits for a reader of the metrics")
	}
}

// A flood has more alarms than one answer holds; all of them are counted.
func TestAlarmsOfAFloodAreAllCounted(t *testing.T) {
	p := newPlant(time.Now())
	clear(p.alarms)
	for i := range mostRows + 7 {
		id := edgeagent.NewID(time.Now())
		p.alarms[id] = edgeagent.Alarm{ID: id, State: edgeagent.AlarmUnacked, Priority: 3}
		if i == 0 {
			p.alarms[id] = edgeagent.Alarm{ID: id, State: edgeagent.AlarmUnacked, Priority: 1, Text: "the oldest and the worst"}
		}
	}
	client, base, _ := serve(t, newServer(p), "unix")
	resp, err := client.Get(base)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"the oldest and the worst", fmt.Sprint(mostRows+7-nowRows) + " more alarms"} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the first page does not say %q", want)
		}
	}
	var b strings.Builder
	NewMetrics().write(&b, p)
	if want := fmt.Sprintf("alarms_active{priority=\"3\"} %d\n", mostRows+6); !strings.Contains(b.String(), want) {
		t.Errorf("no %q in\n%s", want, b.String())
	}
}

func TestSeriesFromManyGoroutines(t *testing.T) {
	m := NewMetrics()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				m.RequestDone("filler", 0, io.EOF)
				m.series.write(io.Discard)
			}
		})
	}
	wg.Wait()
	if got := m.series.counters["requests_total"][`device="filler"`]; got != 1600 {
		t.Errorf("%v requests", got)
	}
}

type classed struct{}

func (classed) Error() string { return "exception 2" }
func (classed) Class() string { return "exception" }

func TestErrorClass(t *testing.T) {
	wrap := func(err error) error { return fmt.Errorf("read 4 registers: %w", err) }
	for want, err := range map[string]error{
		"exception":   wrap(classed{}),
		"canceled":    wrap(context.Canceled),
		"timeout":     wrap(os.ErrDeadlineExceeded),
		"refused":     wrap(&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}),
		"unreachable": wrap(syscall.EHOSTUNREACH),
		"dns":         wrap(&net.DNSError{Name: "plc", IsTimeout: true}),
		"closed":      wrap(io.ErrUnexpectedEOF),
		"protocol":    errors.New("unit 7 answered for unit 1"),
	} {
		if got := errorClass(err); got != want {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
}
