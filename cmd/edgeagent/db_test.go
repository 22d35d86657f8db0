package main

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"edgeagent"
	"edgeagent/queue"
)

// outside raises an alarm over the socket and returns its id.
func (r *rig) outside(code string) edgeagent.ID {
	r.t.Helper()
	var a edgeagent.Alarm
	body := map[string]any{"line": "L", "code": code, "text": "Level unstable", "priority": 2}
	if err := clientOn(r.load().Agent.Socket).post(r.t.Context(), "/api/v1/alarms", body, &a); err != nil {
		r.t.Fatal(err)
	}
	return a.ID
}

func TestBackupAndRestore(t *testing.T) {
	r := newRig(t).start()
	kept := r.outside("KEPT")
	target := filepath.Join(r.dir, "backup.db")
	if out, errOut, code := r.run("backup", target); code != exitOK || !strings.Contains(out, "checked") {
		t.Fatalf("backup = %d, %q, %q", code, out, errOut)
	}
	if _, errOut, code := r.run("backup", target); code != exitFailed || !strings.Contains(errOut, "exists already") {
		t.Errorf("backup over a file = %d, %q, want it refused", code, errOut)
	}
	if _, errOut, code := r.run("restore", target); code != exitFailed || !strings.Contains(errOut, "in use") {
		t.Errorf("restore under a running agent = %d, %q, want it refused", code, errOut)
	}
	after := r.outside("AFTER")
	epoch := get[edgeagent.Status](r, "/api/v1/status").Agent.Epoch
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if out, errOut, code := r.run("restore", target); code != exitOK || !strings.Contains(out, "new epoch") {
		t.Fatalf("restore = %d, %q, %q", code, out, errOut)
	}
	r.start()
	if s := get[edgeagent.Status](r, "/api/v1/status"); s.Agent.Epoch == epoch || s.Storage.State != edgeagent.StorageOK {
		t.Errorf("status after the restore: epoch %s (was %s), storage %+v", s.Agent.Epoch, epoch, s.Storage)
	}
	if _, err := r.a.db.Load().Alarm(kept); err != nil {
		t.Error(err)
	}
	if _, err := r.a.db.Load().Alarm(after); err == nil {
		t.Error("an alarm of after the backup is there")
	}
	if left, _ := filepath.Glob(filepath.Join(r.dir, "*.part")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestBackupThatBreaksOffLeavesNothing(t *testing.T) {
	r := newRig(t)
	r.fakeAgent(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100000")
		_, _ = w.Write(make([]byte, 5000)) // and then it ends
	})
	target := filepath.Join(r.dir, "backup.db")
	if _, errOut, code := r.run("backup", target); code != exitFailed || !strings.Contains(errOut, "after 5000 of 100000 bytes") {
		t.Errorf("backup = %d, %q, want that it broke off", code, errOut)
	}
	if left, _ := filepath.Glob(target + "*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestDBCommandsWithAndWithoutAnAgent(t *testing.T) {
	r := newRig(t).start()
	r.outside("A")
	for _, online := range []bool{true, false} {
		if !online {
			if err := r.stop(); err != nil {
				t.Fatal(err)
			}
		}
		out, errOut, code := r.run("db", "check", "--json")
		var d queue.Description
		if err := json.Unmarshal([]byte(out), &d); code != exitOK || err != nil || d.Alarms != 1 {
			t.Errorf("online %v: check = %d, %q, %q, want one alarm", online, code, out, errOut)
		}
		if online != strings.Contains(errOut, "copy of its file") {
			t.Errorf("online %v: check says %q", online, errOut)
		}
		if out, errOut, code := r.run("db", "compact"); code != exitOK || !strings.Contains(out, "compacted") {
			t.Errorf("online %v: compact = %d, %q, %q", online, code, out, errOut)
		}
		out, errOut, code = r.run("jobs", "export")
		var j edgeagent.Job
		if err := json.Unmarshal([]byte(out), &j); code != exitOK || err != nil || len(j.Alarms) != 1 {
			t.Errorf("online %v: export = %d, %q, %q, want one job", online, code, out, errOut)
		}
	}
	if err := os.WriteFile(dataFile(r.load()), []byte(strings.Repeat("torn", 9000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, errOut, code := r.run("db", "check"); code != exitFailed || strings.Count(errOut, "\n") != 1 {
		t.Errorf("check of a torn file = %d, %q, want one line", code, errOut)
	}
}
