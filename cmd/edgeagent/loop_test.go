package main

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
	"edgeagent/alarm"
	"edgeagent/tags"
)

// bench is a loop with a recorder behind it, and no plant.
type bench struct {
	*loop
	desk  *desk
	scans []edgeagent.Scan // read it after stop
	stop  func()
}

func newBench(t *testing.T) *bench {
	t.Helper()
	all := []edgeagent.Tag{{Device: "filler", Name: "level", Type: edgeagent.TypeUint16, StaleAfter: 3 * time.Second}}
	lines := map[string]string{"filler": "Filler-2"}
	engine, err := alarm.New([]alarm.Rule{{Device: "filler", Line: "Filler-2", Code: "F212", When: "level > 80", OnDelay: 2 * time.Second, Priority: 2}},
		all, alarm.Options{Devices: lines})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{desk: newDesk(&paper{})}
	b.loop = newLoop(tags.New(all, lines), engine, b.desk.recorder, make(chan func(*loop)), func(s edgeagent.Scan) { b.scans = append(b.scans, s) })
	return b
}

func (b *bench) start() *bench {
	b.desk.start()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = b.Run(ctx) })
	b.stop = func() { cancel(); running.Wait(); b.desk.stop() }
	return b
}

func levelScan(v uint64) edgeagent.Scan {
	now := time.Now()
	return edgeagent.Scan{Device: "filler", At: now, Samples: []edgeagent.Sample{{Tag: "level", Value: edgeagent.Uint(v), Quality: edgeagent.QualityGood, At: now}}}
}

func (b *bench) outside(ctx context.Context) (edgeagent.Alarm, error) {
	return b.change(ctx, func(e *alarm.Engine, now time.Time) (edgeagent.Transition, error) {
		return e.Outside(edgeagent.Alarm{Line: "Filler-2", Code: "X1", Origin: edgeagent.OriginOutside, Priority: 3}, nil, now), nil
	})
}

// A delay ends between two scans: the loop must wake for it.
func TestLoopTicksWithoutScans(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t).start()
		began := time.Now()
		for range 5 { // fresh, and above the limit
			b.inbox.Put(levelScan(90))
			time.Sleep(500 * time.Millisecond)
		}
		synctest.Wait()
		ids := b.desk.paper.ids()
		b.stop()
		if len(ids) != 1 {
			t.Fatalf("%d raises, want 1", len(ids))
		}
		if late := b.desk.paper.stored[0].At.Sub(began) - 2*time.Second; late < 0 || late > 50*time.Millisecond {
			t.Errorf("raised %v after the delay", late)
		}
		if len(b.scans) != 5 {
			t.Errorf("%d scans were told on, want 5", len(b.scans))
		}
	})
}

func TestLoopBeatsWhileIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t).start()
		time.Sleep(time.Hour)
		if age := time.Since(time.Unix(0, b.beat.Load())); age > tickEvery {
			t.Errorf("the last beat is %v old", age)
		}
		b.stop()
	})
}

func TestLoopChangeReturnsWhatWasCommitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t).start()
		a, err := b.outside(t.Context())
		if err != nil || a.Code != "X1" || a.Revision != 2 || a.Hint == nil {
			t.Errorf("got %+v, %v", a, err)
		}
		_, err = b.change(t.Context(), func(e *alarm.Engine, now time.Time) (edgeagent.Transition, error) {
			return e.Acknowledge("01K00000000000000000000000", "eve", now)
		})
		if !errors.Is(err, edgeagent.ErrNotFound) {
			t.Errorf("an unknown alarm was acknowledged: %v", err)
		}
		b.stop()
		if n := len(b.desk.paper.stored); n != 1 {
			t.Errorf("%d transitions stored, want the one that was allowed", n)
		}
	})
}

// Who waits for a full file is told so at once, and that the action stands.
func TestLoopChangeOnAFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		full := true
		b.desk.paper.fail = func([]edgeagent.Transition) error {
			if full {
				return edgeagent.ErrFull
			}
			return nil
		}
		b.start()
		began := time.Now()
		if _, err := b.outside(t.Context()); !errors.Is(err, edgeagent.ErrFull) || time.Since(began) > time.Second {
			t.Errorf("after %v got %v", time.Since(began), err)
		}
		b.desk.paper.mu.Lock()
		full = false
		b.desk.paper.mu.Unlock()
		time.Sleep(time.Minute)
		b.stop()
		if n := len(b.desk.paper.stored); n != 1 {
			t.Errorf("%d transitions stored, want 1", n)
		}
	})
}

func TestLoopChangeWithoutALoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := b.outside(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

// An acknowledgement that comes while a reload exchanges the loops is carried
// out by the new one.
func TestLoopChangeOutlivesTheLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old := newBench(t)
		answered := make(chan error, 1)
		go func() {
			a, err := old.outside(t.Context())
			if err == nil && a.Code != "X1" {
				err = errors.New("another alarm: " + a.Code)
			}
			answered <- err
		}()
		time.Sleep(time.Second)
		next := newBench(t)
		next.calls = old.calls
		next.start()
		if err := <-answered; err != nil {
			t.Error(err)
		}
		next.stop()
		if len(next.desk.paper.stored) != 1 || len(old.desk.paper.stored) != 0 {
			t.Error("the old loop's recorder was given the transition")
		}
	})
}

func TestLoopEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t).start()
		for range 100 {
			b.inbox.Put(levelScan(1))
		}
		b.stop()
	})
}

// A device counts as read once people can see what was read of it: before that
// its tags are bad, and "polling" beside them would be a device that delivers
// nothing.
func TestADeviceIsPollingOnceItsValuesAreThere(t *testing.T) {
	one := startPanel(t)
	one.server.Freeze()
	r := newRig(t, strings.NewReplacer(`"2s"`, `"60s"`, `"200ms"`, `"10s"`).Replace(one.device("filler"))).begin()
	eventually(t, "the agent reads", func() bool { return r.a.conns.Load() != nil })
	holding, held, inside := make(chan error, 1), make(chan struct{}), make(chan struct{})
	release := sync.OnceFunc(func() { close(held) })
	defer release() // a loop that is held never ends, and the agent waits for it
	go func() { holding <- r.a.loop.Load().do(t.Context(), func(*loop) { close(inside); <-held }) }()
	<-inside
	one.server.Resume()
	device := func() edgeagent.DeviceState { return (*r.a.conns.Load())[0].Status()[0].State }
	eventually(t, "it has answered", func() bool { return device() == edgeagent.DevicePolling })
	if d := (source{r.a}).devices()[0]; d.State != edgeagent.DeviceConnecting || r.a.ready() == nil {
		t.Errorf("%+v, ready: %v", d, r.a.ready())
	}
	release()
	if err := <-holding; err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is polling", func() bool { return r.a.ready() == nil })
	if d := (source{r.a}).devices()[0]; d.State != edgeagent.DevicePolling || d.Tags.Good != 1 {
		t.Errorf("%+v", d)
	}
}

// The plant side starts first: who waited for it could not have a diagnosis yet.
func TestReadyWaitsForEveryPart(t *testing.T) {
	r := newRig(t, startPanel(t).device("filler")).start()
	last := r.a.ups.Swap(nil)
	if err := r.a.ready(); !errors.Is(err, errChecking) {
		t.Errorf("ready without its last part: %v", err)
	}
	r.a.ups.Store(last)
}
