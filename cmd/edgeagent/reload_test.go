package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"edgeagent"
)

func TestReloadAddsADevice(t *testing.T) {
	one, two := startPanel(t), startPanel(t)
	r := newRig(t, one.device("filler")).start()
	r.write(one.device("filler"), two.device("capper"))
	out, errOut, code := r.run("reload")
	if code != exitOK || !strings.Contains(out, "device.capper: added") {
		t.Fatalf("exit %d\n%s%s", code, out, errOut)
	}
	eventually(t, "the new device is polled", func() bool { return r.device("capper").State == edgeagent.DevicePolling })
	if r.device("filler").Name == "" {
		t.Error("the old device is gone")
	}
	if out, _, code := r.run("reload"); code != exitOK || out != "nothing changed\n" {
		t.Errorf("exit %d: %q", code, out)
	}
}

// History is what an alarm's evidence rests on: a change elsewhere in the
// plant must not cost it.
func TestReloadKeepsHistoryAndAlarms(t *testing.T) {
	one, two := startPanel(t), startPanel(t)
	one.SetHolding(0, 90)
	r := newRig(t, one.device("filler")).start()
	eventually(t, "the alarm is stored", func() bool { return len(r.alarms("active")) == 1 })
	before := r.alarms("active")[0]
	points := len(r.a.table.History("filler", "level", time.Time{}))
	oldest := r.a.table.History("filler", "level", time.Time{})[0].At
	r.write(one.device("filler"), two.device("capper"))
	if _, errOut, code := r.run("reload"); code != exitOK {
		t.Fatal(errOut)
	}
	history := r.a.table.History("filler", "level", time.Time{})
	if len(history) < points || history[0].At.Sub(oldest).Abs() > time.Millisecond {
		t.Errorf("history began at %v with %d points, now at %v with %d", oldest, points, history[0].At, len(history))
	}
	if after := r.alarms("active"); len(after) != 1 || after[0].ID != before.ID {
		t.Errorf("before %s, after %+v", before.ID, after)
	}
	one.SetHolding(0, 10)
	eventually(t, "the new engine clears the old alarm", func() bool { return len(r.alarms("active")) == 0 })
}

func TestReloadRemovesADevice(t *testing.T) {
	one, two := startPanel(t), startPanel(t)
	two.SetHolding(0, 90)
	r := newRig(t, one.device("filler"), two.device("capper")).start()
	eventually(t, "the alarm is stored", func() bool { return len(r.alarms("active")) == 1 })
	r.write(one.device("filler"))
	if _, errOut, code := r.run("reload"); code != exitOK {
		t.Fatal(errOut)
	}
	eventually(t, "its alarm is closed", func() bool { return len(r.alarms("active")) == 0 })
	asked := two.server.RequestCount()
	eventually(t, "the other one is read on", func() bool { return r.device("filler").State == edgeagent.DevicePolling })
	if again := two.server.RequestCount(); again != asked || r.device("capper").Name != "" {
		t.Errorf("a removed device got %d more requests", again-asked)
	}
}

func TestReloadOfARefusedFileChangesNothing(t *testing.T) {
	one, two := startPanel(t), startPanel(t)
	r := newRig(t, one.device("filler")).start()
	cfg, loop, conns := r.a.cfg.Load(), r.a.loop.Load(), r.a.conns.Load()
	for _, c := range []struct{ name, part, want string }{
		{"broken", one.device("filler") + "\nadress = 1\n", "adress"},
		{"needs a restart", strings.Replace(one.device("filler")+two.device("capper"), "[[device]]", "[log]\nlevel = \"debug\"\n[[device]]", 1), "[log] cannot change"},
	} {
		r.write(c.part)
		out, errOut, code := r.run("reload")
		if code != exitFailed || out != "" || !strings.Contains(errOut, c.want) {
			t.Errorf("%s: exit %d\n%s%s", c.name, code, out, errOut)
		}
		if r.a.cfg.Load() != cfg || r.a.loop.Load() != loop || r.a.conns.Load() != conns {
			t.Errorf("%s: something changed", c.name)
		}
		// A client finds the socket in the last accepted file all the same.
		if out, _, code := r.run("status"); code != exitFault || !strings.Contains(out, "Configuration refused") {
			t.Errorf("%s: status exit %d\n%s", c.name, code, out)
		}
	}
	r.write(one.device("filler"))
	if _, errOut, code := r.run("reload"); code != exitOK {
		t.Fatal(errOut)
	}
	if out, _, code := r.run("status"); code != exitOK {
		t.Errorf("after the mending: exit %d\n%s", code, out)
	}
}

// An error that moves between two reloads cannot be looked up.
func TestNeedsRestartNamesAllInOneOrder(t *testing.T) {
	r := newRig(t)
	old, cfg := r.load(), r.load()
	if names := needsRestart(old, cfg); names != nil {
		t.Errorf("nothing differs but %v", names)
	}
	cfg.Agent.ID, cfg.Agent.Site, cfg.Agent.DataDir, cfg.Agent.Socket, cfg.Agent.Timezone = "x", "x", "x", "x", time.FixedZone("x", 1)
	cfg.Log.Format, cfg.Status.Listen, cfg.Queue.MaxSize = "json", "127.0.0.1:1", 1<<30
	want := []string{"[agent] id", "[agent] site", "[agent] data_dir", "[agent] socket", "[agent] timezone", "[log]", "[status]", "[queue] max_size"}
	for range 20 {
		if got := needsRestart(old, cfg); !reflect.DeepEqual(got, want) {
			t.Fatalf("got %v", got)
		}
	}
}

func TestPlantChanged(t *testing.T) {
	r := newRig(t, startPanel(t).device("filler"), "[[line]]\nname = \"Filler-2\"\n")
	old, cfg := r.load(), r.load()
	if plantChanged(old, cfg) || diagnosisChanged(old, cfg) {
		t.Error("the same file read twice is a change")
	}
	cfg.Devices[0].Alarms[0].When = "level > 81"
	if !plantChanged(old, cfg) {
		t.Error("another limit of an alarm is no change")
	}
	cfg = r.load()
	cfg.Lines[0].Area = "Filling"
	if !plantChanged(old, cfg) {
		t.Error("another area is no change")
	}
	cfg = r.load()
	cfg.Agent.ShutdownGrace++
	if plantChanged(old, cfg) || !diagnosisChanged(old, cfg) {
		t.Error("shutdown_grace belongs to the diagnosis")
	}
}

const bookHead = "---\ncodes: [F212]\nowner: maintenance\n---\n"

func TestReloadOfTheRunbookReachesTheRouter(t *testing.T) {
	one := startPanel(t)
	one.SetHolding(0, 10)
	r := newRig(t, "[[llm.provider]]\nname = \"runbook\"\nkind = \"runbook\"\npath = \"book\"\n", one.device("filler"))
	r.file("book/filler.md", bookHead+"\nClean the sensor's window.\n\n1. Wipe it.\n")
	r.start()
	router := r.a.router.Load()
	r.file("book/filler.md", bookHead+"\nTighten the sensor's bracket.\n\n1. Tighten it.\n")
	if _, errOut, code := r.run("reload"); code != exitOK {
		t.Fatal(errOut)
	}
	if r.a.router.Load() == router {
		t.Error("the router still has the old runbook")
	}
	one.SetHolding(0, 90)
	eventually(t, "the job is done", func() bool {
		jobs := get[jobsAnswer](r, "/api/v1/jobs?state=completed").Jobs
		return len(jobs) == 1 && strings.Contains(mention(jobs[0].Diagnosis), "bracket")
	})
	if a := r.alarms("active")[0]; !strings.Contains(mention(a.Hint), "bracket") {
		t.Errorf("the hint is from the old runbook: %+v", a.Hint)
	}
}

func mention(d *edgeagent.Diagnosis) string {
	if d == nil {
		return ""
	}
	var b strings.Builder
	printDiagnosis(&b, *d)
	return b.String()
}

// When the old plant's alarms cannot be committed the old plant goes on, and
// the same file can be loaded later.
func TestReloadWhileTheDataFileIsFull(t *testing.T) {
	one, two := startPanel(t), startPanel(t)
	r := newRig(t, one.device("filler")).start()
	r.stall()
	plant := r.a.conns.Load()
	r.write(one.device("filler"), two.device("capper"))
	if _, errOut, code := r.run("reload"); code != exitFailed || !strings.Contains(errOut, "reload again") {
		t.Errorf("exit %d: %s", code, errOut)
	}
	if r.device("filler").State == "" || r.device("capper").State != "" {
		t.Error("it is not the old plant that runs")
	}
	if r.a.conns.Load() != plant {
		t.Error("every device was left for a reload that could not be")
	}
	if s := get[edgeagent.Status](r, "/api/v1/status"); !strings.Contains(s.Agent.ConfigError, "reload again") {
		t.Errorf("what runs is not what stands in the file, and the page says %q", s.Agent.ConfigError)
	}
	r.a.rec.wake <- struct{}{}
	if out, errOut, code := r.run("reload"); code != exitOK || !strings.Contains(out, "capper: added") {
		t.Fatalf("exit %d: %s%s", code, out, errOut)
	}
	eventually(t, "the new device is polled", func() bool { return r.device("capper").State == edgeagent.DevicePolling })
	eventually(t, "the alarm that waited is stored", func() bool { return len(r.alarms("active")) == 1 })
	if s := get[edgeagent.Status](r, "/api/v1/status"); s.Agent.ConfigError != "" {
		t.Errorf("the page still says %q", s.Agent.ConfigError)
	}
}

// Fleets reload by a signal, which has no answer: the page tells.
func TestReloadThatCannotBeKeptIsSaid(t *testing.T) {
	one := startPanel(t)
	r := newRig(t, one.device("filler")).start()
	r.file("data/.accepted.toml.new/in-the-way", "")
	r.write(one.device("capper"))
	if _, errOut, code := r.run("reload"); code != exitFailed || !strings.Contains(errOut, "keep") {
		t.Errorf("exit %d: %s", code, errOut)
	}
	if s := get[edgeagent.Status](r, "/api/v1/status"); !strings.Contains(s.Agent.ConfigError, "keep") {
		t.Errorf("what runs is not what stands in the file, and the page says %q", s.Agent.ConfigError)
	}
}

// What runs is what stands in the file: that it could not be kept once more
// refuses nothing.
func TestReloadOfTheSameThatCannotBeKept(t *testing.T) {
	r := newRig(t, startPanel(t).device("filler")).start()
	r.file("data/.accepted.toml.new/in-the-way", "")
	if err := os.Remove(filepath.Join(r.dir, "data", "accepted.toml")); err != nil {
		t.Fatal(err)
	}
	if _, errOut, code := r.run("reload"); code != exitFailed || !strings.Contains(errOut, "keep") {
		t.Errorf("exit %d: %s", code, errOut)
	}
	if s := get[edgeagent.Status](r, "/api/v1/status"); s.Agent.ConfigError != "" || s.Headline.Level == edgeagent.LevelFault {
		t.Errorf("%s: %s", s.Headline.Level, s.Headline.Text)
	}
}

// stall lets a raise wait as it does for a disk that does not write: until
// somebody wakes the recorder.
func (r *rig) stall() {
	r.t.Helper()
	err := r.a.loop.Load().do(r.t.Context(), func(l *loop) {
		t := l.engine.Outside(edgeagent.Alarm{Line: "Filler-2", Code: "X1", Origin: edgeagent.OriginOutside, Priority: 3}, nil, time.Now())
		l.recorder.mu.Lock()
		defer l.recorder.mu.Unlock()
		l.recorder.waiting = append(l.recorder.waiting, entry{transition: t})
		l.recorder.fault = edgeagent.ErrFull
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

// An acknowledgement hits the moment in which a reload has stopped the loop.
func TestActionDuringAReload(t *testing.T) {
	one := startPanel(t)
	one.SetHolding(0, 90)
	r := newRig(t, one.device("filler")).start()
	eventually(t, "the alarm is stored", func() bool { return len(r.alarms("active")) == 1 })
	id := r.alarms("active")[0].ID
	r.a.mu.Lock()
	cfg := r.load()
	engine, err := r.a.haltPlant(t.Context(), cfg, cfg) // as far as a reload has come
	if err != nil {
		t.Fatal(err)
	}
	acked := make(chan error, 1)
	go func() {
		_, err := actions{r.a}.Acknowledge(t.Context(), id, "eve")
		acked <- err
	}()
	r.a.changePlant(t.Context(), cfg, engine)
	r.a.mu.Unlock()
	if err := <-acked; err != nil {
		t.Error(err)
	}
	if a := r.alarms("active")[0]; a.State != edgeagent.AlarmAcked || a.AckedBy != "eve" {
		t.Errorf("got %s by %q", a.State, a.AckedBy)
	}
}

func TestReloadOnHangup(t *testing.T) {
	one, two := startPanel(t), startPanel(t)
	r := newRig(t, one.device("filler")).start()
	r.write(one.device("filler"), two.device("capper"))
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the new device is polled", func() bool { return r.device("capper").State == edgeagent.DevicePolling })
}

func TestReloadAfterTheEnd(t *testing.T) {
	r := newRig(t, startPanel(t).device("filler")).start()
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.a.reload(t.Context()); err == nil || !strings.Contains(err.Error(), "ending") {
		t.Errorf("got %v", err)
	}
}

// A gateway whose file was broken while it was off starts, and says so.
func TestRunOnTheLastAcceptedConfiguration(t *testing.T) {
	one := startPanel(t)
	r := newRig(t, one.device("filler")).start()
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	r.write("[agent]\n")
	cfg, refused, err := loadForRun(r.path)
	if err != nil || refused == nil || len(cfg.Devices) != 1 {
		t.Fatalf("got %v, refused %v", err, refused)
	}
	if err := os.Remove(filepath.Join(r.dir, "data", "accepted.toml")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := loadForRun(r.path); exitCode(err) != exitConfig {
		t.Errorf("without one: %v", err)
	}
}

func TestAgentStopLeavesNothing(t *testing.T) {
	r := newRig(t, startPanel(t).device("filler")).start()
	socket := r.load().Agent.Socket
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
	if _, _, code := r.run("status"); code != exitUnreachable {
		t.Errorf("exit %d", code)
	}
	again := *r
	again.start()
	if again.device("filler").Name == "" {
		t.Error("a second run does not read the device")
	}
}

// What people do through the command line, in one alarm's life.
func TestAlarmLifeOnTheCommandLine(t *testing.T) {
	one := startPanel(t)
	one.SetHolding(0, 90)
	r := newRig(t, one.device("filler")).start()
	eventually(t, "the alarm is stored", func() bool { return len(r.alarms("active")) == 1 })
	id := string(r.alarms("active")[0].ID)
	for _, c := range []struct {
		want string
		args []string
	}{
		{"filler/F212", []string{"alarms", "list"}},
		{"filler/F212 is acked", []string{"alarms", "ack", id}},
		{"filler/F212 is acked, shelved until ", []string{"alarms", "shelve", id, "--for", "1h", "--reason", "spare part"}},
		{id, []string{"alarms", "list", "--state", "shelved", "--json"}},
		{"filler/F212 is acked\n", []string{"alarms", "unshelve", id}},
		{"filler.level", []string{"tags", "read", "filler", "level"}},
		{"none", []string{"jobs", "list", "--state", "failed"}},
		{"no device is stopped", []string{"devices", "resume", "--all"}},
		{"polling", []string{"devices", "list"}},
	} {
		out, errOut, code := r.run(c.args...)
		if code != exitOK || !strings.Contains(out, c.want) {
			t.Errorf("%v: exit %d, want %q\n%s%s", c.args, code, c.want, out, errOut)
		}
	}
	for _, args := range [][]string{
		{"alarms", "ack", "01K00000000000000000000000"}, {"devices", "resume", "filler"}, {"devices", "resume", "nobody"},
		{"tags", "read", "filler", "nothing"}, {"jobs", "discard", "01K00000000000000000000000", "--reason", "x"},
		{"alarms", "shelve", id, "--for", "9999h", "--reason", "x"},
	} {
		if out, errOut, code := r.run(args...); code != exitFailed || errOut == "" {
			t.Errorf("%v: exit %d\n%s%s", args, code, out, errOut)
		}
	}
}

// What is done to a device in that moment must reach who reads it from then on:
// an electrician who was told "left alone" has a cabinet open.
func TestMaintenanceDuringAReload(t *testing.T) {
	one := startPanel(t)
	r := newRig(t, one.device("filler")).start()
	cfg := r.load()
	engine, err := r.a.haltPlant(t.Context(), cfg, cfg) // as far as a reload has come
	if err != nil {
		t.Fatal(err)
	}
	told := make(chan error, 1)
	go func() { told <- actions{r.a}.MaintainDevice(t.Context(), "filler", "eve", "cabinet open", time.Hour) }()
	early := time.NewTimer(100 * time.Millisecond)
	defer early.Stop()
	select {
	case err := <-told:
		t.Errorf("answered %v before there is who leaves it alone", err)
		told <- err
	case <-early.C:
	}
	r.a.changePlant(t.Context(), cfg, engine)
	if err := <-told; err != nil {
		t.Fatal(err)
	}
	if d := r.device("filler"); d.State != edgeagent.DeviceMaintenance {
		t.Errorf("it was told to be left alone, and is %s", d.State)
	}
}

// A plant of ten thousand tags takes a small box a second to read, and whoever
// rolls out a configuration sends its signal when it likes.
func TestHangupWhileTheConfigurationIsRead(t *testing.T) {
	r := newRig(t, startPanel(t).device("filler"))
	text, err := os.ReadFile(r.path)
	if err != nil {
		t.Fatal(err)
	}
	slow := filepath.Join(r.dir, "slow.toml")
	if err := syscall.Mkfifo(slow, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	said, ended := &syncBuffer{}, make(chan int, 1)
	go func() { ended <- mainRun(ctx, []string{"run", "-c", slow}, strings.NewReader(""), said, said) }()
	var pipe *os.File
	eventually(t, "the file is read", func() bool {
		pipe, err = os.OpenFile(slow, os.O_WRONLY|syscall.O_NONBLOCK, 0)
		return err == nil
	})
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	_, err = pipe.Write(text)
	if err := errors.Join(err, os.Rename(r.path, slow), pipe.Close()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is read again", func() bool { return strings.Contains(said.String(), "configuration read again") })
	end()
	if code := <-ended; code != exitOK {
		t.Errorf("exit %d\n%s", code, said)
	}
}
