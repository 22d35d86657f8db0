package queue

import (
	"path/filepath"
	"strconv"
	"testing"
)

// A file that is mapped anew waits for every reader: a storm would stand still behind
// whoever reads a backup slowly.
func TestAFileIsNeverMappedAnew(t *testing.T) {
	if strconv.IntSize < 64 {
		t.Skip("a machine of 32 bits maps half a GiB")
	}
	for _, maxSize := range []int64{1 << 20, 256 << 20, 460 << 20, 1 << 30, 64 << 30} {
		o := boltOptions(maxSize)
		if int64(o.MaxSize) < maxSize || o.InitialMmapSize < o.MaxSize {
			t.Errorf("of %d bytes at most, %d with what is never refused, %d are mapped", maxSize, o.MaxSize, o.InitialMmapSize)
		}
		b, err := openBolt(filepath.Join(t.TempDir(), "edgeagent.db"), maxSize)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
}
