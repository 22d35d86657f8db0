package queue

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// image is all of memory that a raise and a lease change, as text. What is behind
// a pointer is replaced and never changed: where it points says enough.
func image(w *working) map[string]string {
	waiting := slices.Concat(w.ready.all, w.delayed.all)
	slices.SortFunc(waiting, func(a, b entry) int { return slices.Compare(a.id[:], b.id[:]) })
	out := make(map[string]string)
	for name, part := range map[string]any{
		"counts": trimmed(w.counts), "running": w.running, "groups": w.groups, "joined": w.joined, "waiting": waiting, "alarms": w.alarms, "raised": w.raised,
		"before": w.before, "flood": w.flood, "lines": w.lines, "opened": w.opened, "recent": w.recent, "last": w.last, "floor": w.floor, "devices": w.devices,
	} {
		out[name] = fmt.Sprintf("%v", part)
	}
	return out
}

// Slices grow in place and changes are noted by their types: a batch that is taken
// back leaves all as it was nevertheless, and readers keep what they have seen.
func TestABatchThatIsTakenBackLeavesNoTrace(t *testing.T) {
	db := openNow(t, filepath.Join(t.TempDir(), "agent.db"))
	takenBack := errors.New("taken back")
	attempt := func(round int, end error) {
		t.Helper()
		ts := raisesOf(3, 7)
		frozen := db.freezeAll(ts)
		err := db.do(t.Context(), "record", func(b *batch) error {
			if _, err := b.leaseFirst(); err != nil {
				return err
			}
			for i := range ts {
				if _, err := b.record(&ts[i], frozen[i]); err != nil {
					return err
				}
			}
			return end
		})
		if !errors.Is(err, end) {
			t.Fatalf("round %d: %v", round, err)
		}
	}
	now := func() (is map[string]string) {
		if err := db.do(t.Context(), "look", func(b *batch) error { is = image(b.w); return nil }); err != nil {
			t.Fatal(err)
		}
		return is
	}
	for round := range 12 {
		attempt(round, nil)
		before, seen := now(), db.view.Load().recent
		kept := slices.Clone(seen)
		attempt(round, takenBack)
		for name, is := range now() {
			if is != before[name] {
				t.Fatalf("round %d: %s was\n%s\nand after a batch that was taken back is\n%s", round, name, before[name], is)
			}
		}
		attempt(round, nil)
		if !slices.EqualFunc(seen, kept, time.Time.Equal) {
			t.Fatalf("round %d: readers have seen %v, and it became %v", round, kept, seen)
		}
	}
	if n := len(db.OpenAlarms()); n != 2*12*21 {
		t.Errorf("%d alarms are open", n)
	}
}
