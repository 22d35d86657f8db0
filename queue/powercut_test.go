package queue_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"time"

	"edgeagent"
	"edgeagent/queue"
)

// Two children of the power-cut rig (e2e/powercut): one works on a data file
// and writes down each promise at the moment it is kept, the other judges what
// a power cut left.
const (
	roleCut   = "cut"
	roleJudge = "judge"
)

// cut works until it is killed, or until its input ends: then it closes the
// file as a stopped agent does.
func cut() int {
	o := forAges(options(os.Getenv("QUEUE_TEST_FILE")))
	o.BootID = os.Getenv("QUEUE_TEST_BOOT")
	acks, err := os.OpenFile(os.Getenv("QUEUE_TEST_ACKS"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return complain(err)
	}
	promise := func(format string, args ...any) {
		if _, err := fmt.Fprintf(acks, format+"\n", args...); err != nil { // one write each: never half a promise
			os.Exit(complain(err))
		}
	}
	if backup := os.Getenv("QUEUE_TEST_RESTORE"); backup != "" {
		promise("RESTORING")
		if _, err := queue.Restore(context.Background(), backup, o.Path, nil); err != nil {
			return complain(err)
		}
		promise("RESTORED")
	}
	db, err := queue.Open(context.Background(), o)
	if err != nil {
		return complain(err)
	}
	promise("OPEN")
	fmt.Println("OPEN")
	if err := tellKnown(db, promise); err != nil {
		return complain(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	err = cutLoops(ctx, db, promise)
	if backup := os.Getenv("QUEUE_TEST_BACKUP"); backup != "" && err == nil {
		if err = backUp(db, backup); err == nil {
			promise("BACKUP")
		}
	}
	return complain(errors.Join(err, db.Close()))
}

// tellKnown says what the jobs have behind them that are there already: those of
// an older file were tried by somebody else.
func tellKnown(db *queue.DB, promise func(string, ...any)) error {
	waiting, _, err := db.Jobs(queue.JobFilter{State: edgeagent.JobPending, Limit: 1000})
	for _, j := range waiting {
		if j.Attempts > 0 {
			promise("KNOWN %s %d", j.ID, j.Attempts)
		}
	}
	return err
}

// forAges keeps what was sent: the judge counts every number from the first, also
// in a file that was made long ago.
func forAges(o queue.Options) queue.Options {
	const ages = 100 * 365 * 24 * time.Hour
	o.Retain, o.Destinations = ages, slices.Clone(o.Destinations)
	for i := range o.Destinations {
		o.Destinations[i].Keep = ages
	}
	return o
}

func backUp(db *queue.DB, path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	err = db.Backup(func(int64) (io.Writer, error) { return f, nil })
	return errors.Join(err, f.Close())
}

func complain(err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// cutLoops raises, diagnoses, sends, settles and compacts until ctx ends.
func cutLoops(ctx context.Context, db *queue.DB, promise func(string, ...any)) error {
	steps := []func() error{
		func() error { return recordOne(db, fmt.Sprintf("line-%d", rand.IntN(500)), promise) },
		func() error { return recordOne(db, "line-0", promise) },
		func() error { return cutWork(db, promise) },
		func() error { return cutWork(db, promise) },
		func() error { return sendNoted(db, promise) },
		func() error { return db.SettleBeside(context.Background()) },
		func() error {
			_, _, err := db.Compact(context.Background())
			time.Sleep(40 * time.Millisecond) // the others fill the file meanwhile
			return err
		},
	}
	errs := make([]error, len(steps))
	var wg sync.WaitGroup
	for i, step := range steps {
		wg.Go(func() {
			for ctx.Err() == nil && errs[i] == nil {
				errs[i] = step()
				time.Sleep(time.Duration(rand.IntN(8)) * time.Millisecond) // a plant, and alarms that come alone among others
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// cutWork works on one job and says before and after what it does: whoever
// judges then knows of each lease whether it had ended.
func cutWork(db *queue.DB, promise func(string, ...any)) error {
	l, err := db.Lease(context.Background())
	if err != nil || l == nil {
		return err
	}
	promise("LEASED %s", l.Job)
	time.Sleep(time.Duration(rand.IntN(4)) * time.Millisecond) // the diagnosis
	var end func() error
	word := "COMPLETED"
	switch rand.IntN(8) {
	case 0:
		word = "RELEASED"
		end = func() error { return db.Release(context.Background(), *l, edgeagent.Outcome{}) }
	case 1:
		if l.Attempt > 1 { // the third failed attempt would be the last
			end = func() error { return db.Complete(context.Background(), *l, answer("at last")) }
			break
		}
		word = "RETRIED"
		end = func() error { return db.Retry(context.Background(), *l, edgeagent.Outcome{}, nil, 0) }
	default:
		end = func() error { return db.Complete(context.Background(), *l, answer("done")) }
	}
	promise("ENDING %s %s", l.Job, word)
	if err := end(); err != nil {
		return err
	}
	promise("%s %s", word, l.Job)
	return nil
}

// sendNoted promises the bytes that it sent, then what was confirmed: a number
// that has left the site must never come back with other bytes.
func sendNoted(db *queue.DB, promise func(string, ...any)) error {
	events, err := db.Pending("historian", 50, 1<<20)
	if err != nil || len(events) == 0 {
		return err
	}
	r := edgeagent.Receipt{Epoch: events[0].Epoch, Contig: make(map[edgeagent.Stream]uint64)}
	for _, e := range events {
		promise("SENT %s %d %s", name(e), e.Sequence, sum(e))
		r.Contig[e.Stream] = e.Sequence
	}
	if err := db.Confirm(context.Background(), "historian", r); err != nil {
		return err
	}
	for s, n := range r.Contig {
		promise("CONFIRMED %s/%s %d", r.Epoch, s, n)
	}
	return nil
}
