package queue_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"

	"edgeagent"
)

// checkInChild is how the agent checks a file: another process may die of it.
func checkInChild(ctx context.Context, path string) error {
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), "QUEUE_TEST_ROLE="+roleCheck, "QUEUE_TEST_FILE="+path)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %.200s", err, out)
	}
	return nil
}

func TestHealthyFilePassesTheCheck(t *testing.T) {
	path := dataFile(t)
	damagedFile(t, path, func(b []byte) []byte { return b })
	if err := checkInChild(t.Context(), path); err != nil {
		t.Errorf("check of a healthy file = %v", err)
	}
}

// Damage at random places either is found at open, or hit nothing that is in
// use: then everything reads as it was written.
func TestRandomDamageIsFoundOrHarmless(t *testing.T) {
	const seed, rounds = 7, 12
	random := rand.New(rand.NewPCG(seed, 1))
	found := 0
	for round := range rounds {
		path := dataFile(t)
		id := damagedFile(t, path, func(b []byte) []byte { return wreck(random, b, round) })
		o := options(path)
		o.Check = checkInChild
		db := open(t, o)
		if db.Storage().State == edgeagent.StorageSalvaged {
			found++
			continue
		}
		if got := db.OpenAlarms(); db.Epoch() != id || len(got) != 1 || got[0].Text != "Level sensor unstable" || got[0].Hint.Summary != "check A1" {
			t.Errorf("seed %d, round %d: the file opened and reads %+v", seed, round, got)
		}
		lease(t, db)
		wholeStream(t, db, edgeagent.StreamAlarm)
	}
	if found == 0 || found == rounds {
		t.Errorf("%d of %d files were found damaged: the test does not hit both cases", found, rounds)
	}
}

// wreck swaps two pages, zeroes one, or flips a bit of one that is in use.
func wreck(random *rand.Rand, b []byte, round int) []byte {
	const page = newPage
	p, q := (2+random.IntN(7))*page, (2+random.IntN(7))*page
	switch round % 3 {
	case 0:
		copy(b[p:p+page], b[q:q+page])
	case 1:
		clear(b[p : p+page])
	default:
		b[p+random.IntN(200)] ^= 1 << random.IntN(8)
	}
	return b
}
