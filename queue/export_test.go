package queue

import "go.etcd.io/bbolt"

// FutureSchema makes a file look like one of a later version.
func FutureSchema(tx *bbolt.Tx) error {
	if err := initialise(tx); err != nil {
		return err
	}
	rec := encodeRecord(bucketMeta, keySchema, 0, []byte("2"))
	return tx.Bucket([]byte{bucketMeta}).Put([]byte(keySchema), rec)
}
