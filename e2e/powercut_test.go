package e2e

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"edgeagent/e2e/powercut"
)

// The data file works on a disk that records everything, and its power is cut
// thousands of times, at any moment, with any of the writes under way kept,
// dropped or torn. What was acknowledged must be there, and the file must open
// as it is: a power cut is no damage.
func TestPowerCutFiles(t *testing.T) {
	needsFUSE(t)
	rig := newCutRig(t, "")
	rec := rig.work(powercut.NewDisk(nil), fileFolder)
	rig.mustHold(rec, sized(300, 2000))
}

// The same under a real ext4 whose block device is cut: its journal is
// recovered at each mount.
func TestPowerCutExt4(t *testing.T) {
	needsFUSE(t)
	needsLoop(t)
	rig := newCutRig(t, "")
	disk := newExt4(t)
	rec := rig.work(disk, imageFolder)
	rig.ext4 = true
	rig.mustHold(rec, sized(60, 300))
}

// A rig that cannot fail proves nothing: it has to catch a file that is never
// synced, one that acknowledges before it commits, and a disk that ignores one
// flush in five.
func TestPowerCutMutantsAreCaught(t *testing.T) {
	needsFUSE(t)
	for _, mutant := range []struct {
		name, tag string
		lies      bool
	}{
		{name: "never synced", tag: "mutant_nosync"},
		{name: "acknowledged before the commit", tag: "mutant_early_ack"},
		{name: "one flush in five ignored", lies: true},
	} {
		t.Run(mutant.name, func(t *testing.T) {
			rig := newCutRig(t, mutant.tag)
			rec := rig.work(powercut.NewDisk(nil), fileFolder)
			random := rand.New(rand.NewPCG(uint64(*seed), 1))
			cuts := make([]int, sized(120, 400))
			for i := range cuts {
				cuts[i] = rec.AfterAck(random)
			}
			var lie func() bool
			if mutant.lies {
				lie = func() bool { return random.IntN(5) == 0 }
			}
			bad := rig.cutAll(rec, cuts, harsh(), lie)
			if len(bad) == 0 {
				t.Fatal("the mutant was not caught: this rig proves nothing")
			}
			t.Logf("caught by %d of %d cuts, first: %v", len(bad), len(cuts), bad[0])
		})
	}
}

// harsh is what a disk does that keeps little of what was not flushed.
func harsh() (fates []powercut.Fate) {
	for _, f := range powercut.Fates {
		if f.Keep <= .1 {
			fates = append(fates, f)
		}
	}
	return fates
}

func sized(ci, whole int) int {
	if full() {
		return whole
	}
	return ci
}

func needsFUSE(t *testing.T) {
	t.Helper()
	needsRoot(t)
	needsProgram(t, "/dev/fuse")
}

func needsLoop(t *testing.T) {
	t.Helper()
	needsProgram(t, "/dev/loop-control")
	for _, program := range []string{"mkfs.ext4", "losetup", "mount", "umount"} {
		_, err := exec.LookPath(program)
		needs(t, program, err == nil)
	}
}

// cutRig cuts the power of the data file's own test program.
type cutRig struct {
	t       *testing.T
	program string // worker and judge, built with the tag
	scratch string // of the states
	ext4    bool   // the recording is of a block device
	keep    bool   // broken states are put by for a person to look at
}

func newCutRig(t *testing.T, tag string) *cutRig {
	t.Helper()
	return &cutRig{t: t, program: builtWith(t, tag, "queue.test", "test", "-c", "./queue"), scratch: t.TempDir()}
}

// built are the programs of this run, by their paths: each is built once.
var built struct {
	sync.Mutex
	paths map[string]bool
}

// builtWith builds a program of the repository with a tag: args are those of
// the go command, its package last.
func builtWith(t *testing.T, tag, name string, args ...string) string {
	t.Helper()
	path := filepath.Join(root, "e2e", "out", "with-"+tag, name)
	built.Lock()
	defer built.Unlock()
	if built.paths[path] {
		return path
	}
	last := len(args) - 1
	build := exec.CommandContext(t.Context(), "go", slices.Concat(args[:last], []string{"-tags", tag, "-o", path}, args[last:])...)
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build %s with %q: %v\n%s", name, tag, err, out)
	}
	if built.paths == nil {
		built.paths = map[string]bool{}
	}
	built.paths[path] = true
	return path
}

// A place mounts a disk and returns where data and promises belong. Whoever has
// been there leaves; at the latest the test's end does.
type place func(*testing.T, *powercut.Disk) (data, acks string, leave func())

// fileFolder is the recording disk itself.
func fileFolder(t *testing.T, disk *powercut.Disk) (data, acks string, leave func()) {
	t.Helper()
	dir := t.TempDir()
	unmount, err := disk.Mount(dir)
	if err != nil {
		t.Fatal(err)
	}
	leave = sync.OnceFunc(func() {
		if err := unmount(); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	t.Cleanup(leave)
	return dir, filepath.Join(dir, powercut.Acks), leave
}

// imageFolder is an ext4 in an image on the recording disk.
func imageFolder(t *testing.T, disk *powercut.Disk) (data, acks string, leave func()) {
	t.Helper()
	under, acks, unmount := fileFolder(t, disk)
	dir := t.TempDir()
	detach, err := powercut.Attach(t.Context(), filepath.Join(under, powercut.Image), dir)
	if err != nil {
		t.Fatal(err)
	}
	leave = sync.OnceFunc(func() {
		if err := detach(); err != nil {
			t.Errorf("detach: %v", err)
		}
		unmount()
	})
	t.Cleanup(leave)
	return dir, acks, leave
}

// newExt4 is a disk that holds an empty file system.
func newExt4(t *testing.T) *powercut.Disk {
	t.Helper()
	image, err := powercut.Format(t.Context(), t.TempDir(), 32<<20)
	if err != nil {
		t.Fatal(err)
	}
	return powercut.NewDisk(map[string][]byte{powercut.Image: image})
}

// work records five lives of a data file: the first from nothing, ended by
// kill -9; one that ends with a backup and a stop; one that begins after that;
// one that begins with restoring the backup; and one more. All compact the file.
func (r *cutRig) work(disk *powercut.Disk, at place) powercut.Recording {
	r.t.Helper()
	data, acks, leave := at(r.t, disk)
	backup := filepath.Join(r.t.TempDir(), "backup")
	for life, more := range []string{"", "QUEUE_TEST_BACKUP=" + backup, "", "QUEUE_TEST_RESTORE=" + backup, ""} {
		cmd := exec.CommandContext(r.t.Context(), r.program)
		cmd.Env = append(os.Environ(), "QUEUE_TEST_ROLE=cut", "QUEUE_TEST_FILE="+filepath.Join(data, "agent.db"),
			"QUEUE_TEST_ACKS="+acks, fmt.Sprintf("QUEUE_TEST_BOOT=boot-%d", life), more)
		before := disk.Recording().Count(powercut.Ack)
		r.live(cmd, life == 1, func() bool { return disk.Recording().Count(powercut.Ack) >= before+40 })
	}
	leave()
	rec := disk.Recording()
	r.t.Logf("recorded %d writes, %d flushes of files and %d of the folder, %d promises",
		rec.Count(powercut.Write), rec.Count(powercut.Sync), rec.Count(powercut.SyncFolder), rec.Count(powercut.Ack))
	return rec
}

// live runs a worker for a while after it has opened its file, until it has done
// enough.
func (r *cutRig) live(cmd *exec.Cmd, clean bool, enough func() bool) {
	r.t.Helper()
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
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "OPEN\n" {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		r.t.Fatalf("the worker did not open its file: %q, %v\n%s", line, err, said.String())
	}
	time.Sleep(time.Duration(sized(150, 300)) * time.Millisecond) // its life: the more it writes in it, the more there is to cut
	eventually(r.t, patience, "the worker has made promises", enough)
	if !clean {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed: always an error
		return
	}
	if err := stdin.Close(); err != nil {
		r.t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		r.t.Errorf("the worker did not end well: %v\n%s", err, said.String())
	}
}

// mustHold fails for every promise that a cut broke. A quarter of the cuts lies
// in the creation of the file, an eighth in the restore.
func (r *cutRig) mustHold(rec powercut.Recording, n int) {
	r.t.Helper()
	born := rec.Mark("OPEN")
	if born < 0 || rec.Mark("RESTORED") < 0 || rec.Count(powercut.Ack) < 50 {
		r.t.Fatalf("only %d promises were made: this proves nothing", rec.Count(powercut.Ack))
	}
	random := rand.New(rand.NewPCG(uint64(*seed), uint64(n)))
	cuts := make([]int, n)
	for i := range cuts {
		switch i % 8 {
		case 0, 1:
			cuts[i] = rec.Cut(0, born, random)
		case 2:
			cuts[i] = rec.Cut(rec.Mark("RESTORING"), rec.Mark("RESTORED"), random)
		default:
			cuts[i] = rec.Cut(0, len(rec.Entries), random)
		}
	}
	r.keep = true
	bad := r.cutAll(rec, cuts, powercut.Fates, nil)
	for _, b := range bad[:min(len(bad), 10)] {
		r.t.Errorf("%v", b)
	}
	r.t.Logf("%d power cuts, %d broke a promise, seed %d", n, len(bad), *seed)
}

// A brokenState is a power cut that something acknowledged did not survive.
type brokenState struct {
	cut     int
	fate    powercut.Fate
	verdict string
	kept    string // where the state can be looked at; empty if it was not kept
}

func (b brokenState) String() string {
	text := fmt.Sprintf("power cut before entry %d (%v): %s", b.cut, b.fate, b.verdict)
	if b.kept != "" {
		text += "; kept in " + b.kept
	}
	return text
}

// cutAll makes a crash state at each cut and has it judged.
func (r *cutRig) cutAll(rec powercut.Recording, cuts []int, fates []powercut.Fate, lie func() bool) []brokenState {
	r.t.Helper()
	random := rand.New(rand.NewPCG(uint64(*seed), uint64(len(cuts))))
	slices.Sort(cuts)
	replay := powercut.NewReplay(rec)
	replay.Lie = lie
	judges := r.startJudges(2)
	for _, cut := range cuts {
		replay.To(cut)
		fate := fates[random.IntN(len(fates))]
		judges.states <- crashState{cut, fate, replay.Crash(fate, random), rec.Promises(cut)}
	}
	return judges.end()
}

type crashState struct {
	cut      int
	fate     powercut.Fate
	files    map[string][]byte
	promises []string
}

// judges are processes that open what a power cut left.
type judges struct {
	rig    *cutRig
	states chan crashState
	wg     sync.WaitGroup
	mu     sync.Mutex
	bad    []brokenState
}

func (r *cutRig) startJudges(n int) *judges {
	js := &judges{rig: r, states: make(chan crashState)}
	for range n {
		js.wg.Go(func() {
			j := &judge{program: r.program}
			defer j.end()
			for s := range js.states {
				js.consider(j, s)
			}
		})
	}
	return js
}

func (js *judges) end() []brokenState {
	close(js.states)
	js.wg.Wait()
	return js.bad
}

func (js *judges) consider(j *judge, s crashState) {
	dir, err := os.MkdirTemp(js.rig.scratch, "cut")
	verdict := ""
	if err == nil {
		verdict, err = js.rig.judgeOne(j, dir, s)
	}
	if err != nil {
		verdict = "the rig: " + err.Error()
	}
	if verdict == "ok" {
		_ = os.RemoveAll(dir)
		return
	}
	js.mu.Lock()
	defer js.mu.Unlock()
	kept := ""
	if js.rig.keep && len(js.bad) < 3 { // the recording is of one run alone: a state cannot be made again
		kept = filepath.Join(root, "e2e", "out", fmt.Sprintf("powercut-%s-%d", js.rig.t.Name(), s.cut))
		_ = os.RemoveAll(kept)
		_ = os.CopyFS(kept, os.DirFS(dir))
	}
	_ = os.RemoveAll(dir)
	js.bad = append(js.bad, brokenState{s.cut, s.fate, verdict, kept})
}

// judgeOne lays the state out and asks. What a judge does to the file, and what
// it says, stays in dir.
func (r *cutRig) judgeOne(j *judge, dir string, s crashState) (string, error) {
	for name, content := range s.files {
		if name == powercut.Image {
			if err := powercut.WriteImage(filepath.Join(dir, name), content); err != nil {
				return "", err
			}
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return "", err
		}
	}
	data := dir
	if r.ext4 {
		data = dir + ".mnt"
		if err := os.Mkdir(data, 0o700); err != nil {
			return "", err
		}
		detach, err := powercut.Attach(r.t.Context(), filepath.Join(dir, powercut.Image), data)
		if err != nil {
			return "not mountable: " + err.Error(), nil
		}
		defer func() { _, _ = detach(), os.Remove(data) }()
	}
	if err := os.WriteFile(filepath.Join(data, "promises"), []byte(strings.Join(s.promises, "\n")), 0o600); err != nil {
		return "", err
	}
	return j.ask(data)
}

// judge is one process, started when needed: a file on which it dies is judged
// by that, and the next one gets another.
type judge struct {
	program string
	cmd     *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
	said    strings.Builder
}

func (j *judge) ask(dir string) (string, error) {
	if j.cmd == nil {
		if err := j.start(); err != nil {
			return "", err
		}
	}
	if _, err := fmt.Fprintln(j.in, dir); err != nil {
		return "", err
	}
	line, err := j.out.ReadString('\n')
	if err != nil {
		j.end()
		return "ended the process: " + tail(j.said.String(), 300), nil
	}
	return strings.TrimSpace(line), nil
}

func (j *judge) start() (err error) {
	j.said.Reset()
	j.cmd = exec.Command(j.program)
	j.cmd.Env = append(os.Environ(), "QUEUE_TEST_ROLE=judge")
	j.cmd.Stderr = &j.said
	j.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if j.in, err = j.cmd.StdinPipe(); err != nil {
		return err
	}
	out, err := j.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	j.out = bufio.NewReader(out)
	return j.cmd.Start()
}

func (j *judge) end() {
	if j.cmd == nil {
		return
	}
	_ = j.in.Close()
	_ = j.cmd.Wait() // what it said counts, not how it ended
	j.cmd = nil
}
