package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"edgeagent"
)

// maxWord is how many characters of what a person writes are kept.
const maxWord = 500

// Feedback stores what a person says of a job's newest answer, or of the one of
// f.Provider. A later word takes the place of the earlier, which stays in the
// timeline; the same word again changes nothing. It returns ErrNotFound, and
// ErrConflict for a job without such an answer.
func (db *DB) Feedback(ctx context.Context, id edgeagent.ID, f edgeagent.Feedback) error {
	f.Cause, f.FixedBy, f.By = edgeagent.OneLine(f.Cause, maxWord), edgeagent.OneLine(f.FixedBy, maxWord), edgeagent.OneLine(f.By, maxWord)
	f.ConfirmedBy, f.ConfirmedAt = "", nil
	return db.do(ctx, "feedback on job "+string(id), func(b *batch) error {
		j, err := b.judgeable(id)
		if err != nil {
			return err
		}
		d, err := b.answerBy(id, f.Provider)
		if err != nil {
			return err
		}
		f.Provider, f.Model = d.By.Provider, d.By.Model
		if f.At.IsZero() {
			f.At = b.now
		}
		was, err := b.wordOn(id)
		if err != nil || was != nil && sameWord(*was, f) {
			return err
		}
		return b.say(&j, word{was: was, is: f, of: d, at: f.At, event: "feedback"})
	})
}

// ConfirmFeedback notes that by, an engineer, stands by what was said of a job's
// diagnosis: from then on later diagnoses are told of it. What is confirmed
// already stays as it is. It returns ErrNotFound, and ErrConflict for a job that
// nobody has judged.
func (db *DB) ConfirmFeedback(ctx context.Context, id edgeagent.ID, by string) error {
	return db.do(ctx, "confirm the feedback on job "+string(id), func(b *batch) error {
		j, err := b.judgeable(id)
		if err != nil {
			return err
		}
		was, err := b.wordOn(id)
		switch {
		case err != nil:
			return err
		case was == nil:
			return fmt.Errorf("nobody has judged its diagnosis, there is nothing to confirm: %w", edgeagent.ErrConflict)
		case was.ConfirmedBy != "":
			return nil
		}
		d, err := b.answerBy(id, was.Provider)
		if errors.Is(err, edgeagent.ErrConflict) {
			d, err = edgeagent.Diagnosis{}, nil // given before it was noted whose answer it is about
		}
		is, now := *was, b.now
		is.ConfirmedBy, is.ConfirmedAt = cmp.Or(edgeagent.OneLine(by, maxWord), "somebody"), &now
		return errors.Join(err, b.say(&j, word{was: was, is: is, of: d, at: now, event: "confirmed"}))
	})
}

// judgeable returns a job that has a diagnosis.
func (b *batch) judgeable(id edgeagent.ID) (job, error) {
	j, err := b.job(id)
	if err == nil && j.State != edgeagent.JobCompleted {
		err = fmt.Errorf("a %s job has no diagnosis to judge: %w", j.State, edgeagent.ErrConflict)
	}
	return j, err
}

// answerBy returns the newest answer of a job, or that of a provider. One that
// was damaged on disk can still be judged.
func (b *batch) answerBy(id edgeagent.ID, provider string) (edgeagent.Diagnosis, error) {
	for _, kind := range []byte{partReview, partDiagnosis} {
		d, err := optional[edgeagent.Diagnosis](b.getJSON, bucketBodies, part(id, kind))
		switch {
		case errors.Is(err, errDamaged) && provider == "":
			b.o.Log.Error("an answer cannot be read; it is judged all the same", "job", id, "error", err)
			return edgeagent.Diagnosis{}, nil
		case err != nil && !errors.Is(err, errDamaged):
			return edgeagent.Diagnosis{}, err
		case d != nil && (provider == "" || provider == d.By.Provider):
			return *d, nil
		}
	}
	return edgeagent.Diagnosis{}, fmt.Errorf("it has no answer of provider %q: %w", provider, edgeagent.ErrConflict)
}

// wordOn returns what was said of a job last, nil without anything that can be
// read.
func (b *batch) wordOn(id edgeagent.ID) (*edgeagent.Feedback, error) {
	f, err := optional[edgeagent.Feedback](b.getJSON, bucketBodies, part(id, partFeedback))
	if errors.Is(err, errDamaged) {
		b.o.Log.Error("the feedback on a job cannot be read and counts as not given", "job", id, "error", err)
		return nil, nil
	}
	return f, err
}

func sameWord(a, b edgeagent.Feedback) bool {
	return a.Verdict == b.Verdict && a.Cause == b.Cause && a.FixedBy == b.FixedBy && a.By == b.By && a.Provider == b.Provider && a.Model == b.Model
}

// A word is what a person says of an answer, or that an engineer stands by it.
type word struct {
	was   *edgeagent.Feedback // before it
	is    edgeagent.Feedback
	of    edgeagent.Diagnosis // that it is about
	at    time.Time
	event string // of the timeline
}

// note is the timeline's detail: an earlier word is found nowhere else.
func (w word) note() *edgeagent.Note {
	f := w.is
	if w.event == "confirmed" {
		return edgeagent.NewNote("confirmed", "confirmed by "+f.ConfirmedBy, "by", f.ConfirmedBy)
	}
	text := fmt.Sprintf("%s, says %s", f.Verdict, f.By)
	if f.Cause != "" {
		text += "; the cause was: " + f.Cause
	}
	if f.FixedBy != "" {
		text += "; fixed by: " + f.FixedBy
	}
	return edgeagent.NewNote("person", text, "by", f.By, "verdict", string(f.Verdict), "cause", f.Cause, "fixed_by", f.FixedBy,
		"provider", f.Provider, "model", f.Model)
}

// say stores a word with all that hangs on it.
func (b *batch) say(j *job, w word) error {
	if err := b.putJSON(bucketBodies, part(j.id, partFeedback), j.revision+1, w.is); err != nil {
		return err
	}
	if err := b.note(j, w.event, w.note()); err != nil {
		return err
	}
	a, err := b.firstAlarm(j.id)
	if err != nil {
		return err
	}
	if a.ID != "" {
		if err := b.learn(a, w); err != nil {
			return err
		}
	}
	data := feedbackData{Job: j.id, Alarm: a.ID, Device: a.Device, Code: a.Code, Revision: j.revision, Feedback: w.is}
	return b.emit(outgoing{edgeagent.EventFeedbackGiven, j.id, int(j.revision), j.Group.Line, w.at, data})
}

// feedbackData is the feedback object of an event. Of two about the same job the
// one with the higher revision holds.
type feedbackData struct {
	Job      edgeagent.ID `json:"job"`
	Alarm    edgeagent.ID `json:"alarm,omitempty"`
	Device   string       `json:"device,omitempty"`
	Code     string       `json:"code,omitempty"`
	Revision uint32       `json:"revision"`
	edgeagent.Feedback
}

// firstAlarm returns the alarm that a job's diagnosis is about; none when no
// alarm of it is kept any more.
func (b *batch) firstAlarm(id edgeagent.ID) (edgeagent.Alarm, error) {
	ids, err := b.alarmsOf(id)
	if err != nil {
		return edgeagent.Alarm{}, err
	}
	c := edgeagent.Case{}
	for _, id := range ids {
		a, err := b.alarm(id)
		if errors.Is(err, edgeagent.ErrNotFound) || errors.Is(err, errDamaged) {
			continue
		}
		if err != nil {
			return edgeagent.Alarm{}, err
		}
		c.Alarms = append(c.Alarms, edgeagent.CaseAlarm{Alarm: a})
	}
	slices.SortStableFunc(c.Alarms, firstOutFirst)
	return c.First().Alarm, nil
}
