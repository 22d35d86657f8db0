package queue_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"edgeagent"
	"edgeagent/queue"
)

const roleNarrow = "narrow"

// TestALimitOfTheFileSizeIsAFullDisk lets the kernel refuse what lies behind a
// size, as a service manager may have it do (LimitFSIZE): it sends a signal that
// ends a process by default, and cuts a write in two before it refuses the next.
func TestALimitOfTheFileSizeIsAFullDisk(t *testing.T) {
	path := dataFile(t)
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "QUEUE_TEST_ROLE="+roleNarrow, "QUEUE_TEST_FILE="+path)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "held") {
		t.Fatalf("%v: %s", err, out)
	}
	t.Logf("%s", out)
	if err := queue.CheckFile(path); err != nil {
		t.Error(err)
	}
}

// narrow works on a file that may not grow until it is full.
func narrow() int {
	ctx := context.Background()
	db, err := queue.Open(ctx, options(os.Getenv("QUEUE_TEST_FILE")))
	if err == nil {
		err = errors.Join(fillNarrow(ctx, db), db.Close())
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("held")
	return 0
}

func fillNarrow(ctx context.Context, db *queue.DB) error {
	// Not a multiple of anything: the last write is cut within a page.
	if err := fileLimit(uint64(db.Storage().FileBytes) + 2_000_001); err != nil {
		return err
	}
	usual, err := untilFull(ctx, db, "usual", 2)
	if err == nil {
		err = answerAll(ctx, db) // whatever was accepted can be completed
	}
	if err != nil {
		return fmt.Errorf("jobs of %d alarms: %w", len(usual), err)
	}
	urgent, err := untilFull(ctx, db, "urgent", 1) // which get in until nothing goes in
	if err != nil {
		return err
	}
	select {
	case <-db.Failed():
		return errors.New("a full file counts as a broken one")
	default:
	}
	fmt.Println(len(usual), "usual alarms and", len(urgent), "urgent ones in", db.Storage().FileBytes, "bytes")
	if err := fileLimit(1 << 40); err != nil {
		return err
	}
	for _, id := range append(usual, urgent...) {
		if _, err := db.Alarm(id); err != nil {
			return err
		}
	}
	return answerAll(ctx, db)
}

// untilFull records alarms until the file is full.
func untilFull(ctx context.Context, db *queue.DB, line string, priority int) (ids []edgeagent.ID, err error) {
	for i := range 10_000 {
		stored, err := db.Record(ctx, []edgeagent.Transition{raise(fmt.Sprint(line, i), "A1", priority)})
		if errors.Is(err, edgeagent.ErrFull) && i > 0 {
			return ids, nil
		}
		if err != nil {
			return ids, err
		}
		ids = append(ids, stored[0].ID)
	}
	return ids, errors.New("the file grows behind its limit")
}

// fileLimit sets how large a file may become by this process, in bytes.
func fileLimit(bytes uint64) error {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &l); err != nil {
		return err
	}
	l.Cur = min(bytes, l.Max)
	return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &l)
}

// answerAll completes the jobs that were accepted.
func answerAll(ctx context.Context, db *queue.DB) error {
	for n := db.JobCounts().Pending; n > 0; n-- {
		l, err := db.Lease(ctx)
		if err != nil {
			return fmt.Errorf("with %d jobs to go: %w", n, err)
		}
		if l == nil {
			return fmt.Errorf("%d jobs wait, and none is ready", n)
		}
		if err := db.Complete(ctx, *l, answer("x")); err != nil {
			return fmt.Errorf("with %d jobs to go: %w", n, err)
		}
	}
	if c := db.JobCounts(); c.Pending+c.Running+c.Failed != 0 {
		return fmt.Errorf("jobs when all are answered: %+v", c)
	}
	return nil
}
