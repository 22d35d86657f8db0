package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edgeagent"
	"edgeagent/queue"
)

const (
	manyJobs = 100_000
	roleEnv  = "BENCH_ROLE"
	fileEnv  = "BENCH_FILE"
)

// TestMain runs the benchmarks, or one of the processes that they measure.
func TestMain(m *testing.M) {
	switch os.Getenv(roleEnv) {
	case "fill":
		os.Exit(fill(os.Getenv(fileEnv)))
	case "open":
		os.Exit(reopen(os.Getenv(fileEnv)))
	}
	os.Exit(m.Run())
}

func manyOptions(path string) queue.Options {
	return queue.Options{
		Path: path, Site: "plant-a", Agent: "gw", MaxSize: 4 << 30, Location: time.UTC,
		Destinations: []queue.Destination{{Name: "historian", Required: true}},
	}
}

// fill leaves jobs that wait, each of a line of its own, of alarms that are over,
// and is killed.
func fill(path string) int {
	ctx, r := context.Background(), rand.New(rand.NewPCG(5, 6))
	db, err := queue.Open(ctx, manyOptions(path))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for n := 0; n < manyJobs; n += lines {
		var ts []edgeagent.Transition
		for i := n; i < n+lines; i++ {
			up := raise(r, fmt.Sprint("line-", i)) // a job each
			now := time.Now()
			up.Alarm.RaisedAt = now.Add(-time.Hour)
			up.Evidence.Tags, up.Evidence.Moved = up.Evidence.Tags[:2], nil
			over := up
			over.Kind, over.Alarm.State, over.Alarm.ClearedAt, over.Alarm.Revision, over.Evidence = edgeagent.TransitionCleared, edgeagent.AlarmNormal, &now, 2, nil
			ts = append(ts, up, over)
		}
		if _, err := db.Record(ctx, ts); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	fmt.Println("FULL")
	select {}
}

// reopen opens the file and says how long it took and what it holds.
func reopen(path string) int {
	begin := time.Now()
	db, err := queue.Open(context.Background(), manyOptions(path))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	took := time.Since(begin)
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	_, anon, _ := strings.Cut(string(status), "RssAnon:")
	var kib int
	if _, err := fmt.Sscan(anon, &kib); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(took.Seconds(), kib, db.JobCounts().Pending, db.Storage().FileBytes>>20)
	return 0
}

// BenchmarkHundredThousandJobs says how long a start takes after a kill -9, the
// check of every record included, and what memory it needs.
func BenchmarkHundredThousandJobs(b *testing.B) {
	path := filepath.Join(b.TempDir(), "agent.db")
	full := role(b, "fill", path)
	out, err := full.StdoutPipe()
	must(b, err)
	must(b, full.Start())
	if _, err := fmt.Fscan(out, new(string)); err != nil {
		b.Fatal(err)
	}
	must(b, full.Process.Kill())
	_ = full.Wait()
	var opens, rss series
	for b.Loop() {
		_ = os.Remove(path + ".clean")
		text, err := role(b, "open", path).Output()
		must(b, err)
		var seconds, kib float64
		var jobs, mib int
		if _, err := fmt.Sscan(string(text), &seconds, &kib, &jobs, &mib); err != nil || jobs != manyJobs {
			b.Fatalf("%q, %v: want %d jobs", text, err, manyJobs)
		}
		opens, rss = append(opens, seconds), append(rss, kib/1024)
		b.ReportMetric(float64(mib), "MiB-file")
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(opens.median(), "s/open")
	b.ReportMetric(rss.median(), "MiB-anonymous")
}

func role(b *testing.B, name, path string) *exec.Cmd {
	b.Helper()
	exe, err := os.Executable()
	must(b, err)
	cmd := exec.CommandContext(b.Context(), exe)
	cmd.Env, cmd.Stderr = append(os.Environ(), roleEnv+"="+name, fileEnv+"="+path), os.Stderr
	return cmd
}
