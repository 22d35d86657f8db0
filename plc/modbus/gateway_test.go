package modbus

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent/plc"
)

// gateway is the worst that may stand between a link and a device of one unit,
// on simulated time: it takes every request, answers them in their order,
// however late, and on whichever connection there is by then.
type gateway struct {
	mu      sync.Mutex
	conn    net.Conn
	fresh   chan struct{} // closed when there is another connection
	pending chan []byte
	rand    *rand.Rand
	moody   bool // else it answers at once, rightly
	tasks   sync.WaitGroup
	done    chan struct{}
}

func newGateway(seed uint64) *gateway {
	g := &gateway{fresh: make(chan struct{}), pending: make(chan []byte, 1000), done: make(chan struct{}), rand: rand.New(rand.NewPCG(seed, 1)), moody: true}
	g.tasks.Go(g.work)
	return g
}

func (g *gateway) close() {
	close(g.done)
	g.mu.Lock()
	if g.conn != nil {
		g.conn.Close()
	}
	g.mu.Unlock()
	g.tasks.Wait()
}

// dial is a link's Dial.
func (g *gateway) dial(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.conn != nil {
		g.conn.Close()
	}
	g.conn = server
	close(g.fresh)
	g.fresh = make(chan struct{})
	g.tasks.Go(func() {
		for {
			request := make([]byte, requestRTU)
			if _, err := io.ReadFull(server, request); err != nil {
				return
			}
			g.pending <- request
		}
	})
	return client, nil
}

// work answers one request after the other.
func (g *gateway) work() {
	for {
		select {
		case <-g.done:
			return
		case request := <-g.pending:
			answers, delay := g.mood(request)
			select {
			case <-g.done:
				return
			case <-time.After(delay):
			}
			for _, a := range answers {
				g.deliver(a)
			}
		}
	}
}

// mood makes of a request its answers, and how long they take.
func (g *gateway) mood(request []byte) (answers [][]byte, delay time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	right := rtuTruth(request)
	if !g.moody {
		return [][]byte{right}, time.Millisecond
	}
	delay = time.Duration([]float64{0, 0, 0.1, 0.5, 0.95, 1.05, 1.5, 2.2, 3.5, 9}[g.rand.IntN(10)] * float64(patience))
	switch g.rand.IntN(12) {
	case 0:
		return nil, delay
	case 1:
		return [][]byte{rtu(request[0], request[1]|exception, 11)}, delay
	case 2:
		return [][]byte{right, right}, delay
	default:
		return [][]byte{right}, delay
	}
}

// deliver writes to the connection there is, or to the next.
func (g *gateway) deliver(answer []byte) {
	for {
		g.mu.Lock()
		conn, fresh := g.conn, g.fresh
		g.mu.Unlock()
		if conn != nil {
			if _, err := conn.Write(answer); err == nil {
				return
			}
		}
		select {
		case <-fresh:
		case <-g.done:
			return
		}
	}
}

// rtu returns a frame with its checksum.
func rtu(b ...byte) []byte { return binary.LittleEndian.AppendUint16(b, checksum(b)) }

// rtuTruth is the right answer to an RTU request.
func rtuTruth(request []byte) []byte {
	tcp := truth(append(make([]byte, 6), request[:6]...))
	return rtu(append([]byte{request[0]}, tcp[headerSize:]...)...)
}

// TestNoLateAnswerBecomesAValue polls a device that answers in order and as
// late as it likes, over a gateway that passes everything on to whoever asks.
func TestNoLateAnswerBecomesAValue(t *testing.T) {
	values := 0
	for _, quantities := range [][]uint16{{10}, {1}, {2}, {125}, {1, 2}, {2, 4, 125, 1}} {
		for seed := range uint64(30) {
			synctest.Test(t, func(t *testing.T) { values += poll(t, quantities, seed) })
			if t.Failed() {
				t.Fatalf("quantities %v, seed %d", quantities, seed)
			}
		}
	}
	t.Logf("%d values", values)
	if values < 10000 {
		t.Errorf("only %d values were read: nothing is proven", values)
	}
}

// poll reads from a moody gateway and returns how many values came of it.
func poll(t *testing.T, quantities []uint16, seed uint64) (values int) {
	g := newGateway(seed)
	defer g.close()
	l := New(Options{Addr: "gateway", Framing: FramingRTU, Timeout: patience, Dial: g.dial})
	defer l.Close()
	offset := uint16(0)
	read := func() error {
		offset += 200
		r := holding(offset, quantities[int(offset/200)%len(quantities)])
		got, err := l.Read(t.Context(), 1, r)
		if err == nil {
			wantOracle(t, r, got)
			values += int(r.Quantity)
		}
		return err
	}
	for range 60 {
		_ = read() // wrong values apart, everything is allowed
		if t.Failed() {
			return values
		}
	}
	g.mu.Lock()
	g.moody = false
	g.mu.Unlock()
	time.Sleep(time.Minute) // whatever is still to come comes
	for range 4 {
		if read() == nil {
			return values
		}
	}
	t.Errorf("seed %d: not read again after the gateway had calmed down: %v", seed, read())
	return values
}

// onPipe returns a link to a peer that gives each request, counted from 0, to
// answer; end must be called in the end.
func onPipe(answer func(n int, request []byte, to io.Writer)) (l *Link, end func()) {
	client, server := net.Pipe()
	var tasks sync.WaitGroup
	tasks.Go(func() {
		for n := 0; ; n++ {
			request := make([]byte, requestRTU)
			if _, err := io.ReadFull(server, request); err != nil {
				return
			}
			answer(n, request, server)
		}
	})
	l = New(Options{Addr: "line", Framing: FramingRTU, Timeout: patience, Dial: func(context.Context, string, string) (net.Conn, error) {
		return keptOpen{client}, nil
	}})
	return l, func() {
		client.Close()
		server.Close()
		tasks.Wait()
	}
}

// keptOpen is a connection that survives its link's closing: the late answer
// is to come where the next request is asked.
type keptOpen struct{ net.Conn }

func (keptOpen) Close() error { return nil }

// TestLatenessIsCaughtBySize delays one answer until every moment at which it
// could be taken for another: all requests are of one size.
func TestLatenessIsCaughtBySize(t *testing.T) {
	for name, late := range map[string]time.Duration{
		"while quiet": patience + 10*time.Millisecond, "into the confirmation": 2*patience + 5*time.Millisecond,
		"after the confirmation was given up": 3*patience + 10*time.Millisecond, "minutes later": 3 * time.Minute,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var tasks sync.WaitGroup
				l, end := onPipe(func(n int, request []byte, to io.Writer) {
					if n == 2 { // the first that follows a confirmation and its own
						tasks.Go(func() {
							time.Sleep(late)
							_, _ = to.Write(rtuTruth(request))
						})
						return
					}
					if n == 3 && late > 2*patience {
						time.Sleep(10 * time.Millisecond)
					}
					_, _ = to.Write(rtuTruth(request))
				})
				defer tasks.Wait()
				defer end()
				wrong := 0
				for a := range uint16(20) {
					r := holding(a*10, 10)
					got, err := l.Read(t.Context(), 1, r)
					if err == nil {
						wantOracle(t, r, got)
						continue
					}
					wrong++
					if late >= time.Minute {
						time.Sleep(late / 4)
					}
				}
				if wrong == 0 || wrong > 3 {
					t.Errorf("%d reads failed, want the late one and hardly any other", wrong)
				}
			})
		})
	}
}

// TestDeadUnitCostsTheOthersOneTimeout reads ten units of which one is dead, as
// a connection does: the caller's time is bounded.
func TestDeadUnitCostsTheOthersOneTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, end := onPipe(func(_ int, request []byte, to io.Writer) {
			if request[0] != 7 {
				_, _ = to.Write(rtuTruth(request))
			}
		})
		defer end()
		for round := range 20 {
			begin := time.Now()
			for id := uint8(1); id <= 10; id++ {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				got, err := l.Read(ctx, id, holding(uint16(id)*10, 10))
				cancel()
				if dead := id == 7; dead != (err != nil) {
					t.Errorf("round %d: unit %d: %v", round, id, err)
				} else if !dead {
					wantOracle(t, holding(uint16(id)*10, 10), got)
				}
			}
			if took := time.Since(begin); took > patience+200*time.Millisecond {
				t.Errorf("round %d took %v, with a timeout of %v", round, took, patience)
			}
		}
	})
}

func TestSlowDeviceIsConfirmedAndReadLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, end := onPipe(func(_ int, request []byte, to io.Writer) {
			time.Sleep(patience * 7 / 10)
			_, _ = to.Write(rtuTruth(request))
		})
		defer end()
		var errs []error
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			_, err := l.Read(ctx, 1, holding(0, 10))
			cancel()
			errs = append(errs, err)
		}
		if !errors.Is(errs[0], plc.ErrConfirmed) || errs[1] != nil || errs[2] != nil {
			t.Errorf("reads = %s; want a confirmation, then values", fmt.Sprint(errs))
		}
	})
}

// TestOldAnswerJustBeforeTheRightOne: the silence that ends a frame has not
// been heard, so it was not the answer.
func TestOldAnswerJustBeforeTheRightOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var before []byte
		l, end := onPipe(func(n int, request []byte, to io.Writer) {
			if n == 5 {
				_, _ = to.Write(before)
				time.Sleep(time.Millisecond)
			}
			before = rtuTruth(request)
			_, _ = to.Write(before)
		})
		defer end()
		failed := 0
		for a := range uint16(10) {
			r := holding(a*10, 10)
			if got, err := l.Read(t.Context(), 1, r); err == nil {
				wantOracle(t, r, got)
			} else {
				failed++
			}
		}
		if failed != 1 {
			t.Errorf("%d reads failed, want the one with two answers", failed)
		}
	})
}

// moved changes half of the first register of an answer: hardly two are alike.
func moved(answer []byte, to int) []byte {
	body := append([]byte(nil), answer[:len(answer)-checksumSize]...)
	body[4] = byte(to)
	return rtu(body...)
}

func TestConnectDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const delay = 5 * time.Second
		g := newGateway(1)
		g.moody = false
		defer g.close()
		l := New(Options{Addr: "gateway", Framing: FramingRTU, Timeout: patience, ConnectDelay: delay, Dial: g.dial})
		defer l.Close()
		begin := time.Now()
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := l.Read(short, 1, holding(0, 10)); !errors.Is(err, plc.ErrUnreachable) || time.Since(begin) > 10*time.Millisecond {
			t.Errorf("read = %v after %v, want it at once: there is no time to wait", err, time.Since(begin))
		}
		wantRead(t, l, holding(0, 10))
		if took := time.Since(begin); took < delay || took > delay+patience {
			t.Errorf("read after %v, want the delay of %v, once", took, delay)
		}
		wantRead(t, l, holding(100, 10))
		if took := time.Since(begin); took > delay+patience {
			t.Errorf("the next after %v: the delay follows a connect only", took)
		}
	})
}
