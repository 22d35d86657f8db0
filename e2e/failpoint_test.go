package e2e

import (
	"bufio"
	"compress/gzip"
	"debug/buildinfo"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// pointNames returns every failpoint that the data file's source names, so that
// a new one cannot be forgotten here.
func pointNames(t *testing.T) []string {
	t.Helper()
	sources, err := filepath.Glob(filepath.Join(root, "queue", "*.go"))
	if err != nil || len(sources) == 0 {
		t.Fatalf("the data file's source: %d files, %v", len(sources), err)
	}
	call := regexp.MustCompile(`\b(?:failpoint|durable)\("([^"]+)"`)
	var names []string
	for _, path := range sources {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range call.FindAllStringSubmatch(string(text), -1) {
			names = append(names, m[1])
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// stages says what has to be there before a failpoint can be reached, by the
// beginning of its name, and what the worker is told; most need nothing.
var stages = map[string]func(*cutRig, string) (env string){
	"interrupt": leaveRunning,
	"aside.":    leaveGarbage,
	"salvage.":  leaveBeheaded,
	"upgrade.":  leaveOlder,
	"restore.":  leaveBackup,
	"swap.":     leaveBackup,
}

// onlyAfter are failpoints that are reached when another step has failed.
var onlyAfter = map[string]string{
	"aside.rename": "aside.link=eio@1", // there are no hard links
}

// leaveRunning kills a worker in the middle of a job.
func leaveRunning(r *cutRig, dir string) string {
	if !r.armed(dir, atLength, "complete", 3) {
		r.t.Fatal("no job was left running")
	}
	return ""
}

// leaveBeheaded takes both meta pages from a file that was worked on: all records
// are whole, and all promises have to be kept.
func leaveBeheaded(r *cutRig, dir string) string {
	if r.armed(dir, aWhile, "nowhere", 1) {
		r.t.Fatal("the worker ended by itself")
	}
	f, err := os.OpenFile(filepath.Join(dir, "agent.db"), os.O_WRONLY, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(make([]byte, 2*4096), 0); err != nil {
		r.t.Fatal(err)
	}
	return ""
}

// leaveGarbage lays a file there that is none.
func leaveGarbage(r *cutRig, dir string) string {
	if err := os.WriteFile(filepath.Join(dir, "agent.db"), []byte(strings.Repeat("no data file ", 4096)), 0o600); err != nil {
		r.t.Fatal(err)
	}
	return ""
}

// leaveOlder lays a file of an earlier version there.
func leaveOlder(r *cutRig, dir string) string {
	packed, err := os.Open(filepath.Join(root, "queue", "testdata", "schema-1.db.gz"))
	if err != nil {
		r.t.Fatal(err)
	}
	defer packed.Close()
	z, err := gzip.NewReader(packed)
	if err != nil {
		r.t.Fatal(err)
	}
	content, err := io.ReadAll(z)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "agent.db"), content, 0o600); err != nil {
		r.t.Fatal(err)
	}
	return ""
}

// leaveBackup lets a worker make a backup and go on; the next one restores it.
func leaveBackup(r *cutRig, dir string) string {
	backup := filepath.Join(dir, "backup")
	if r.armed(dir, aWhile, "nowhere", 1, "QUEUE_TEST_BACKUP="+backup) || r.armed(dir, aWhile, "nowhere", 1) {
		r.t.Fatal("no backup was made")
	}
	return "QUEUE_TEST_RESTORE=" + backup
}

// How long a worker lives that is not killed: aWhile makes some hundred promises,
// atLength even while the machine does something else for seconds.
const (
	aWhile   = 200 * time.Millisecond
	atLength = 10 * time.Second
)

// The process is killed before each durable step. Nothing that it had promised
// is lost, nothing is there by halves, every alarm has one diagnosis.completed
// in the end; what was running counts an interrupt and no attempt.
func TestKilledAtEveryFailpoint(t *testing.T) {
	rig := newCutRig(t, "failpoints")
	random := rand.New(rand.NewPCG(uint64(*seed), 7))
	names := pointNames(t)
	judge := &judge{program: rig.program}
	defer judge.end()
	kills, alarms := 0, 0
	for _, name := range names {
		for round := range sized(2, 20) {
			dir, killed := rig.struck(name, 1+random.IntN(1+round))
			if !killed {
				t.Errorf("failpoint %s was never reached: this proves nothing of it", name)
				break
			}
			kills++
			if rig.armed(dir, aWhile, "nowhere", 1) {
				t.Errorf("after a kill at %s the next process ended", name)
			}
			alarms += raisedIn(t, dir)
			if verdict, err := judge.ask(dir); verdict != "ok" || err != nil {
				t.Errorf("after a kill at %s: %s, %v; seed %d", name, verdict, err, *seed)
			}
			_ = os.RemoveAll(dir)
		}
	}
	t.Logf("%d kills at %d failpoints, %d alarms promised: %v", kills, len(names), alarms, names)
}

// raisedIn counts the alarms that were promised in a folder.
func raisedIn(t *testing.T, dir string) int {
	t.Helper()
	said, err := os.ReadFile(filepath.Join(dir, "promises"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count("\n"+string(said), "\nRAISED ")
}

// struck runs a worker into a failpoint: some are reached once a life, some only
// at its end, and all of them late while the machine does something else.
func (r *cutRig) struck(name string, hit int) (dir string, killed bool) {
	r.t.Helper()
	for _, try := range []struct {
		hit  int
		life time.Duration
	}{{hit, aWhile}, {1, aWhile}, {1, atLength}} {
		if dir, killed = r.strike(name, try.hit, try.life); killed {
			break
		}
	}
	return dir, killed
}

// strike sets the stage in a new folder and runs a worker into a failpoint.
func (r *cutRig) strike(name string, hit int, life time.Duration) (dir string, killed bool) {
	r.t.Helper()
	dir = r.t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "promises"), nil, 0o600); err != nil {
		r.t.Fatal(err)
	}
	env := ""
	for begins, prepare := range stages {
		if strings.HasPrefix(name, begins) {
			env = prepare(r, dir)
		}
	}
	if first := onlyAfter[name]; first != "" {
		env = "EDGEAGENT_FAILPOINT=" + first + "," + fmt.Sprintf("%s=kill@%d", name, hit)
	}
	return dir, r.armed(dir, life, name, hit, env)
}

// armed runs a worker with a failpoint, for its life and then to its end, and
// reports whether it was killed there. Promises go into a plain file: what a
// process has written survives it.
func (r *cutRig) armed(dir string, life time.Duration, point string, hit int, env ...string) (killed bool) {
	r.t.Helper()
	cmd := exec.CommandContext(r.t.Context(), r.program)
	cmd.Env = append(os.Environ(), "QUEUE_TEST_ROLE=cut", "QUEUE_TEST_FILE="+filepath.Join(dir, "agent.db"),
		"QUEUE_TEST_ACKS="+filepath.Join(dir, "promises"), fmt.Sprintf("QUEUE_TEST_BOOT=%d", time.Now().UnixNano()),
		fmt.Sprintf("EDGEAGENT_FAILPOINT=%s=kill@%d", point, hit))
	cmd.Env = append(cmd.Env, env...)
	var said strings.Builder
	cmd.Stderr = &said
	stdin, err := cmd.StdinPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	out := bufio.NewReader(stdout)
	if line, _ := out.ReadString('\n'); line == "OPEN\n" {
		stop := time.AfterFunc(life, func() { _ = stdin.Close() }) // then it stops as an agent does
		_, _ = out.ReadString('\n')                                // until it ends, one way or the other
		stop.Stop()
	}
	err = cmd.Wait()
	if err != nil && err.Error() != "signal: killed" {
		r.t.Fatalf("the worker ended by itself: %v\n%s", err, said.String())
	}
	return err != nil
}

// A release holds neither failpoints nor mutants. The builds that have them
// show that this test would see them.
func TestReleaseHasNoFailpointsAndNoMutants(t *testing.T) {
	for tag, trace := range map[string]string{
		"failpoints": "EDGEAGENT_FAILPOINT", "mutant_nosync": "MUTANT: ", "mutant_early_ack": "MUTANT: ",
	} {
		armed := newCutRig(t, tag).program
		if !hasTrace(t, armed, trace) || !strings.Contains(tagsOf(t, armed), tag) {
			t.Errorf("the build with the tag %s shows no trace of it: this test is blind", tag)
		}
		if hasTrace(t, edgeagentBin, trace) {
			t.Errorf("the agent holds %q, which belongs to the tag %s", trace, tag)
		}
	}
	if tags := tagsOf(t, edgeagentBin); tags != "" {
		t.Errorf("the agent is built with the tags %s", tags)
	}
}

func hasTrace(t *testing.T, binary, text string) bool {
	t.Helper()
	content, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(content), text)
}

func tagsOf(t *testing.T, binary string) string {
	t.Helper()
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range info.Settings {
		if s.Key == "-tags" {
			return s.Value
		}
	}
	return ""
}
