package queue

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"

	"edgeagent"
)

// DB is the open data file.
type DB struct {
	path       string
	boot       boot
	lock       *os.File
	bolt       *bbolt.DB
	turn       sync.RWMutex // of tx: the committer and its keeper alone change it, and only while nobody reads
	tx         *bbolt.Tx    // what was committed since the last checkpoint, and all before; nil when the file has failed
	journal    journal
	options    atomic.Pointer[Options]
	work       *working // the committer's
	ledger     ledger
	view       atomic.Pointer[view]
	atHand     alarmsAtHand
	raisedMu   sync.RWMutex // of work.raised, which readers look into
	swapping   sync.RWMutex // of bolt, which compaction exchanges; the committer alone writes and needs it for that alone
	clock      clock
	reserve    reserve
	measured   measured
	compacting compacting
	keeper     keeper

	ops      chan op
	askers   askers
	stop     chan struct{}
	stopOnce sync.Once
	done     chan struct{}
	jobs     chan struct{}
	subs     subscribers

	leftover    bool // the last process's jobs are not taken back yet; the committer's
	commits     atomic.Uint64
	checkpoints atomic.Uint64
	unsettled   atomic.Int64 // bytes put since the last checkpoint
	used        atomic.Int64 // bytes of the file up to its last page
	page        atomic.Int64 // bytes of one
	full        atomic.Bool
	refused     atomic.Uint64 // jobs, for want of space
	busy        watch         // on the commit under way
	hung        hung
	broken      atomic.Pointer[error]
	failOnce    sync.Once
	failed      chan struct{}
	salvaged    string // why the file is a new one; empty for the old one
	newer       bool   // for it is of a later version than we are
}

// Open opens the data file, or makes it. Damage never keeps it from opening:
// the damaged file is set aside as PATH.corrupt-TIME, a new one is begun, and
// [DB.Storage] says so. It returns an error when another process has the file,
// or when the folder cannot be written; for a process that only reads the file it
// waits half a minute. The lock is the file PATH.lock.
func Open(ctx context.Context, o Options) (*DB, error) {
	o = o.withDefaults()
	lock, err := acquireAfterReaders(ctx, o.Path+".lock", o.Log)
	if err != nil {
		return nil, err
	}
	db := newDB(o, lock)
	if err := db.start(ctx, o); err != nil {
		return nil, errors.Join(fmt.Errorf("open the data file %s: %w", o.Path, err), lock.Close())
	}
	return db, nil
}

func newDB(o Options, lock *os.File) *DB {
	db := &DB{
		path: o.Path, boot: newBoot(), lock: lock,
		ops: make(chan op, maxBatch), askers: askers{some: make(chan struct{}, 1)}, stop: make(chan struct{}), done: make(chan struct{}),
		jobs: make(chan struct{}, 1), failed: make(chan struct{}),
	}
	db.options.Store(&o)
	db.reserve.path = o.Path + ".reserve"
	db.ledger.configure(o)
	db.watch(&db.busy)
	db.watch(&db.keeper.disk)
	return db
}

// start opens the file and the committer.
func (db *DB) start(ctx context.Context, o Options) error {
	if err := db.openFile(ctx, o); err != nil {
		return err
	}
	if err := db.tellNewer(o); err != nil {
		return errors.Join(err, db.detach())
	}
	return db.begin()
}

// begin takes over from the last process and starts the committer.
func (db *DB) begin() error {
	if err := db.recover(); err != nil {
		return errors.Join(err, db.detach())
	}
	if file, free := db.sizes(); file >= compactLeast && free > file/2 {
		_ = db.compact(time.Now()) // said there
	}
	go db.commitLoop()
	return nil
}

// recover takes back what the last process left behind: one commit at open, or,
// on a full file, with the first one that fits.
func (db *DB) recover() error {
	b := db.newBatch(1)
	if err := b.loadClock(); err != nil {
		return err
	}
	if err := db.reserve.open(db.work.unfinishedJobs()); err != nil {
		b.o.Log.Warn("nothing is held back for a full disk", "error", err)
	}
	b.jobsWoken = len(db.work.ready.all) > 0
	err := db.takeBack(b)
	if db.leftover = errors.Is(err, edgeagent.ErrFull); db.leftover {
		b.o.Log.Error("the data file is full: jobs that were running wait until there is space", "error", err)
		err = nil
	}
	db.publish(b)
	return err
}

// takeBack commits what b makes of a file that another process has left.
func (db *DB) takeBack(b *batch) error {
	err := errors.Join(b.newLife(), b.checkSource(), b.tellRestored(), b.skipGone(), b.learnEarlier(), b.endCutReview())
	for _, j := range db.work.running {
		if err == nil {
			err = b.interrupt(j)
		}
	}
	if err != nil {
		b.rollback(0)
		return err
	}
	defer db.putAway(b)
	return db.finish(b, 0)
}

// takeBackLate tries again what did not fit at open. Nothing is written before
// it: the numbers of a stream hang on the epoch that it may begin.
func (db *DB) takeBackLate() error {
	if !db.leftover {
		return nil
	}
	if err := db.takeBack(db.newBatch(1)); err != nil {
		return fmt.Errorf("take back what the last run left: %w", err)
	}
	db.leftover = false
	return nil
}

// Configure applies what may change while the file is open; what counts at open
// stays as it is, see [Options].
func (db *DB) Configure(o Options) {
	o = o.withDefaults()
	was := db.options.Load()
	o.Path, o.Site, o.Agent, o.MaxSize, o.Check, o.BootID, o.Hardware = was.Path, was.Site, was.Agent, was.MaxSize, was.Check, was.BootID, was.Hardware
	o.CrashCostUSD, o.Log, o.OnCommit = was.CrashCostUSD, was.Log, was.OnCommit
	db.options.Store(&o)
	db.ledger.configure(o)
	if err := db.do(context.Background(), "greet new destinations", func(b *batch) error {
		b.o = *db.options.Load() // the batch may be older than they are
		return b.skipGone()
	}); err != nil {
		o.Log.Error("events that a new destination will never get were not announced", "error", err)
	}
}

// Close ends the committer, closes the file and leaves the mark that spares the
// next start the check. Operations under way are answered first or refused.
func (db *DB) Close() error {
	var err error
	db.stopOnce.Do(func() {
		close(db.stop)
		if err = db.ended(); err != nil {
			return // the file is as the disk leaves it; the next start checks it
		}
		db.compacting.busy.Wait()
		err = errors.Join(db.closeFile(), db.reserve.close(), db.lock.Close())
	})
	return err
}

func (db *DB) closeFile() error {
	var sealed error
	if db.failure() == nil {
		sealed = db.settleNow(false)
	}
	if err := db.detach(); err != nil {
		return fmt.Errorf("close the data file %s: %w", db.path, err)
	}
	if db.failure() != nil || sealed != nil {
		return nil //nolint:nilerr // it was told when it happened, what is in the journal stays there; without the mark the next start looks
	}
	return writeCleanMark(db.path, db.options.Load().BootID)
}

// Failed is closed when the file can no longer be written. Only a new process
// can be trusted with it then.
func (db *DB) Failed() <-chan struct{} { return db.failed }

// Epoch names the life of the file; sequence numbers count within it.
func (db *DB) Epoch() edgeagent.ID { return db.view.Load().epoch }

// Stamp returns the boot and the nanoseconds since it that an event written
// now would carry: they order events under a wrong clock.
func (db *DB) Stamp() (boot, mono string) {
	return db.options.Load().BootID, strconv.FormatInt(db.boot.mono(), 10)
}

// JobsReady returns a channel that receives when there may be a job to lease. It
// holds one wake-up; a lease that leaves jobs behind that are ready wakes the
// next reader. It says nothing when time alone makes a job ready: see [DB.NextReady].
func (db *DB) JobsReady() <-chan struct{} { return db.jobs }

// subscribers are woken by new events.
type subscribers struct {
	mu  sync.Mutex
	all map[chan struct{}]struct{}
}

// OutboxReady returns a channel of its own for each caller, which receives when
// there are new events. It holds one wake-up. Call stop when done with it.
func (db *DB) OutboxReady() (ready <-chan struct{}, stop func()) {
	c := make(chan struct{}, 1)
	s := &db.subs
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = make(map[chan struct{}]struct{})
	}
	s.all[c] = struct{}{}
	return c, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.all, c)
	}
}

func (s *subscribers) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.all {
		signal(c)
	}
}

// signal wakes a reader that may be awake already.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
