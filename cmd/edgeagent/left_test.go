package main

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"edgeagent"
	"edgeagent/queue"
)

// child runs the agent in a process of its own, and returns how to end that.
func (r *rig) child() (end func(os.Signal)) {
	r.t.Helper()
	self, err := os.Executable()
	if err != nil {
		r.t.Fatal(err)
	}
	cmd := exec.Command(self, "run", "-c", r.path)
	cmd.Stderr = r.log
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	end = func(s os.Signal) {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Signal(s)
			_ = cmd.Wait() // killed is an error, too
		}
	}
	r.t.Cleanup(func() { end(os.Kill) })
	cl := clientOn(r.load().Agent.Socket)
	eventually(r.t, "the agent runs", func() bool { return cl.get(r.t.Context(), "/readyz", nil) == nil })
	return end
}

// files is everything in the rig's folder: contents and times.
func (r *rig) files() map[string]string {
	r.t.Helper()
	all := map[string]string{}
	err := filepath.Walk(r.dir, func(path string, info os.FileInfo, err error) error {
		if err != nil || !info.Mode().IsRegular() { // a socket is left, too
			all[path] = ""
			return err
		}
		data, err := os.ReadFile(path)
		all[path] = info.ModTime().String() + string(data)
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return all
}

// untouched runs f and checks that no file of the rig was made, changed or removed.
func (r *rig) untouched(f func()) {
	r.t.Helper()
	before := r.files()
	f()
	after := r.files()
	for path := range after {
		if was, there := before[path]; !there || was != after[path] {
			r.t.Errorf("%s was touched", path)
		}
	}
	if len(after) != len(before) {
		r.t.Errorf("%d files before, %d after", len(before), len(after))
	}
}

// What the agent shows of its file is shown the same without it, whether it was
// killed or ended; and the one line that says so is on standard error.
func TestWithoutAnAgentItsFileIsShownTheSame(t *testing.T) {
	for how, signal := range map[string]os.Signal{"killed": os.Kill, "ended": syscall.SIGTERM} {
		up := &strict{word: []byte(`"code":"BAD"`)}
		server := httptest.NewServer(up)
		t.Cleanup(server.Close)
		r := newRig(t, syncTo(server.URL)+"receipt = \"status\"\n", "[queue]\ngroup_window = \"100ms\"\n")
		end := r.child()
		r.outside("BAD")
		job := get[edgeagent.Alarm](r, "/api/v1/alarms/"+string(r.outside("GOOD"))).Job
		eventually(t, "all is diagnosed and sent", func() bool {
			s := get[edgeagent.Status](r, "/api/v1/status")
			return s.Jobs.Pending+s.Jobs.Running == 0 && s.Upstreams[0].Parked > 0 && s.Upstreams[0].Backlog == 0
		})
		commands := [][]string{
			{"jobs", "list"}, {"jobs", "list", "--state", "completed", "--json"}, {"jobs", "show", string(job), "--json", "--exchanges"}, {"jobs", "export"},
			{"alarms", "list"}, {"alarms", "list", "--json"}, {"alarms", "list", "--state", "history", "--json"},
			{"upstreams", "parked", "historian", "--json"}, // each has the file checked by a process of its own
		}
		online := r.told(commands, "")
		end(signal)
		r.untouched(func() {
			offline := r.told(commands, "edgeagent: no agent runs: reading "+dataFile(r.load())+" as it was left\n")
			for i := range commands {
				if offline[i] != online[i] {
					t.Errorf("%s, %v:\n%swith an agent\n%s", how, commands[i], offline[i], online[i])
				}
			}
		})
		if err := os.Remove(dataFile(r.load()) + ".journal"); err != nil {
			t.Fatal(err)
		}
		if _, errOut, code := r.run("jobs", "list"); (code == exitOK) != (how == "ended") {
			t.Errorf("%s: what was shown was not in the journal: exit %d without it, %s", how, code, errOut)
		}
	}
}

// told returns what commands print; each has to do what it should, and to say
// this on standard error.
func (r *rig) told(commands [][]string, says string) (all []string) {
	r.t.Helper()
	for _, args := range commands {
		out, errOut, code := r.run(args...)
		if code != exitOK || errOut != says || out == "" {
			r.t.Errorf("%v: exit %d, standard error %q, want %q\n%s", args, code, errOut, says, out)
		}
		all = append(all, out)
	}
	return all
}

// Mistakes of the person are told as the agent tells them.
func TestWithoutAnAgentMistakesAreToldTheSame(t *testing.T) {
	r := newRig(t).start()
	commands := [][]string{
		{"jobs", "list", "--state", "tired"}, {"jobs", "show", "x"}, {"jobs", "show", string(edgeagent.NewID(time.Now()))},
		{"alarms", "list", "--state", "tired"}, {"upstreams", "parked", "mes"},
	}
	var online []string
	for _, args := range commands {
		_, errOut, code := r.run(args...)
		if code != exitFailed {
			t.Errorf("%v: exit %d, %s", args, code, errOut)
		}
		online = append(online, errOut)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	for i, args := range commands {
		out, errOut, code := r.run(args...)
		if code != exitFailed || out != "" || !strings.HasSuffix(errOut, "as it was left\n"+online[i]) {
			t.Errorf("%v: exit %d, %s%swith an agent: %s", args, code, out, errOut, online[i])
		}
	}
}

// leave writes a data file as an agent that ended has left it.
func (r *rig) leave(write func(db *queue.DB)) {
	r.t.Helper()
	cfg := r.load()
	if err := os.MkdirAll(cfg.Agent.DataDir, 0o700); err != nil {
		r.t.Fatal(err)
	}
	db, err := queue.Open(r.t.Context(), queueOptions(cfg))
	if err != nil {
		r.t.Fatal(err)
	}
	write(db)
	if err := db.Close(); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) keyOf(device string) string {
	for _, d := range r.load().Devices {
		if d.Name == device {
			return connectionKey(d)
		}
	}
	return ""
}

// onlyKnown checks that a JSON object has nulls under all but these keys: a field
// that is new must not tell a zero that nobody has seen.
func onlyKnown(t *testing.T, what string, doc map[string]any, keys string) {
	t.Helper()
	for key, v := range doc {
		if v != nil && !slices.Contains(strings.Fields(keys), key) {
			t.Errorf("%s of %s is %v: nobody knows that", key, what, v)
		}
	}
}

// Of a device the file knows whether it was stopped or in maintenance, on the
// connection that it still has; of the others, and of all that only a running
// agent sees, nothing is made up.
func TestWithoutAnAgentDevicesAreAsTheFileRemembersThem(t *testing.T) {
	var devices []string
	for i, name := range []string{"stopped", "serviced", "over", "moved", "retried", "healthy"} {
		devices = append(devices, deviceAt(name, fmt.Sprintf("192.0.2.%d:502", i+1)))
	}
	devices = append(devices, strings.Replace(deviceAt("idle", "192.0.2.9:502"), "timeout", "enabled = false\ntimeout", 1))
	r := newRig(t, devices...)
	now := time.Now()
	since := now.Add(-3 * time.Hour)
	r.leave(func(db *queue.DB) {
		for _, m := range []edgeagent.DeviceMemory{
			{Device: "stopped", State: edgeagent.DeviceStopped, Attempt: 6, Reason: edgeagent.NewNote(edgeagent.ReasonDeviceStopped, "6 attempts failed")},
			{Device: "serviced", State: edgeagent.DeviceMaintenance, Until: now.Add(time.Hour)},
			{Device: "over", State: edgeagent.DeviceMaintenance, Until: now.Add(-time.Hour)},
			{Device: "moved", State: edgeagent.DeviceStopped, Key: "that of another address"},
			{Device: "retried", State: edgeagent.DeviceRetrying, Attempt: 2},
			{Device: "gone", State: edgeagent.DeviceStopped},
		} {
			if m.Since = since; m.Key == "" {
				m.Key = r.keyOf(m.Device)
			}
			if err := db.SaveDevice(t.Context(), m); err != nil {
				t.Fatal(err)
			}
		}
	})
	out, _, code := r.run("devices", "list", "--json")
	var a struct{ Devices []map[string]any }
	if err := json.Unmarshal([]byte(out), &a); err != nil || code != exitOK || len(a.Devices) != 7 {
		t.Fatalf("exit %d, %v\n%s", code, err, out)
	}
	states := map[string]any{"stopped": "stopped", "serviced": "maintenance", "idle": "disabled"}
	for _, d := range a.Devices {
		name := d["name"].(string)
		if d["state"] != states[name] {
			t.Errorf("%s is %v, want %v", name, d["state"], states[name])
		}
		if _, known := states[name]; known {
			onlyKnown(t, name, d, "name line url protocol unit resume state since until attempt error")
		} else {
			onlyKnown(t, name, d, "name line url protocol unit resume")
		}
	}
	if d := a.Devices[0]; d["attempt"] != 6.0 || d["error"] != "6 attempts failed" || d["since"] == nil || d["resume"] != "5m" {
		t.Errorf("the stopped device: %v", d)
	}
	out, _, _ = r.run("devices", "list")
	for line, want := range map[int]string{1: "NOT BEING READ since ", 2: "maintenance until ", 3: "no agent runs", 4: "no agent runs", 5: "no agent runs", 6: "no agent runs", 7: "disabled"} {
		if got := strings.Split(out, "\n")[line]; !strings.Contains(got, want) {
			t.Errorf("line %d is %q, want %q", line, got, want)
		}
	}
}

// For monitoring no agent is no agent, whatever its file tells; for the
// technician status says so first, and then what was left.
func TestStatusWithoutAnAgent(t *testing.T) {
	r := newRig(t, deviceAt("filler", "192.0.2.1:502"), syncTo("https://127.0.0.1:1/events"), "[[llm.provider]]\nname = \"local\"\nkind = \"ollama\"\nbase_url = \"http://127.0.0.1:9\"\nmodel = \"m\"\n")
	r.leave(func(db *queue.DB) {
		now := time.Now()
		a := edgeagent.Alarm{ID: edgeagent.NewID(now), Line: "L", Code: "F1", Priority: 1, State: edgeagent.AlarmUnacked, RaisedAt: now, Revision: 1, Diagnose: true, Origin: edgeagent.OriginOutside}
		if _, err := db.Record(t.Context(), []edgeagent.Transition{{Kind: edgeagent.TransitionRaised, At: now, Alarm: a}}); err != nil {
			t.Fatal(err)
		}
		if err := db.Charge(t.Context(), a.ID, 0.25); err != nil {
			t.Fatal(err)
		}
	})
	var text, doc string
	r.untouched(func() {
		for _, args := range [][]string{{"status"}, {"status", "--json"}} {
			out, errOut, code := r.run(args...)
			if code != exitUnreachable || strings.Count(errOut, "\n") != 1 || !strings.Contains(errOut, "no agent runs") {
				t.Errorf("%v: exit %d, %q", args, code, errOut)
			}
			text, doc = doc, out
		}
	})
	for _, want := range []string{"fault: No agent runs: nothing is read", "written last", "alarms     1 active, 1 to acknowledge", "jobs       1 pending", "historian: 1 waiting", "$0.25 of", "filler"} {
		if !strings.Contains(text, want) {
			t.Errorf("without %q:\n%s", want, text)
		}
	}
	var s struct {
		Running        *bool
		ReadFrom       string    `json:"read_from"`
		WrittenAt      time.Time `json:"written_at"`
		Headline       edgeagent.Headline
		Agent, Storage map[string]any
		Devices        []map[string]any
		Providers      any
		Alarms         edgeagent.AlarmCounts
		Jobs           edgeagent.JobCounts
		Upstreams      []map[string]any
		Spend          edgeagent.SpendStatus
	}
	if err := json.Unmarshal([]byte(doc), &s); err != nil {
		t.Fatalf("%v\n%s", err, doc)
	}
	if s.Running == nil || *s.Running || s.ReadFrom != dataFile(r.load()) || time.Since(s.WrittenAt).Abs() > time.Hour || s.Headline.Level != edgeagent.LevelFault {
		t.Errorf("who answers: %s", doc)
	}
	if s.Alarms.Unacked != 1 || s.Jobs.Pending != 1 || s.Spend.TodayUSD != 0.25 || len(s.Upstreams) != 1 || s.Upstreams[0]["backlog"] != 1.0 || len(s.Devices) != 1 || s.Agent["id"] != "gw-1" || s.Agent["epoch"] == "" {
		t.Errorf("what the file tells: %s", doc)
	}
	onlyKnown(t, "the agent", s.Agent, "id site epoch")
	onlyKnown(t, "the upstream", s.Upstreams[0], "name url backlog oldest_s confirmed parked again")
	onlyKnown(t, "the device", s.Devices[0], "name line url protocol unit resume")
	onlyKnown(t, "the data file", s.Storage, "file_bytes max_bytes disk_free_bytes")
	onlyKnown(t, "it all", map[string]any{"providers": s.Providers}, "")
}

// fileCommands are the commands that a file can answer.
var fileCommands = [][]string{
	{"jobs", "list"}, {"jobs", "show", "01ARZ3NDEKTSV4RRFFQ69G5FAV"}, {"jobs", "export"}, {"alarms", "list"}, {"devices", "list"},
	{"upstreams", "parked", "historian"}, {"runbook", "drafts"}, {"status"}, {"status", "--json"},
}

func TestWithoutAnAgentAndWithoutAFile(t *testing.T) {
	r := newRig(t)
	r.file("runbook/a.md", "## X1 Other\n1. Look.\n")
	r.untouched(func() {
		for _, args := range fileCommands {
			out, errOut, code := r.run(args...)
			if code != exitUnreachable || out != "" || strings.Count(errOut, "\n") != 1 || !strings.Contains(errOut, "there is no data file yet") || !strings.Contains(errOut, r.load().Agent.Socket) {
				t.Errorf("%v: exit %d, %q, %q", args, code, out, errOut)
			}
		}
	})
}

// What is damaged is said, and left to the agent.
func TestWithoutAnAgentADamagedFileIsLeftAlone(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{
		"torn":  func(b []byte) []byte { return append(b[:8192:8192], []byte(strings.Repeat("torn", 2048))...) },
		"empty": func([]byte) []byte { return nil },
	} {
		r := newRig(t)
		r.leave(func(*queue.DB) {})
		path := dataFile(r.load())
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, damage(data), 0o600); err != nil {
			t.Fatal(err)
		}
		r.untouched(func() {
			for args, want := range map[string]int{"alarms list": exitFailed, "status": exitUnreachable} {
				out, errOut, code := r.run(strings.Fields(args)...)
				if code != want || out != "" || !strings.Contains(errOut, path) || !strings.Contains(errOut, "damaged") || !strings.Contains(errOut, "nothing was changed") {
					t.Errorf("%s, %s: exit %d, %q, %q", name, args, code, out, errOut)
				}
			}
		})
	}
}

// An agent that is asked by another configuration's socket still has its file:
// who has it is named, and nothing is read beside it.
func TestAFileThatAnAgentHasIsNotReadBesideIt(t *testing.T) {
	r := newRig(t).start()
	r.outside("A")
	other := newRig(t)
	other.file("config.toml", fmt.Sprintf(rigHead, filepath.Join(r.dir, "data"), filepath.Join(other.dir, "b.sock")))
	for _, args := range [][]string{{"alarms", "list"}, {"status", "--json"}} {
		out, errOut, code := other.run(args...)
		who := fmt.Sprintf("process %d", os.Getpid())
		if code != exitUnreachable || out != "" || strings.Count(errOut, "\n") != 1 || !strings.Contains(errOut, who) || !strings.Contains(errOut, "b.sock") || strings.Contains(errOut, "no agent runs") {
			t.Errorf("%v: exit %d, %q, %q; want %q", args, code, out, errOut, who)
		}
	}
	if n := len(r.alarms("active")); n != 1 {
		t.Errorf("the agent shows %d alarms after that", n)
	}
}
