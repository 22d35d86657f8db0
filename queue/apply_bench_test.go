package queue

import (
	"errors"
	"path/filepath"
	"testing"
)

// BenchmarkApply is what the committer does for a raise of a storm before its
// frame is made: in batches of 64, which are taken back.
func BenchmarkApply(b *testing.B) {
	const ops, lines = 64, 16
	db, err := Open(b.Context(), Options{
		Path: filepath.Join(b.TempDir(), "agent.db"), BootID: "boot-1", Site: "plant-a", Agent: "gw", Destinations: []Destination{{Name: "historian", Required: true}},
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	if _, err := db.Record(b.Context(), raisesOf(lines, 9)); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	ts := raisesOf(lines, ops/lines)
	frozen, takenBack := db.freezeAll(ts), errors.New("taken back")
	for b.Loop() {
		err := db.do(b.Context(), "apply", func(outer *batch) error {
			of := outer.db.newBatch(ops)
			of.w.known = recorded{}
			for i := range ts {
				if _, err := of.record(&ts[i], frozen[i]); err != nil {
					return err
				}
			}
			of.rollback(0)
			of.done()
			return takenBack
		})
		if !errors.Is(err, takenBack) {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*ops), "ns/raise")
}
