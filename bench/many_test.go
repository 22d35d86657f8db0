package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"

	"edgeagent"
	"edgeagent/queue"
)

const (
	manyJobs = 100_000
	roleEnv  = "BENCH_ROLE"
	fileEnv  = "BENCH_FILE"
	ageEnv   = "BENCH_AGE" // of the alarms
)

// TestMain runs the benchmarks, or one of the processes that they measure.
func TestMain(m *testing.M) {
	roles := map[string]func(path string) error{"fill": fill, "open": reopen, "check": queue.CheckFile}
	play, known := roles[os.Getenv(roleEnv)]
	if !known {
		os.Exit(m.Run())
	}
	if err := play(os.Getenv(fileEnv)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func manyOptions(path string) queue.Options {
	return queue.Options{
		Path: path, Site: "plant-a", Agent: "gw", MaxSize: 4 << 30, Location: time.UTC, Check: inChild,
		Destinations: []queue.Destination{{Name: "historian", Required: true}},
	}
}

// inChild checks the file as the agent does.
func inChild(ctx context.Context, path string) error {
	cmd, err := play(ctx, "check", path)
	if err != nil {
		return err
	}
	cmd.Env = append(cmd.Env, "GOMEMLIMIT=64MiB")
	return cmd.Run()
}

func play(ctx context.Context, role, path string) (*exec.Cmd, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, exe)
	cmd.Env, cmd.Stderr = append(os.Environ(), roleEnv+"="+role, fileEnv+"="+path), os.Stderr
	return cmd, nil
}

// fill leaves jobs that wait, each of a line of its own, of alarms that are over,
// and waits to be killed.
func fill(path string) error {
	ctx, r := context.Background(), rand.New(rand.NewPCG(5, 6))
	age, err := time.ParseDuration(os.Getenv(ageEnv))
	if err != nil {
		return err
	}
	db, err := queue.Open(ctx, manyOptions(path))
	if err != nil {
		return err
	}
	for n := 0; n < manyJobs; n += lines {
		var ts []edgeagent.Transition
		for i := n; i < n+lines; i++ {
			up := raise(r, fmt.Sprint("line-", i)) // a job each
			now := time.Now()
			up.Alarm.RaisedAt = now.Add(-age)
			up.Evidence.Tags, up.Evidence.Moved = up.Evidence.Tags[:2], nil
			over := up
			over.Kind, over.Alarm.State, over.Alarm.ClearedAt, over.Alarm.Revision, over.Evidence = edgeagent.TransitionCleared, edgeagent.AlarmNormal, &now, 2, nil
			ts = append(ts, up, over)
		}
		if _, err := db.Record(ctx, ts); err != nil {
			return err
		}
	}
	fmt.Println("FULL")
	select {}
}

// An opening is what a process has to say of its start.
type opening struct {
	Seconds   float64
	RawKiB    int // anonymous memory, right after the open
	KiB       int // and when the agent has settled it
	Pending   int
	FileBytes int64
}

// reopen opens the file as the agent does.
func reopen(path string) error {
	begin := time.Now()
	db, err := queue.Open(context.Background(), manyOptions(path))
	if err != nil {
		return err
	}
	o := opening{Seconds: time.Since(begin).Seconds(), Pending: db.JobCounts().Pending, FileBytes: db.Storage().FileBytes}
	if o.RawKiB, err = anonymous(); err != nil {
		return err
	}
	debug.SetGCPercent(20) // cmd/edgeagent/memory.go
	debug.FreeOSMemory()
	if o.KiB, err = anonymous(); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(o)
}

// anonymous returns the memory of this process that no file backs, in KiB.
func anonymous() (kib int, err error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	_, anon, _ := strings.Cut(string(status), "RssAnon:")
	_, err = fmt.Sscan(anon, &kib)
	return kib, err
}

// BenchmarkHundredThousandJobs says how long a start takes after a kill -9, the
// check of every record in a process of its own included, against reading the
// file once, and what memory it needs. Neither finds the file in memory.
func BenchmarkHundredThousandJobs(b *testing.B) {
	b.Run("after-an-outage", func(b *testing.B) { manyJobsOf(b, time.Hour) })
	b.Run("amid-a-storm", func(b *testing.B) { manyJobsOf(b, 0) })
}

func manyJobsOf(b *testing.B, age time.Duration) {
	path := filepath.Join(b.TempDir(), "agent.db")
	b.Setenv(ageEnv, age.String())
	killedWhenFull(b, path)
	var floors, opens series
	var raw, settled float64
	for b.Loop() {
		must(b, os.RemoveAll(path+".clean"))
		evict(b, path)
		floors.time(func() { readOnce(b, path) })
		evict(b, path)
		cmd, err := play(b.Context(), "open", path)
		must(b, err)
		text, err := cmd.Output()
		must(b, err)
		var o opening
		must(b, json.Unmarshal(text, &o))
		if o.Pending != manyJobs {
			b.Fatalf("%d jobs wait, want %d", o.Pending, manyJobs)
		}
		opens = append(opens, o.Seconds*1e9)
		raw, settled = max(raw, float64(o.RawKiB)/1024), max(settled, float64(o.KiB)/1024)
		b.ReportMetric(float64(o.FileBytes)/(1<<20), "MiB-file")
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(opens.median()/1e9, "s/open")
	b.ReportMetric(opens.median()/floors.median(), "x-reading-it-once")
	b.ReportMetric(settled, "MiB-anonymous")
	b.ReportMetric(raw, "MiB-anonymous-before-it-settles")
}

func killedWhenFull(b *testing.B, path string) {
	b.Helper()
	full, err := play(b.Context(), "fill", path)
	must(b, err)
	out, err := full.StdoutPipe()
	must(b, err)
	must(b, full.Start())
	if _, err := fmt.Fscan(out, new(string)); err != nil {
		b.Fatal(err)
	}
	must(b, full.Process.Kill())
	_ = full.Wait() // it was killed
}

// evict takes a file out of the system's memory; it is on disk, for every commit
// was synced.
func evict(b *testing.B, path string) {
	b.Helper()
	const dontNeed = 4 // POSIX_FADV_DONTNEED
	f, err := os.Open(path)
	must(b, err)
	if _, _, errno := syscall.Syscall6(syscall.SYS_FADVISE64, f.Fd(), 0, 0, dontNeed, 0, 0); errno != 0 {
		b.Fatal(errno)
	}
	must(b, f.Close())
}

func readOnce(b *testing.B, path string) {
	b.Helper()
	f, err := os.Open(path)
	must(b, err)
	_, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{f}, make([]byte, 1<<20))
	must(b, err)
	must(b, f.Close())
}
