package queue

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"edgeagent"
)

// A review asks a better provider again about a job that is answered already.
// Money is its danger: it must never be paid twice, nor leave nothing for the
// next alarm. So it is noted before it begins; at most one is under way.
const (
	reviewTries = 2              // of one job, a cut off one included
	reviewAge   = 24 * time.Hour // of its alarm
	reviewShare = 0.1            // of the day's cap that all reviews together may use
)

// reviewing is the record of keyReview.
type reviewing struct {
	Job edgeagent.ID `json:"job,omitempty"` // under way; empty: none
	Day string       `json:"day"`           // of the spending
	USD float64      `json:"usd"`           // that reviews cost that day
}

// loadReview finds the review that the last process was at, and what they cost.
func (w *working) loadReview(tx *bbolt.Tx) error {
	r, err := optional[reviewing](getter(tx), bucketMeta, keyReview)
	if r != nil {
		w.review = *r
	}
	return err
}

// Reviewable returns the completed jobs that may be asked about again: an alarm
// of theirs is open and less than a day old, nobody has judged the answer, and
// there is no second one. By priority, then the oldest first.
func (db *DB) Reviewable() ([]edgeagent.Job, error) {
	var jobs []edgeagent.Job
	seen := make(map[edgeagent.ID]bool)
	err := db.viewing("look for answers to be reviewed", func(tx *bbolt.Tx) error {
		for _, a := range db.atHand.list() {
			if !fresh(a, time.Now()) || seen[a.Job] {
				continue
			}
			seen[a.Job] = true
			j, err := jobIn(tx, a.Job)
			if err != nil && !errors.Is(err, errDamaged) && !errors.Is(err, edgeagent.ErrNotFound) {
				return err
			}
			if err == nil && settledBy(j) == nil {
				jobs = append(jobs, j)
			}
		}
		return nil
	})
	slices.SortFunc(jobs, func(x, y edgeagent.Job) int {
		return cmp.Or(cmp.Compare(x.Priority, y.Priority), cmp.Compare(x.ID, y.ID))
	})
	return jobs, err
}

func jobIn(tx *bbolt.Tx, id edgeagent.ID) (edgeagent.Job, error) {
	h, err := readHeader(tx, id)
	if err != nil {
		return edgeagent.Job{}, err
	}
	return readJob(tx, id, h)
}

// fresh reports whether a better answer about an alarm still helps anybody.
func fresh(a *edgeagent.Alarm, now time.Time) bool {
	return a.Job != "" && a.State.Open() && now.Sub(a.RaisedAt) < reviewAge
}

// settledBy returns why a job is not asked about again, nil when it may be.
func settledBy(j edgeagent.Job) error {
	switch {
	case j.State != edgeagent.JobCompleted || j.Diagnosis == nil:
		return errors.New("it has no answer yet")
	case len(j.Reviews) > 0:
		return errors.New("it was reviewed")
	case j.Feedback != nil:
		return errors.New("a person has judged its answer")
	case triesOf(j) >= reviewTries:
		return fmt.Errorf("it was tried %d times", reviewTries)
	}
	return nil
}

// triesOf counts the reviews that were begun; those that were put back before
// anybody was asked do not count.
func triesOf(j edgeagent.Job) (n int) {
	for _, e := range j.Timeline {
		switch {
		case e.Event != "review":
		case e.Detail.Is("asked"):
			n++
		case e.Detail.Is("put_back"):
			n--
		}
	}
	return n
}

// BeginReview notes that provider is asked about a job again, and returns its
// case as it was. Until [DB.Review] or [DB.ReviewFailed] ends it, calls for the
// job must fit into what is left of the reviews' tenth of the day's cap. It
// returns ErrCap when nothing is left, and ErrConflict when the job is not to be
// asked about, or not by a provider outside.
func (db *DB) BeginReview(ctx context.Context, id edgeagent.ID, provider string, outside bool) (edgeagent.Case, error) {
	var c edgeagent.Case
	var limit float64
	err := db.do(ctx, "begin the review of job "+string(id), func(b *batch) error {
		j, err := b.reviewable(id)
		if err != nil {
			return err
		}
		if limit, err = b.reviewLimit(); err != nil {
			return err
		}
		if c, err = b.caseAgain(j, outside); err != nil {
			return err
		}
		if c.SpentUSD, err = b.spentOn(j); err != nil {
			return err
		}
		if err := b.putReview(reviewing{Job: id, Day: b.w.review.Day, USD: b.w.review.USD}); err != nil {
			return err
		}
		return b.note(&j, "review", edgeagent.NewNote("asked", provider+" is asked again", "provider", provider))
	})
	if slow, isLate := errors.AsType[*late](err); isLate { // nobody asks: what is stored after all must not stay under way
		go slow.then(func() {
			db.insist(func() error {
				return db.ReviewFailed(context.Background(), id, edgeagent.Outcome{}, "the disk did not answer in time")
			})
		})
	}
	if err == nil {
		db.ledger.limit(id, limit)
	}
	return c, err
}

// reviewable returns a job that may be asked about again.
func (b *batch) reviewable(id edgeagent.ID) (job, error) {
	conflict := func(why error) (job, error) {
		return job{}, fmt.Errorf("%w: %w", why, edgeagent.ErrConflict)
	}
	if b.w.review.Job != "" {
		return conflict(fmt.Errorf("job %s is being reviewed", b.w.review.Job))
	}
	j, err := b.job(id)
	if err != nil {
		return job{}, err
	}
	bodies, err := b.bodies(id)
	if err != nil {
		return job{}, err
	}
	full, err := assemble(id, j.header, bodies)
	if err != nil {
		return job{}, err
	}
	if why := settledBy(full); why != nil {
		return conflict(why)
	}
	if !slices.ContainsFunc(full.Alarms, func(a edgeagent.ID) bool {
		open, found := b.w.alarms[a]
		return found && fresh(open, b.now)
	}) {
		return conflict(errors.New("its alarm is over, or older than a day"))
	}
	return j, nil
}

// reviewLimit returns what a review may cost now, in US dollars.
func (b *batch) reviewLimit() (float64, error) {
	if day := b.db.ledger.day(); day != b.w.review.Day {
		assign(b, &b.w.review, reviewing{Day: day})
	}
	if b.o.DailyCapUSD <= 0 {
		return math.Inf(1), nil
	}
	limit := reviewShare*b.o.DailyCapUSD - b.w.review.USD
	if limit < 1e-6 { // nothing can be asked for that
		return 0, fmt.Errorf("%w: the reviews' tenth of it is used up", ErrCap)
	}
	return limit, nil
}

// caseAgain returns the case of a job as it was frozen, if it is still whole and
// may go where it would be sent.
func (b *batch) caseAgain(j job, outside bool) (edgeagent.Case, error) {
	stored, err := optional[edgeagent.Case](b.getJSON, bucketBodies, part(j.id, partCase))
	if err != nil {
		return edgeagent.Case{}, err
	}
	if stored == nil {
		return edgeagent.Case{}, fmt.Errorf("its case is no longer kept: %w", edgeagent.ErrConflict)
	}
	stored.Outside = stored.Outside && b.o.Outside(stored.Line)
	if outside && !stored.Outside {
		return edgeagent.Case{}, fmt.Errorf("its line must not be diagnosed outside: %w", edgeagent.ErrConflict)
	}
	return *stored, b.complete(j.id, stored)
}

// Review stores the answer that supersedes a job's diagnosis, with its calls,
// what they cost and the event, in one commit. A person's word that came
// meanwhile stands: then the calls alone are kept. It returns ErrLeaseLost for a
// job that is not being reviewed.
func (db *DB) Review(ctx context.Context, id edgeagent.ID, o edgeagent.Outcome) error {
	if o.Diagnosis == nil {
		return fmt.Errorf("review job %s: an outcome without a diagnosis is a ReviewFailed", id)
	}
	return db.endReview(ctx, id, o, func(b *batch, j *job) error {
		f, err := b.wordOn(id)
		if err != nil {
			return err
		}
		if f != nil {
			return b.note(j, "review", edgeagent.NewNote("not_used", "not used: a person has judged the first answer meanwhile"))
		}
		if err := b.putJSON(bucketBodies, part(id, partReview), 0, o.Diagnosis); err != nil {
			return err
		}
		by := o.Diagnosis.By.Provider
		if err := b.note(j, "superseded", edgeagent.NewNote("answered", "by "+by, "provider", by)); err != nil {
			return err
		}
		return b.emitJob(*j, edgeagent.EventDiagnosisSuperseded, int(j.revision), o)
	})
}

// ReviewFailed ends a review that brought no answer; its calls are kept and
// paid. Without any call the try does not count. It returns ErrLeaseLost for a
// job that is not being reviewed.
func (db *DB) ReviewFailed(ctx context.Context, id edgeagent.ID, o edgeagent.Outcome, why string) error {
	return db.endReview(ctx, id, o, func(b *batch, j *job) error {
		code := "failed"
		if len(o.Calls) == 0 {
			code = "put_back"
		}
		return b.note(j, "review", edgeagent.NewNote(code, "no second answer: "+edgeagent.OneLine(why, maxWord)))
	})
}

func (db *DB) endReview(ctx context.Context, id edgeagent.ID, o edgeagent.Outcome, how func(*batch, *job) error) error {
	return db.do(ctx, "end the review of job "+string(id), func(b *batch) error {
		if b.w.review.Job != id {
			return fmt.Errorf("it is not being reviewed: %w", edgeagent.ErrLeaseLost)
		}
		b.undoWith(b.db.ledger.unlimit(id)) // with what is stored, whoever still waits for it
		if err := b.closeReview(o.CostUSD()); err != nil {
			return err
		}
		j, err := b.job(id)
		if errors.Is(err, edgeagent.ErrNotFound) || errors.Is(err, errDamaged) {
			b.o.Log.Error("a job that was reviewed cannot be read: what it was answered is lost", "job", id, "error", err)
			b.undoWith(b.db.ledger.endLease(id, o.CostUSD()))
			return nil // it must not hold up the reviews of others
		}
		if err != nil {
			return err
		}
		if err := b.keepCalls(&j, o); err != nil {
			return err
		}
		return how(b, &j)
	})
}

// closeReview ends the review under way and books what it cost to the reviews.
func (b *batch) closeReview(usd float64) error {
	r := reviewing{Day: b.db.ledger.day(), USD: usd}
	if r.Day == b.w.review.Day {
		r.USD += b.w.review.USD
	}
	return b.putReview(r)
}

func (b *batch) putReview(r reviewing) error {
	body, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("write the review under way: %w", err)
	}
	assign(b, &b.w.review, r)
	return b.put(bucketMeta, keyReview, 0, body)
}

// endCutReview deals with a review that the end of the last process cut off:
// nobody knows what it spent, and it counts as tried.
func (b *batch) endCutReview() error {
	id := b.w.review.Job
	if id == "" {
		return nil
	}
	b.undoWith(b.db.ledger.book(b.o.CrashCostUSD))
	if err := b.closeReview(b.o.CrashCostUSD); err != nil {
		return err
	}
	j, err := b.job(id)
	if errors.Is(err, edgeagent.ErrNotFound) || errors.Is(err, errDamaged) {
		return nil // a job that is gone needs no note
	}
	if err != nil {
		return err
	}
	return b.note(&j, "review", edgeagent.NewNote("interrupted", "no second answer: the agent ended meanwhile"))
}
