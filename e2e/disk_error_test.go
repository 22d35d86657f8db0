package e2e

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// failpointAgent is the agent built with failpoints, which a release has not.
func failpointAgent(t *testing.T) string {
	t.Helper()
	return builtWith(t, "failpoints", "edgeagent", "build", "./cmd/edgeagent")
}

// The disk answers a write with an I/O error: the process begins anew under its
// own number, nothing that was acknowledged is lost, and work goes on. A card
// that never recovers does not make it spin.
func TestDiskErrorRestartsInPlace(t *testing.T) {
	mostlyWaits(t)
	a := newAgent(t, plan{}.toml(t))
	a.prefix = []string{"env", "EDGEAGENT_FAILPOINT=journal.sync=eio@15"}
	a.launchBinary(failpointAgent(t), "run", "-c", a.config())
	pid := a.pid()
	restarts := func() int { return strings.Count(a.log.String(), "restarting in place") }
	taken := map[string]string{}
	n := 0
	a.eventually(3*patience, "it has restarted in place twice", func() bool { // an alarm a look, as in a plant
		var d alarmDoc
		err := a.do(http.MethodPost, "/api/v1/alarms", map[string]string{"Idempotency-Key": fmt.Sprint("key-", n)},
			map[string]any{"line": fmt.Sprint("line-", n), "code": "X1", "text": "outside alarm", "priority": 2}, &d)
		if err == nil {
			taken[fmt.Sprint("key-", n)] = d.ID
		}
		n++
		return restarts() >= 2
	})
	if restarts() < 2 || len(taken) < 4 {
		t.Fatalf("%d restarts in place and %d alarms taken, want two restarts and alarms before and after", restarts(), len(taken))
	}
	a.eventually(30*time.Second, "the agent is up again", func() bool {
		var s statusDoc
		return a.get("/api/v1/status", &s) == nil && s.Storage.State == "ok" && s.Jobs.Running+s.Jobs.Pending == 0
	})
	for key, id := range taken {
		var d alarmDoc
		if err := a.get("/api/v1/alarms/"+id, &d); err != nil {
			t.Errorf("%s was acknowledged before the error: %v", key, err)
		}
	}
	if got := a.pid(); got != pid || !strings.Contains(a.log.String(), "I/O error") {
		t.Errorf("process %d, was %d; want the same, and the error in the log", got, pid)
	}
	if kept, _ := filepath.Glob(filepath.Join(a.dir, "data", "*.corrupt-*")); len(kept) > 0 {
		t.Errorf("a data file was held for damaged: %v", kept)
	}
}

// A disk that fails at once after every start is left to the service manager.
func TestDiskThatStaysBrokenDoesNotSpin(t *testing.T) {
	mostlyWaits(t)
	a := newAgent(t, plan{}.toml(t))
	a.start() // a file that is whole
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	a.prefix = []string{"env", "EDGEAGENT_FAILPOINT=checkpoint.write=eio@1"}
	a.launchBinary(failpointAgent(t), "run", "-c", a.config())
	ended := make(chan error, 1)
	cmd := a.cmd
	go func() { ended <- cmd.Wait() }()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(3 * patience)
	for {
		select {
		case err := <-ended:
			if got := strings.Count(a.log.String(), "restarting in place"); err == nil || got != 4 {
				t.Errorf("it ended with %v after %d attempts to restart, want an error after the fourth", err, got)
			}
			a.mu.Lock()
			a.cmd = nil
			a.mu.Unlock()
			return
		case <-ticker.C:
			_, _ = a.raise("line", "X1", "outside alarm", "") // something to write
		case <-deadline:
			t.Fatalf("it still restarts: %d times", strings.Count(a.log.String(), "restarting in place"))
		}
	}
}
