package queue

import (
	"fmt"

	"edgeagent"
)

// event is what can happen to a job.
type event string

// The events of a job.
const (
	evLease       event = "lease"
	evComplete    event = "complete"
	evRetry       event = "retry"
	evExhaust     event = "exhaust"
	evRelease     event = "release"
	evInterrupt   event = "interrupt"
	evCrash       event = "crash"
	evPersonRetry event = "retry by a person"
	evDiscard     event = "discard"
	evSpoil       event = "spoil"
)

// steps is the life of a job. What is not here is a conflict.
var steps = []struct {
	from   edgeagent.JobState
	event  event
	to     edgeagent.JobState
	action string
}{
	{edgeagent.JobPending, evLease, edgeagent.JobRunning, "freeze the case, draw a token"},
	{edgeagent.JobRunning, evComplete, edgeagent.JobCompleted, "store the diagnosis, its calls and their cost; send diagnosis.completed"},
	{edgeagent.JobRunning, evRetry, edgeagent.JobPending, "count the attempt, wait"},
	{edgeagent.JobRunning, evExhaust, edgeagent.JobFailed, "count the last attempt; send job.failed"},
	{edgeagent.JobRunning, evRelease, edgeagent.JobPending, "the agent stops: no attempt counted"},
	{edgeagent.JobRunning, evInterrupt, edgeagent.JobPending, "found running at open: count an interrupt, book the worst cost"},
	{edgeagent.JobRunning, evCrash, edgeagent.JobFailed, "third interrupt under one boot id; send job.failed"},
	{edgeagent.JobRunning, evDiscard, edgeagent.JobDiscarded, "the lease is lost"},
	{edgeagent.JobPending, evSpoil, edgeagent.JobFailed, "its records cannot be read any more; send job.failed"},
	{edgeagent.JobPending, evDiscard, edgeagent.JobDiscarded, ""},
	{edgeagent.JobPending, evPersonRetry, edgeagent.JobPending, "wait no longer"},
	{edgeagent.JobFailed, evPersonRetry, edgeagent.JobPending, "attempts and interrupts start anew"},
	{edgeagent.JobFailed, evDiscard, edgeagent.JobDiscarded, ""},
}

// Machine returns the table of the job's states, for docs/state-machines.md.
func Machine() []edgeagent.Step {
	out := make([]edgeagent.Step, 0, len(steps))
	for _, s := range steps {
		out = append(out, edgeagent.Step{From: string(s.from), Event: string(s.event), To: string(s.to), Action: s.action})
	}
	return out
}

// next returns the state after ev, or an error that wraps ErrConflict.
func next(from edgeagent.JobState, ev event) (edgeagent.JobState, error) {
	for _, s := range steps {
		if s.from == from && s.event == ev {
			return s.to, nil
		}
	}
	return "", fmt.Errorf("%s a %s job: %w", ev, from, edgeagent.ErrConflict)
}
