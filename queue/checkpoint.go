package queue

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"edgeagent"
)

// What is in the journal has to be found, too. A transaction of the data file is
// held open, gets every frame that is durable, and is what everybody reads: so
// nothing is kept twice, and no page is written before many frames share it.
// To commit it is a checkpoint.

// errUntrusted is wrapped by an error after which nobody knows what is on the
// disk: Linux marks pages clean after a failed sync.
var errUntrusted = errors.New("what is on the disk is not known")

// begin opens the transaction that is held. All its buckets are opened with it:
// who only reads then changes nothing in it.
func (db *DB) beginTx() error {
	tx, err := db.bolt.Begin(true)
	if err != nil {
		return fmt.Errorf("begin a transaction: %w", err)
	}
	for _, name := range append([]byte{bucketTally}, buckets...) {
		tx.Bucket([]byte{name})
	}
	db.tx = tx
	return nil
}

// dropTx gives up what is not committed. It is in the journal.
func (db *DB) dropTx() {
	if db.tx != nil {
		_ = guard(db.tx.Rollback) // of a transaction that has ended: nothing to undo
		db.tx = nil
	}
}

// store makes a batch durable and visible. While space is short every commit is a
// checkpoint: only that shows what there is, and what was freed.
func (db *DB) store(b *batch) error {
	if !db.journal.live() || b.space().pressure() >= pressureTrim {
		return db.checkpoint(b, true)
	}
	if b.size() > b.direct() { // known without making a frame of it
		return db.checkpoint(b, true)
	}
	frame := db.journal.frame(b)
	if len(frame) > b.direct() {
		return db.checkpoint(b, true)
	}
	if !db.journal.holds(frame) {
		if err := db.nextPart(); err != nil {
			return err
		}
		frame = db.journal.frame(b) // of the next generation
	}
	return db.log(b, frame)
}

// log makes a batch durable by its frame. The keeper puts a large one into the
// transaction while the disk syncs.
func (db *DB) log(b *batch, frame []byte) error {
	kept := len(b.names) >= keepLeast || db.keeper.working()
	settle := func(err error) error { return err }
	if kept {
		settle = db.putMeanwhile(b)
	}
	err := settle(db.journal.append(frame))
	if err != nil && noSpace(err) && !errors.Is(err, errUntrusted) {
		return db.checkpoint(b, true) // a limit of the file size, or a file system that never writes in place
	}
	if err != nil {
		return db.classify(err)
	}
	if !kept {
		db.turn.Lock() // who is answered reads what was written, see putAway
		b.owed = true
	}
	db.unsettled.Add(int64(b.size()))
	return nil
}

// putMeanwhile has the keeper put a batch. It keeps the turn until it is told what
// became of the frame, for nobody is to read what is not stored, and takes out again
// what the journal refused.
func (db *DB) putMeanwhile(b *batch) (settle func(error) error) {
	written, out := make(chan error, 1), make(chan error, 1)
	db.hand(func() {
		db.putRecords(b)
		if <-written != nil {
			out <- guard(db.takeOut)
		}
	})
	return func(err error) error {
		if written <- err; err != nil {
			err = errors.Join(err, <-out)
		}
		return err
	}
}

// takeOut leaves in the transaction what is in the journal. Who has the turn does it.
func (db *DB) takeOut() error {
	s, err := db.settlement(nil, true)
	if err != nil {
		return err
	}
	db.dropTx()
	if err := db.resume(s); err != nil {
		return fmt.Errorf("%w: take out what the journal refused: %w", errUntrusted, err)
	}
	return nil
}

// joined waits for the keeper. It returns an error when the file has failed in its
// hands: nothing that is written after that can be trusted.
func (db *DB) joined() error {
	db.keeper.join()
	if err := db.failure(); err != nil {
		return fmt.Errorf("%w: %w", errUntrusted, err)
	}
	return nil
}

// nextPart makes room in the journal.
func (db *DB) nextPart() error {
	if err := db.joined(); err != nil {
		return err
	}
	if db.journal.behind() {
		return db.checkpoint(nil, true)
	}
	return db.beginSettling()
}

// putAway puts what the journal holds of a small batch into the transaction, after
// everybody has their answer: they go on while this is done, and readers wait.
func (db *DB) putAway(b *batch) {
	if !b.owed {
		return
	}
	defer db.turn.Unlock()
	b.owed = false
	db.starts(&db.busy) // pages are read for it, of a disk that may hang
	defer db.ends(&db.busy)
	db.putRecords(b)
}

// classify tells a disk without space, after which all is as before, from all
// other errors.
func (db *DB) classify(err error) error {
	if noSpace(err) && !errors.Is(err, errUntrusted) {
		return fmt.Errorf("%w: %w", edgeagent.ErrFull, err)
	}
	return fmt.Errorf("commit to %s: %w", db.path, err)
}

// writeAll puts records where they belong, in the order of their keys.
func writeAll(tx *bbolt.Tx, puts map[string][]byte) error {
	return writeThese(tx, sortedKeys(puts), puts)
}

// writeThese puts those of the names that are still there.
func writeThese(tx *bbolt.Tx, names []string, puts map[string][]byte) error {
	for _, name := range names {
		rec, there := puts[name]
		if !there {
			continue
		}
		if err := writeRecord(tx, name[0], name[1:], rec); err != nil {
			return fmt.Errorf("write %c/%q: %w", name[0], name[1:], err)
		}
	}
	return nil
}

// writeMark says what journal the file has, and by its schema that it has one: an
// older version would take the file for all there is.
func writeMark(tx *bbolt.Tx, m journalMark) error {
	if err := writeSchema(tx); err != nil {
		return err
	}
	return writeRecord(tx, bucketMeta, keyJournal, encodeRecord(bucketMeta, keyJournal, 0, m.encode()))
}

// checkpoint commits what the journal holds to the data file, and with it a
// batch that does not fit there. Without space all is as before, but for the
// batch; after any other error the file has failed.
func (db *DB) checkpoint(b *batch, open bool) error {
	if err := db.joined(); err != nil {
		return err
	}
	s, err := db.settlement(b, open)
	if err != nil {
		return err
	}
	for {
		db.turn.Lock()
		err := db.commitTx(s)
		db.turn.Unlock()
		if err == nil {
			db.journal.turn(s.mark)
			return nil
		}
		if !diskFull(err) || !errors.Is(err, edgeagent.ErrFull) || !db.reserve.yield(2*(db.unsettled.Load()+b.bytes())) {
			return err
		}
		db.options.Load().Log.Warn("the disk is full: part of the reserve was given up", "left", db.reserve.size.Load())
	}
}

// A settlement is what a checkpoint commits.
type settlement struct {
	was   journalMark
	mark  journalMark
	tally *working          // of the streams, as they will be in the file
	puts  map[string][]byte // of a batch that goes with it
	lots  []lot             // what the journal holds, for when it fails
	bytes int64             // of db.unsettled
}

func (db *DB) settlement(b *batch, open bool) (s settlement, err error) {
	j := &db.journal
	s = settlement{was: j.mark, lots: j.lots(), mark: j.upcoming(open), bytes: db.unsettled.Load()}
	if b != nil {
		s.tally, s.puts = b.w, b.puts
		s.mark.generation = j.settled.Load() + 2 // no frame has the batch: that the file lost this checkpoint must show
		return s, nil
	}
	s.tally, err = db.published()
	return s, err
}

// commitTx is one try, by who has the turn. Readers wait for it: there is no state
// between.
func (db *DB) commitTx(s settlement) (err error) {
	if db.tx == nil {
		return fmt.Errorf("the data file has no transaction: %w", errUntrusted)
	}
	before := db.txid()
	err = guard(func() error { return db.write(s) })
	if err == nil {
		db.tx = nil
		err := db.measure()
		db.unsettled.Add(-s.bytes)
		db.journal.settled.Store(s.mark.generation)
		db.checkpoints.Add(1)
		return errors.Join(err, failpoint("checkpoint.turn"), db.beginTx())
	}
	if db.txid() != before {
		err = fmt.Errorf("%w: %w", errUntrusted, err)
	}
	err = db.classify(err)
	db.dropTx()
	if resumed := db.resume(s); resumed != nil {
		return fmt.Errorf("%w: %w, after: %s", errUntrusted, resumed, err.Error()) // which is no lack of space any more
	}
	return err
}

// write fills the transaction up and commits it.
func (db *DB) write(s settlement) error {
	if err := errors.Join(writeAll(db.tx, s.puts), s.tally.count(db.tx), writeMark(db.tx, s.mark)); err != nil {
		return err
	}
	return durable("checkpoint.write", db.tx.Commit)
}

// published is what was committed of the streams. Memory may be ahead of it, with
// a batch that is under way.
func (db *DB) published() (*working, error) {
	if v := db.view.Load(); v != nil {
		return &working{last: v.last, floor: v.floor}, nil
	}
	w := newWorking()
	return w, w.loadOutbox(db.tx)
}

// resume begins the transaction again and puts into it what is in the journal. If
// it cannot, there is none: nobody is to read less than what was answered.
func (db *DB) resume(s settlement) (err error) {
	if err := db.beginTx(); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			db.dropTx()
		}
	}()
	lots := slices.DeleteFunc(slices.Clone(s.lots), func(l lot) bool { return l.frames == 0 })
	if len(lots) == 0 {
		return nil // there may be no journal
	}
	found, err := readJournal(db.journal.path)
	if err != nil {
		return err
	}
	defer func() { _ = found.close() }() // only read
	for _, l := range lots {
		c := found.chain(s.was, l.generation)
		if len(c.frames) != int(l.frames) {
			return fmt.Errorf("%d of %d frames of the journal can be read: %w", len(c.frames), l.frames, errDamaged)
		}
		if _, err := replay(db.tx, c.frames); err != nil {
			return err
		}
	}
	return nil
}

// replay puts frames into a transaction and returns how many bytes that were.
func replay(tx *bbolt.Tx, frames []journalFrame) (n int64, err error) {
	for _, f := range frames {
		err := f.each(func(kind byte, key string, rec []byte) error {
			if kind == bucketTally {
				return nil // the checkpoint counts itself
			}
			n += int64(len(rec))
			return writeRecord(tx, kind, key, rec)
		})
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// settle begins a checkpoint when a MiB is in the journal, which is as much as
// should be kept in memory, or amid a storm when the next frame hardly fits.
// Everybody has their answer by now, and what comes meanwhile goes into the next
// part.
func (db *DB) settle(ops int) {
	j := &db.journal
	limit := settleAt
	if max(ops, j.shared) >= settleStorm {
		limit = journalPart - settleLeast
	}
	j.shared = ops
	if db.keeper.ended.Swap(false) {
		db.settled()
	}
	switch {
	case db.failure() != nil || db.keeper.working() && j.behind(): // the next one has to wait for it
	case j.behind():
		if err := db.settleNow(true); err == nil { // it found no space
			db.settled()
		}
	case j.at >= limit:
		db.starts(&db.busy) // who reads may hang in the disk, and has the turn
		defer db.ends(&db.busy)
		_ = db.beginSettling() // published never fails once the file is open
	}
}

// direct is from how many bytes on a batch is written once only, straight into the
// data file. A storm of raises is not: it takes one sync instead of two, and the
// pages of its jobs are written once for many of its batches.
func (b *batch) direct() int {
	if b.raised {
		return directRaised
	}
	return directFrom
}

const (
	directFrom   = 192 << 10
	directRaised = 1 << 20
	settleAt     = 1 << 20
	settleLeast  = 320 << 10 // what a frame of a storm needs
	settleStorm  = 8         // operations that shared a commit
)

// settleNow makes a checkpoint between two commits. A sealed data file is whole
// without its journal.
func (db *DB) settleNow(open bool) error {
	db.keeper.join()
	if db.journal.next == 0 && db.journal.mark.open == open && !db.journal.behind() {
		return nil
	}
	db.starts(&db.busy)
	defer db.ends(&db.busy)
	err := db.checkpoint(nil, open)
	switch {
	case errors.Is(err, edgeagent.ErrFull): // the next commit tries again
		db.full.Store(true)
	case err != nil:
		db.fail(err)
	}
	return err
}

// enter waits until nobody changes the transaction that is held. It gives up on
// a disk that hangs, for a page that shows nothing helps nobody.
func (db *DB) enter() error {
	if db.turn.TryRLock() {
		return nil
	}
	if err := db.Stalled(); err != nil {
		return err // and leave nobody behind who waits: there may be a page a second for hours
	}
	in := make(chan struct{})
	go func() { db.turn.RLock(); close(in) }()
	look := time.NewTicker(stallLook)
	defer look.Stop()
	for err := db.Stalled(); ; err = db.Stalled() {
		if err != nil {
			go func() { <-in; db.turn.RUnlock() }() // it gets in when the disk answers
			return err
		}
		select {
		case <-in:
			return nil
		case <-look.C:
		}
	}
}
