package main

import (
	"context"
	"io"
)

// files is what people may have done with the data file; see [status.Storage].
type files struct{ *agent }

// Backup writes the file as of the last commit.
func (f files) Backup(begin func(size int64) (io.Writer, error)) error {
	db := f.db.Load()
	if db == nil {
		return errChecking
	}
	return db.Backup(begin)
}

// Compact writes the file anew without its free pages.
func (f files) Compact(ctx context.Context) (before, after int64, err error) {
	db := f.db.Load()
	if db == nil {
		return 0, 0, errChecking
	}
	return db.Compact(context.WithoutCancel(ctx))
}
