package queue

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"edgeagent"
)

// A meta page is written in place. Torn anywhere up to its number it is of a
// commit that nobody was told of; a bit that flips in the newest one is damage.
func TestATornMetaPageIsNoDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.db")
	if err := create(path); err != nil {
		t.Fatal(err)
	}
	commit := func() []byte {
		b, err := openBolt(path, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		body := []byte(edgeagent.NewID(time.Now()))
		err = b.Update(func(tx *bbolt.Tx) error {
			return writeRecord(tx, bucketMeta, keySource, encodeRecord(bucketMeta, keySource, 0, body))
		})
		if err != nil || b.Close() != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
	verify := func(content []byte) error {
		_, err := pageFile{r: bytes.NewReader(content), size: int64(len(content)), count: uint64(len(content) / pageSize)}.verify()
		return err
	}
	before := commit()
	after := commit()
	at := 0
	if bytes.Equal(before[:pageSize], after[:pageSize]) {
		at = pageSize
	}
	const number = pageHeadSize + 48
	for cut := 1; cut <= number; cut++ {
		torn := bytes.Clone(after)
		copy(torn[at+cut:at+pageSize], before[at+cut:at+pageSize])
		if err := verify(torn); err != nil {
			t.Errorf("torn at %d: %v", cut, err)
		}
	}
	for bit := range 8 * metaSize {
		bad := bytes.Clone(after)
		bad[at+pageHeadSize+bit/8] ^= 1 << (bit % 8)
		if err := verify(bad); err == nil {
			t.Errorf("bit %d of the newest meta page flipped, and nobody noticed", bit)
		}
	}
}
