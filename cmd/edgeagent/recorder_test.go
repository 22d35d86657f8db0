package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
)

// paper is a data file that fails as it is told to.
type paper struct {
	mu     sync.Mutex
	fail   func(ts []edgeagent.Transition) error // nil: never
	stored []edgeagent.Transition
	sizes  []int // of the commits
	calls  int
}

func (p *paper) Record(ctx context.Context, ts []edgeagent.Transition) ([]edgeagent.Alarm, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls++
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if p.fail != nil {
		if err := p.fail(ts); err != nil {
			return nil, err
		}
	}
	var alarms []edgeagent.Alarm
	for _, t := range ts {
		t.Alarm.Revision++
		alarms = append(alarms, t.Alarm)
	}
	p.stored, p.sizes = append(p.stored, ts...), append(p.sizes, len(ts))
	return alarms, nil
}

func (p *paper) LastTime(_, _, code string, before edgeagent.ID) *edgeagent.Occurrence {
	return &edgeagent.Occurrence{ID: "before-" + before, Cause: code}
}

func (p *paper) mend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fail = nil
}

func (p *paper) ids() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var ids []string
	for _, t := range p.stored {
		ids = append(ids, string(t.Alarm.ID))
	}
	return ids
}

type echo struct{}

func (echo) Hint(a edgeagent.Alarm, _ *edgeagent.Evidence, _ string) edgeagent.Diagnosis {
	return edgeagent.Diagnosis{Summary: "hint for " + a.Code}
}

func raise(id string) edgeagent.Transition {
	return edgeagent.Transition{Kind: edgeagent.TransitionRaised, Alarm: edgeagent.Alarm{ID: edgeagent.ID(id), Code: "F212"}}
}

func raises(from, to int) (ts []edgeagent.Transition, ids []string) {
	for i := from; i < to; i++ {
		id := fmt.Sprintf("%04d", i)
		ts, ids = append(ts, raise(id)), append(ids, id)
	}
	return ts, ids
}

// desk is a recorder at work.
type desk struct {
	*recorder
	paper *paper
	said  *syncBuffer
	told  []edgeagent.ID // what onStored was told; read it after stop
	stop  func()
}

func newDesk(p *paper) *desk {
	d := &desk{paper: p, said: &syncBuffer{}}
	d.recorder = newRecorder(slog.New(slog.NewTextHandler(d.said, nil)), func() hinter { return echo{} },
		func(_ edgeagent.Transition, a edgeagent.Alarm) { d.told = append(d.told, a.ID) })
	d.store = p
	return d
}

func (d *desk) start() *desk {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = d.Run(ctx) })
	d.stop = func() { cancel(); running.Wait() }
	return d
}

// The card stalls while a storm rages: nothing is lost, nothing overtakes.
func TestRecorderKeepsOrderOverAFullFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		recovers := time.Now().Add(3 * time.Minute)
		p := &paper{fail: func([]edgeagent.Transition) error {
			if time.Now().Before(recovers) {
				return fmt.Errorf("record: %w", edgeagent.ErrFull)
			}
			return nil
		}}
		d := newDesk(p).start()
		var want []string
		for i := range 10 { // more than two commits' worth
			ts, ids := raises(i*60, (i+1)*60)
			want = append(want, ids...)
			d.Put(ts, nil)
			time.Sleep(7 * time.Second)
		}
		if n, fault := d.Waiting(); n != 600 || !errors.Is(fault, edgeagent.ErrFull) {
			t.Errorf("while the file is full: %d waiting, fault %v", n, fault)
		}
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		if n, fault := d.Waiting(); n != 0 || fault != nil {
			t.Errorf("after it: %d waiting, fault %v", n, fault)
		}
		d.stop()
		if got := p.ids(); !reflect.DeepEqual(got, want) {
			t.Errorf("stored %d transitions in another order than the %d put", len(got), len(want))
		}
		if len(d.told) != 600 {
			t.Errorf("%d of 600 were shown", len(d.told))
		}
		for _, n := range p.sizes {
			if n > maxBatch {
				t.Errorf("a commit of %d", n)
			}
		}
		if n := strings.Count(d.said.String(), "alarms wait"); n < 1 || n > 2 {
			t.Errorf("a full file was logged %d times", n)
		}
		if !strings.Contains(d.said.String(), "can be written again") {
			t.Error("the recovery was not said")
		}
	})
}

func TestRecorderRefusalHoldsUpNobody(t *testing.T) {
	for _, refusal := range []error{edgeagent.ErrConflict, edgeagent.ErrNotFound} {
		synctest.Test(t, func(t *testing.T) {
			p := &paper{fail: func(ts []edgeagent.Transition) error {
				for _, tr := range ts {
					if tr.Alarm.ID == "bad" {
						return fmt.Errorf("record: %w", refusal)
					}
				}
				return nil
			}}
			d := newDesk(p)
			refused, taken := make(chan recorded, 1), make(chan recorded, 1)
			d.Put([]edgeagent.Transition{raise("a"), raise("b")}, nil)
			d.Put([]edgeagent.Transition{raise("bad")}, refused)
			d.Put([]edgeagent.Transition{raise("c")}, taken)
			d.start()
			synctest.Wait()
			if _, err := (<-refused).first(); !errors.Is(err, refusal) {
				t.Errorf("who asked for the bad one heard %v", err)
			}
			if a, err := (<-taken).first(); err != nil || a.ID != "c" || a.Revision != 1 {
				t.Errorf("who asked behind it heard %+v, %v", a, err)
			}
			d.stop()
			if want := []string{"a", "b", "c"}; !reflect.DeepEqual(p.ids(), want) {
				t.Errorf("stored %v", p.ids())
			}
			if want := []edgeagent.ID{"a", "b", "c"}; !reflect.DeepEqual(d.told, want) {
				t.Errorf("shown %v", d.told)
			}
			if _, fault := d.Waiting(); fault != nil {
				t.Errorf("a refused transition is no fault of the file: %v", fault)
			}
		})
	}
}

// A refused transition and a full file in one batch: the part that was taken
// is not written twice, and what fits does not wait behind what does not.
func TestRecorderRefusalAndFullFileTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := 3
		p := &paper{fail: func(ts []edgeagent.Transition) error {
			switch {
			case len(ts) > 1 || ts[0].Alarm.ID == "bad":
				return edgeagent.ErrConflict
			case ts[0].Alarm.ID == "c" && full > 0:
				full--
				return edgeagent.ErrFull
			}
			return nil
		}}
		d := newDesk(p)
		d.Put([]edgeagent.Transition{raise("a"), raise("bad"), raise("c"), raise("d")}, nil)
		d.start()
		time.Sleep(time.Minute)
		d.stop()
		if want := []string{"a", "d", "c"}; !reflect.DeepEqual(p.ids(), want) {
			t.Errorf("stored %v, want %v", p.ids(), want)
		}
	})
}

func TestRecorderAddsHintsToRaisesAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(&paper{})
		cleared := raise("a")
		cleared.Kind = edgeagent.TransitionCleared
		d.Put([]edgeagent.Transition{raise("a"), cleared}, nil)
		d.start()
		synctest.Wait()
		d.stop()
		up, down := d.paper.stored[0].Alarm, d.paper.stored[1].Alarm
		if up.Hint == nil || up.Hint.Summary != "hint for F212" || up.LastTime == nil || up.LastTime.ID != "before-a" {
			t.Errorf("raise: hint %+v, last time %+v", up.Hint, up.LastTime)
		}
		if down.Hint != nil || down.LastTime != nil {
			t.Errorf("clear: hint %+v, last time %+v", down.Hint, down.LastTime)
		}
	})
}

// Who acknowledges hears of it when it is on disk, not before.
func TestRecorderAnswersAfterTheCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		commit := make(chan struct{})
		p := &paper{fail: func([]edgeagent.Transition) error { <-commit; return nil }}
		d := newDesk(p).start()
		done := make(chan recorded, 1)
		d.Put([]edgeagent.Transition{raise("a")}, done)
		synctest.Wait()
		select {
		case r := <-done:
			t.Fatalf("answered %+v before the commit", r)
		default:
		}
		close(commit)
		if a, err := (<-done).first(); err != nil || a.Revision != 1 {
			t.Errorf("answered %+v, %v", a, err)
		}
		d.stop()
	})
}

func TestRecorderFlushesAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := true
		p := &paper{fail: func([]edgeagent.Transition) error {
			if full {
				return edgeagent.ErrFull
			}
			return nil
		}}
		d := newDesk(p).start()
		ts, want := raises(0, 300)
		d.Put(ts, nil)
		time.Sleep(time.Minute) // deep in the back-off
		p.mu.Lock()
		full = false
		p.mu.Unlock()
		began := time.Now()
		d.stop()
		if !reflect.DeepEqual(p.ids(), want) {
			t.Errorf("stored %d of 300", len(p.ids()))
		}
		if took := time.Since(began); took > flushTime {
			t.Errorf("the stop took %v", took)
		}
	})
}

// A disk that never answers must not keep a gateway from stopping, and what
// is lost with it is said.
func TestRecorderGivesUpAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(&paper{fail: func([]edgeagent.Transition) error { return edgeagent.ErrFull }}).start()
		d.Put([]edgeagent.Transition{raise("a"), raise("b")}, nil)
		time.Sleep(time.Minute)
		began := time.Now()
		d.stop()
		if took := time.Since(began); took > flushTime+time.Second {
			t.Errorf("the stop took %v", took)
		}
		if !strings.Contains(d.said.String(), "lost=2") {
			t.Errorf("the loss was not said:\n%s", d.said)
		}
	})
}

func TestRecorderIdlesWithoutWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(&paper{}).start()
		d.Put(nil, nil)
		time.Sleep(time.Hour)
		d.stop()
		if d.paper.calls != 0 {
			t.Errorf("%d commits of nothing", d.paper.calls)
		}
	})
}

// A full file refuses raises of low priority; what is urgent goes past them.
func TestRecorderLetsTheUrgentPassAFullFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(&paper{fail: func(ts []edgeagent.Transition) error {
			for _, x := range ts {
				if x.Kind == edgeagent.TransitionRaised && x.Alarm.Priority > 1 {
					return edgeagent.ErrFull
				}
			}
			return nil
		}}).start()
		low, _ := raises(0, 300)
		for i := range low {
			low[i].Alarm.Priority = 3
		}
		d.Put(low, nil)
		over, seen, high := raise("0299"), raise("open"), raise("high")
		over.Kind, seen.Kind, high.Alarm.Priority = edgeagent.TransitionCleared, edgeagent.TransitionAcked, 1
		answered := make(chan recorded, 1)
		d.Put([]edgeagent.Transition{over, high}, nil)
		d.Put([]edgeagent.Transition{seen}, answered)
		time.Sleep(30 * time.Second)
		if got := d.paper.ids(); !reflect.DeepEqual(got, []string{"high", "open"}) {
			t.Errorf("stored %v, want what is urgent alone: the end of an alarm waits for its raise", got)
		}
		if n, _ := d.Waiting(); n != 301 {
			t.Errorf("%d wait, want 300 raises and one end", n)
		}
		d.stop()
	})
}
