package plc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
)

func sample(tag string, v uint64) edgeagent.Sample {
	return edgeagent.Sample{Tag: tag, Value: edgeagent.Uint(v), Quality: edgeagent.QualityGood}
}

func scanOf(device string, samples ...edgeagent.Sample) edgeagent.Scan {
	return edgeagent.Scan{Device: device, Samples: samples, Requests: 1}
}

func measured(tag string, v float64) edgeagent.Sample {
	return edgeagent.Sample{Tag: tag, Value: edgeagent.Float(v), Quality: edgeagent.QualityGood}
}

func TestLateScansOfADeviceMerge(t *testing.T) {
	in := NewInbox()
	stopped := edgeagent.DeviceEvent{Kind: edgeagent.DeviceEventStopped}
	resumed := edgeagent.DeviceEvent{Kind: edgeagent.DeviceEventResumed}
	in.Put(edgeagent.Scan{Device: "a", Samples: []edgeagent.Sample{measured("x", 1), measured("y", 1)}, Events: []edgeagent.DeviceEvent{stopped}, Requests: 2})
	in.Put(edgeagent.Scan{Device: "a", Samples: []edgeagent.Sample{measured("y", 2)}, Requests: 1, Took: time.Second, Err: errDead})
	in.Put(edgeagent.Scan{Device: "a", Samples: []edgeagent.Sample{measured("z", 3), measured("y", 3)}, Events: []edgeagent.DeviceEvent{resumed}, Requests: 1})
	s, err := in.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, sample := range s.Samples {
		got[sample.Tag] = sample.Value.String()
	}
	if len(s.Samples) != 3 || got["x"] != "1" || got["y"] != "3" || got["z"] != "3" {
		t.Errorf("samples = %v, want the last of each tag", s.Samples)
	}
	if len(s.Events) != 2 || s.Events[0].Kind != stopped.Kind || s.Events[1].Kind != resumed.Kind {
		t.Errorf("events = %v, want both in order", s.Events)
	}
	if s.Requests != 4 || s.Err != nil || in.Merged() != 2 {
		t.Errorf("requests %d, err %v, merged %d; want 4, the last scan's and 2", s.Requests, s.Err, in.Merged())
	}
}

// A bit that came and went while the reader was late is seen, as far as memory
// is bounded: beyond that the last value wins, and it is counted.
func TestPulsesStayApart(t *testing.T) {
	in := NewInbox()
	for _, v := range []uint64{0, 1, 1, 0} {
		in.Put(scanOf("a", sample("word", v), measured("level", float64(v))))
	}
	var got []string
	for range 3 {
		s, err := in.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, s.Samples[0].Value.String())
	}
	if !slices.Equal(got, []string{"0", "1", "0"}) || in.Merged() != 2 {
		t.Errorf("values %v with %d merged, want 0 1 0 with the second 1 merged", got, in.Merged())
	}
	for v := range uint64(1000) {
		in.Put(scanOf("a", sample("counter", v)))
	}
	if n := len(in.waiting["a"]); n != maxLayers {
		t.Errorf("%d scans wait, want %d at most", n, maxLayers)
	}
	var last edgeagent.Sample
	for range maxLayers {
		s, err := in.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		last = s.Samples[0]
	}
	if !last.Value.Equal(edgeagent.Uint(999)) {
		t.Errorf("the last value is %v, want 999", last.Value)
	}
}

// TestAWordThatIsFollowedByNoValueIsSeen: with what was refused since no alarm is
// evaluated.
func TestAWordThatIsFollowedByNoValueIsSeen(t *testing.T) {
	in := NewInbox()
	in.Put(scanOf("a", sample("word", 4)))
	in.Put(scanOf("a", edgeagent.Sample{Tag: "word", Quality: edgeagent.QualityBad, At: time.Now()}))
	for _, want := range []edgeagent.Value{edgeagent.Uint(4), {}} {
		if s, ok := in.take(); !ok || !s.Samples[0].Value.Equal(want) {
			t.Errorf("took %v, want %v", s.Samples, want)
		}
	}
}

// TestTenChangesAtOnceStayApart: so many does one notification tell, while the value
// before them still waits.
func TestTenChangesAtOnceStayApart(t *testing.T) {
	in := NewInbox()
	for v := range uint64(11) {
		in.Put(scanOf("a", sample("word", 1<<v)))
	}
	for v := range uint64(11) {
		s, err := in.Next(t.Context())
		if err != nil || !s.Samples[0].Value.Equal(edgeagent.Uint(1<<v)) {
			t.Fatalf("change %d is %v, %v", v, s.Samples, err)
		}
	}
}

func TestConditionsNeverMergeAndConfirmationsDo(t *testing.T) {
	in, shared := NewInbox(), []string{"x", "y", "z"}
	condition := func(id string) []edgeagent.ConditionSet {
		return []edgeagent.ConditionSet{{Conditions: []edgeagent.Condition{{ID: id}}}}
	}
	in.Put(edgeagent.Scan{Device: "a", Conditions: condition("1"), Confirmed: shared})
	in.Put(edgeagent.Scan{Device: "a", Conditions: condition("1"), Confirmed: shared[:1]})
	in.Put(edgeagent.Scan{Device: "a", Conditions: condition("2"), Samples: []edgeagent.Sample{sample("y", 7)}})
	s, err := in.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Conditions) != 3 || s.Conditions[2].Conditions[0].ID != "2" {
		t.Errorf("conditions = %+v, want all three in order", s.Conditions)
	}
	slices.Sort(s.Confirmed)
	if !slices.Equal(s.Confirmed, []string{"x", "z"}) {
		t.Errorf("confirmed = %v, want x and z: y changed after it was confirmed", s.Confirmed)
	}
	if !slices.Equal(shared, []string{"x", "y", "z"}) {
		t.Errorf("the shared slice is %v now", shared)
	}
}

func TestInboxIsFairToDevices(t *testing.T) {
	in := NewInbox()
	for i := range uint64(100) {
		in.Put(scanOf("chatty", sample("x", i)))
		if i == 10 {
			in.Put(scanOf("quiet", sample("x", i)))
		}
	}
	var got []string
	for range 2 {
		s, err := in.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, s.Device)
		in.Put(scanOf("chatty", sample("x", 0)))
	}
	if !slices.Equal(got, []string{"chatty", "quiet"}) {
		t.Errorf("order = %v, want the one that has waited longest first", got)
	}
}

func TestNextWaitsForAScanOrItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := NewInbox()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		time.AfterFunc(time.Second, func() { in.Put(scanOf("a")) })
		if s, err := in.Next(ctx); err != nil || s.Device != "a" {
			t.Errorf("Next = %v, %v", s, err)
		}
		if _, err := in.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Next = %v, want the context's error", err)
		}
	})
}

// TestNothingIsLostBetweenPutAndNext: with writers and one reader at full
// speed, every event arrives and the last value of every tag is the last one.
func TestNothingIsLostBetweenPutAndNext(t *testing.T) {
	const writers, rounds = 4, 2000
	in := NewInbox()
	var writing sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			for i := range uint64(rounds) {
				s := scanOf(fmt.Sprint("d", w), sample("x", i))
				s.Events = []edgeagent.DeviceEvent{{At: time.Unix(int64(i), 0)}}
				in.Put(s)
			}
		})
	}
	events, last := map[string]int64{}, map[string]edgeagent.Value{}
	for total := 0; total < writers*rounds; {
		s, err := in.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range s.Events {
			if e.At.Unix() != events[s.Device] {
				t.Fatalf("%s: event %d, want %d", s.Device, e.At.Unix(), events[s.Device])
			}
			events[s.Device]++
			total++
		}
		last[s.Device] = s.Samples[len(s.Samples)-1].Value
	}
	writing.Wait()
	for d, v := range last {
		if !v.Equal(edgeagent.Uint(rounds - 1)) {
			t.Errorf("%s ends with %v", d, v)
		}
	}
}
