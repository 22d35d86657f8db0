package queue

import (
	"bytes"
	"errors"
	"fmt"
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
		_, err := pagesOf(bytes.NewReader(content), int64(len(content))).verify()
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

// A file says how large its pages are, also when one of its meta pages is gone; when
// both are, most pages lie where they say.
func TestThePagesOfAFileThatIsOlderOrDamaged(t *testing.T) {
	for _, size := range pageSizes {
		path := filepath.Join(t.TempDir(), "agent.db")
		o := boltOptions(64 << 20)
		o.PageSize = int(size)
		b, err := bbolt.Open(path, 0o600, o)
		if err != nil {
			t.Fatal(err)
		}
		fill := func(tx *bbolt.Tx) error {
			c, err := tx.CreateBucket([]byte("b"))
			for i := 0; i < 500 && err == nil; i++ {
				err = c.Put(fmt.Appendf(nil, "%06d", i), make([]byte, 700))
			}
			return err
		}
		if err := errors.Join(b.Update(fill), b.Close()); err != nil {
			t.Fatal(err)
		}
		for name, gone := range map[string][]int64{"whole": nil, "without the first": {0}, "without the second": {size}, "without both": {0, size}} {
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, at := range gone {
				clear(content[at:][:size])
			}
			p := pagesOf(bytes.NewReader(content), int64(len(content)))
			if p.page != size || p.count != uint64(int64(len(content))/size) {
				t.Errorf("%s: %d pages of %d bytes, want them of %d", name, p.count, p.page, size)
			}
		}
	}
}
