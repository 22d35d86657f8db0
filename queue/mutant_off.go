//go:build !mutant_nosync && !mutant_early_ack

package queue

import (
	"os"

	"go.etcd.io/bbolt"
)

// The power-cut rig has to catch files that break their promises, or it proves
// nothing. It builds those mutants with tags; in a release these do nothing.
func mutateFile(*bbolt.DB) {}

func syncJournal(f *os.File) error { return dataSync(f) }

func answerEarly([]op) {}
