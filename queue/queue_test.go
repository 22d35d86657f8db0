package queue_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"edgeagent"
	"edgeagent/queue"
)

// TestMain runs the tests, or one of the programs that tests start as children.
func TestMain(m *testing.M) {
	if role := os.Getenv("QUEUE_TEST_ROLE"); role != "" {
		os.Exit(playRole(role))
	}
	goleak.VerifyTestMain(m)
}

var upstream = []queue.Destination{{Name: "historian", Required: true, Keep: time.Hour}}

// options are those of a small agent with one destination.
func options(path string) queue.Options {
	return queue.Options{
		Path: path, Site: "plant-a", Agent: "gw", MaxAttempts: 3, Location: time.UTC, BootID: "boot-1",
		Language: "en", Destinations: upstream,
	}
}

func dataFile(t *testing.T) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "agent.db")
}

// open opens a data file that is closed with the test.
func open(t *testing.T, o queue.Options) *queue.DB {
	t.Helper()
	db, err := queue.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return db
}

// raise is the transition of a fresh alarm of the filler.
func raise(line, code string, priority int) edgeagent.Transition {
	now := time.Now()
	return edgeagent.Transition{
		Kind: edgeagent.TransitionRaised, At: now,
		Alarm: edgeagent.Alarm{
			ID: edgeagent.NewID(now), Device: "filler", Line: line, Code: code, Text: "Level sensor unstable",
			Origin: edgeagent.OriginTag, Priority: priority, State: edgeagent.AlarmUnacked, RaisedAt: now,
			Diagnose: true, Revision: 1, Hint: &edgeagent.Diagnosis{Summary: "check " + code},
		},
		Evidence: &edgeagent.Evidence{At: now, WindowS: 600},
	}
}

// record stores transitions and returns the alarms as stored.
func record(t *testing.T, db *queue.DB, ts ...edgeagent.Transition) []edgeagent.Alarm {
	t.Helper()
	out, err := db.Record(t.Context(), ts)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// lease takes the next job, which must be there.
func lease(t *testing.T, db *queue.DB) edgeagent.Lease {
	t.Helper()
	l, err := db.Lease(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if l == nil {
		t.Fatal("no job is ready")
	}
	return *l
}

func answer(summary string) edgeagent.Outcome {
	return edgeagent.Outcome{
		Diagnosis: &edgeagent.Diagnosis{
			Summary: summary, Causes: []edgeagent.Cause{{Cause: "dirty lens"}}, By: edgeagent.Provenance{Provider: "cloud"},
		},
		Calls:  []edgeagent.Call{{Provider: "cloud", Outcome: edgeagent.CallOK, CostUSD: 0.01}},
		Prompt: "what is wrong?", Raw: `{"summary":"dirty lens"}`,
	}
}

func pending(t *testing.T, db *queue.DB, dest string) []edgeagent.Outgoing {
	t.Helper()
	out, err := db.Pending(dest, 1000, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func job(t *testing.T, db *queue.DB, id edgeagent.ID) edgeagent.Job {
	t.Helper()
	j, err := db.Job(id)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// jobs returns all jobs in a state, newest first.
func jobs(t *testing.T, db *queue.DB, state edgeagent.JobState) []edgeagent.Job {
	t.Helper()
	var all []edgeagent.Job
	f := queue.JobFilter{State: state, Limit: 7}
	for {
		some, next, err := db.Jobs(f)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, some...)
		if f.After = next; next == "" {
			return all
		}
	}
}
