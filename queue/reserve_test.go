package queue

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

func TestReserveIsGivenUpInStepsAndTakenAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "reserve")
	synctest.Test(t, func(t *testing.T) {
		r := reserve{path: path}
		defer func() {
			if err := r.close(); err != nil {
				t.Error(err)
			}
		}()
		if err := r.open(300); err != nil { // 1 MiB and 300 times 8 KiB
			t.Fatal(err)
		}
		holds := func(want int64) {
			t.Helper()
			info, err := os.Stat(path)
			if err != nil || info.Size() != want || r.size.Load() != want {
				t.Errorf("the reserve holds %v, %v, and says %d; want %d", info.Size(), err, r.size.Load(), want)
			}
		}
		holds(4 << 20)
		for left := int64(3); left >= 0; left-- {
			if !r.yield(1000) {
				t.Fatalf("it gave nothing with %d MiB left", left+1)
			}
			holds(left << 20)
		}
		if r.yield(1000) {
			t.Error("it gave what it does not have")
		}
		if r.cover(1) {
			t.Error("a job was covered by a reserve that was just given up")
		}
		time.Sleep(reserveAgain)
		if !r.cover(1) {
			t.Error("it was not taken again when space was back")
		}
		holds(2 << 20)
		r.adjust(2000, 0)
		holds(17 << 20)
		r.adjust(0, 0)
		holds(1 << 20)
	})
}
