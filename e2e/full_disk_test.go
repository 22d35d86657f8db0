package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// smallDisk is a real ext4 of 24 MB on a loop device, as the agent's data directory.
type smallDisk struct {
	t                  *testing.T
	image, device, dir string
}

func newSmallDisk(t *testing.T, dir string) *smallDisk {
	t.Helper()
	needsRoot(t)
	for _, program := range []string{"mkfs.ext4", "losetup", "mount", "umount"} {
		_, err := exec.LookPath(program)
		needs(t, program, err == nil)
	}
	_, err := os.Stat("/dev/loop-control")
	needs(t, "loop devices", err == nil)
	d := &smallDisk{t: t, image: filepath.Join(t.TempDir(), "disk.img"), dir: dir}
	if err := errors.Join(os.WriteFile(d.image, nil, 0o600), os.Truncate(d.image, 24<<20), os.MkdirAll(dir, 0o700)); err != nil {
		t.Fatal(err)
	}
	d.run("mkfs.ext4", "-q", "-F", "-m", "0", d.image)
	d.device = strings.TrimSpace(d.run("losetup", "--find", "--show", d.image))
	t.Cleanup(func() { d.run("losetup", "--detach", d.device) })
	d.run("mount", "-t", "ext4", d.device, dir)
	t.Cleanup(func() { d.run("umount", dir) })
	return d
}

func (d *smallDisk) run(name string, args ...string) string {
	d.t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		d.t.Errorf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// fill writes a file until the disk is full to the last block.
func (d *smallDisk) fill() (path string) {
	d.t.Helper()
	path = filepath.Join(d.dir, "filler")
	f, err := os.Create(path)
	if err != nil {
		d.t.Fatal(err)
	}
	for size := 1 << 20; size >= 512; {
		if _, err := f.Write(bytes.Repeat([]byte("x"), size)); errors.Is(err, syscall.ENOSPC) {
			size /= 2
		} else if err != nil {
			d.t.Fatal(err)
		}
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil && !errors.Is(err, syscall.ENOSPC) {
		d.t.Fatal(err)
	}
	return path
}

// ballast takes most of the disk, so that the rest is filled soon. Deleting it is
// the space that returns.
func (d *smallDisk) ballast(size int) (path string) {
	d.t.Helper()
	path = filepath.Join(d.dir, "ballast")
	if err := os.WriteFile(path, bytes.Repeat([]byte("x"), size), 0o600); err != nil {
		d.t.Fatal(err)
	}
	return path
}

// raiseAs raises an alarm of a priority on a line of its own.
func (a *agent) raiseAs(priority, n int) (alarmDoc, error) {
	var d alarmDoc
	err := a.do(http.MethodPost, "/api/v1/alarms", nil, map[string]any{
		"line": fmt.Sprintf("line-%d-%d", priority, n), "code": "X1", "priority": priority,
		"text": fmt.Sprintf("outside alarm %d %s", n, strings.Repeat("ä", 900)),
	}, &d)
	return d, err
}

func (a *agent) acknowledge(id string) error {
	return a.do(http.MethodPost, "/api/v1/alarms/"+id+"/ack", nil, nil, nil)
}

// isFull reports the answer of a file that takes no more.
func isFull(err error) bool { return err != nil && strings.Contains(err.Error(), "507") }

// storage is what the status says of the data file.
func (a *agent) storage() (s struct {
	State, Refusing, Error string
	JobsRefused            int   `json:"jobs_refused"`
	ReserveBytes           int64 `json:"reserve_bytes"`
}) {
	a.t.Helper()
	var doc struct{ Storage json.RawMessage }
	if err := a.get("/api/v1/status", &doc); err != nil {
		a.t.Fatal(err)
	}
	if err := json.Unmarshal(doc.Storage, &s); err != nil {
		a.t.Fatal(err)
	}
	return s
}

// keeps holds every acknowledged alarm, and every job that was accepted, against
// what is there.
func (a *agent) keeps(alarms []alarmDoc) {
	a.t.Helper()
	for _, want := range alarms {
		var got alarmDoc
		if err := a.get("/api/v1/alarms/"+want.ID, &got); err != nil || got.Hint == nil {
			a.t.Errorf("acknowledged alarm %s: %v, hint %v", want.ID, err, got.Hint)
		}
		if want.Job != "" {
			if j := a.job(want.Job); j.State != "completed" || j.Diagnosis == nil {
				a.t.Errorf("accepted job %s is %s", want.Job, j.State)
			}
		}
	}
}

func (a *agent) idle() bool { s := a.status(); return s.Jobs.Pending+s.Jobs.Running == 0 }

// Another program fills the disk while jobs wait that were accepted.
func TestDiskFilledByAnother(t *testing.T) {
	a := newAgent(t, plan{window: "8s"}.toml(t))
	disk := newSmallDisk(t, filepath.Join(a.dir, "data"))
	t.Cleanup(func() { a.stop() })
	a.start()
	var taken []alarmDoc
	for n := range 200 {
		d, err := a.raiseAs(3, n)
		if err != nil || d.Job == "" {
			t.Fatalf("alarm %d: %v, job %q", n, err, d.Job)
		}
		taken = append(taken, d)
	}
	filler := disk.fill()
	if err := a.acknowledge(taken[0].ID); err != nil {
		t.Errorf("nobody can acknowledge on a full disk: %v", err)
	}
	last := len(taken) - 1 // it still waits for others of its line, however long all this took
	if err := a.do(http.MethodPost, "/api/v1/jobs/"+taken[last].Job+"/discard", nil, map[string]string{"reason": "known"}, nil); err != nil {
		t.Errorf("nobody can discard on a full disk: %v", err)
	}
	taken[last].Job = ""
	first, err := a.raiseAs(1, 0)
	if err != nil || first.Job == "" {
		t.Errorf("priority 1 on a full disk: %v, job %q", err, first.Job)
	}
	taken = append(taken, first)
	a.eventually(time.Minute, "what was accepted is completed on a full disk", a.idle)
	a.keeps(taken)
	t.Logf("full disk: %+v", a.storage())
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	a.eventually(30*time.Second, "alarms are taken when space is back", func() bool {
		d, err := a.raiseAs(4, len(taken))
		return err == nil && d.Job != ""
	})
	if s := a.storage(); s.State != "ok" || s.Refusing != "" {
		t.Errorf("storage = %+v when space is back", s)
	}
	a.kill()
	a.start()
	a.keeps(taken)
}

// The agent fills the disk by itself: nobody fetches its events.
func TestDiskFilledByItself(t *testing.T) {
	a := newAgent(t, plan{upstreams: []string{"http://127.0.0.1:1/events"}}.toml(t))
	disk := newSmallDisk(t, filepath.Join(a.dir, "data"))
	t.Cleanup(func() { a.stop() })
	ballast := disk.ballast(14 << 20)
	a.start()
	var taken []alarmDoc
	refused := map[int]int{} // priority → alarms without a job
	for priority := 4; priority >= 2; priority-- {
		for n := 0; refused[priority] < 3; n++ {
			d, err := a.raiseAs(priority, n)
			if isFull(err) {
				break
			}
			if err != nil || n > 6000 {
				t.Fatalf("alarm %d of priority %d: %v", n, priority, err)
			}
			if taken = append(taken, d); d.Job == "" {
				refused[priority]++
			}
		}
	}
	if refused[4] == 0 || refused[3] == 0 {
		t.Errorf("refused by priority: %v, want the least urgent first", refused)
	}
	for n := 0; ; n++ {
		d, err := a.raiseAs(3, 10_000+n)
		if isFull(err) {
			break
		}
		if err != nil || n > 6000 {
			t.Fatalf("alarm %d without a job: %v", n, err)
		}
		taken = append(taken, d)
	}
	if s := a.storage(); s.State != "full" || s.JobsRefused == 0 {
		t.Errorf("storage = %+v, want full", s)
	}
	for n := range 5 {
		d, err := a.raiseAs(1, n) // at once, or its client gives up
		if err != nil || d.Job == "" {
			t.Errorf("priority 1 on a full disk: %v, job %q", err, d.Job)
		}
		taken = append(taken, d)
		if err := a.acknowledge(taken[n].ID); err != nil {
			t.Errorf("nobody can acknowledge on a full disk: %v", err)
		}
	}
	t.Logf("%d alarms on 24 MB of which 14 were taken, refused by priority %v: %+v", len(taken), refused, a.storage())
	a.eventually(time.Minute, "what was accepted is completed on a full disk", a.idle)
	a.keeps(taken)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	a.eventually(30*time.Second, "alarms are taken when space is back", func() bool {
		d, err := a.raiseAs(4, 20_000)
		return err == nil && d.Job != ""
	})
	a.kill()
	a.start()
	a.keeps(taken)
}
