package e2e

import (
	"testing"
	"time"
)

// A job that ends the process three times under one boot id has failed and is
// shown; it does not take the others with it. The failpoint stands where an
// answer is about to be stored: whatever the answer did to the process, it did
// before.
func TestJobThatEndsTheAgentThreeTimes(t *testing.T) {
	bin := failpointAgent(t)
	books := newBooks(t, func(string) {})
	a := newAgent(t, plan{upstreams: []string{books.url}}.toml(t))
	a.start()
	a.kill() // the data file is made
	poison := poisonOnce(t, a, bin, "complete=kill@1", true)
	for range 2 {
		poisonOnce(t, a, bin, "complete=kill@1", false)
	}
	a.prefix = nil
	a.start()
	var d alarmDoc
	if err := a.get("/api/v1/alarms/"+poison, &d); err != nil {
		t.Fatal(err)
	}
	j := a.job(d.Job)
	if j.State != "failed" || j.Attempts != 0 || j.Interrupts != 3 {
		t.Errorf("the job is %s after %d attempts and %d interrupts, want failed, 0 and 3", j.State, j.Attempts, j.Interrupts)
	}
	var shown struct {
		Jobs []struct {
			ID        string
			LastError note `json:"last_error"`
		}
	}
	if err := a.get("/api/v1/jobs?state=failed", &shown); err != nil || len(shown.Jobs) != 1 || shown.Jobs[0].ID != j.ID || shown.Jobs[0].LastError.Code != "crash" {
		t.Errorf("failed jobs are %+v, %v; want %s with its reason", shown.Jobs, err, j.ID)
	}
	if s := a.status(); s.Jobs.Failed != 1 {
		t.Errorf("the status counts %+v", s.Jobs)
	}
	if other := a.diagnosed("line-2", "X2", "another alarm", 30*time.Second); other.State != "completed" {
		t.Errorf("the others do not go on: %s", other.State)
	}
	a.eventually(30*time.Second, "its failure is told upstream", func() bool {
		books.mu.Lock()
		defer books.mu.Unlock()
		return books.about["edgeagent.job.failed.v1"][poison] == 1
	})
}

// poisonOnce starts the agent into the failpoint and waits until it is dead; the
// first time it raises the alarm whose job does it.
func poisonOnce(t *testing.T, a *agent, bin, point string, first bool) (alarm string) {
	t.Helper()
	a.prefix = []string{"env", "EDGEAGENT_FAILPOINT=" + point}
	a.launchBinary(bin, "run", "-c", a.config())
	if first {
		a.eventually(30*time.Second, "the agent takes the alarm", func() bool {
			d, err := a.raise("line-1", "X1", "poison", "poison")
			alarm = d.ID
			return err == nil
		})
	}
	died := make(chan struct{})
	go func() { defer close(died); _ = a.cmd.Wait() }()
	select {
	case <-died:
	case <-time.After(3 * patience):
		t.Fatal("the job did not end the agent: this proves nothing")
	}
	a.mu.Lock()
	a.cmd = nil
	a.mu.Unlock()
	return alarm
}
