package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"edgeagent/queue"
)

func TestCheckInChild(t *testing.T) {
	r := newRig(t, startPanel(t).device("filler")).start()
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	good := dataFile(r.load())
	if err := checkInChild(t.Context(), good); err != nil {
		t.Errorf("a whole file: %v", err)
	}
	r.file("torn.db", strings.Repeat("torn", 5000))
	err := checkInChild(t.Context(), filepath.Join(r.dir, "torn.db"))
	if err == nil || errors.Is(err, queue.ErrUnchecked) || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "torn.db") {
		t.Errorf("a torn file: %v", err)
	}
}

// A child that was killed has not seen the file. Taken for damage, it would
// cost a gateway that is short of memory all its alarms.
func TestCheckInChildThatIsKilled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := checkInChild(ctx, "whatever.db"); err == nil {
		t.Error("an interrupted check found the file good")
	}
	for _, script := range []string{"kill -KILL $$", "kill -TERM $$"} {
		err := verdict(exec.CommandContext(t.Context(), "sh", "-c", script).Run(), "")
		if !errors.Is(err, queue.ErrUnchecked) {
			t.Errorf("%s is taken for damage: %v", script, err)
		}
	}
	if err := verdict(exec.CommandContext(t.Context(), "/nonexistent/edgeagent").Run(), ""); !errors.Is(err, queue.ErrUnchecked) {
		t.Errorf("a check that never ran is taken for damage: %v", err)
	}
	if err := verdict(exec.CommandContext(t.Context(), "sh", "-c", "exit 2").Run(), "fatal error: runtime: out of memory\n"); !errors.Is(err, queue.ErrUnchecked) {
		t.Errorf("want of memory is taken for damage: %v", err)
	}
	if err := verdict(exec.CommandContext(t.Context(), "sh", "-c", "exit 1").Run(), "Error: check x: "+queue.ErrUnchecked.Error()+": timeout\n"); !errors.Is(err, queue.ErrUnchecked) {
		t.Errorf("a file that was locked is taken for damage: %v", err)
	}
	err := verdict(exec.CommandContext(t.Context(), "sh", "-c", "exit 2").Run(), "panic: page 4 already freed\ngoroutine 1\n")
	if errors.Is(err, queue.ErrUnchecked) || !strings.Contains(err.Error(), "page 4 already freed (exit status 2)") {
		t.Errorf("damage: %v", err)
	}
	if err := verdict(nil, ""); err != nil {
		t.Error(err)
	}
}

// The next start finds no mark of a clean end, and has the file checked.
func TestAgentStartsAfterAnUncleanEnd(t *testing.T) {
	one := startPanel(t)
	r := newRig(t, one.device("filler")).start()
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	marks, err := filepath.Glob(dataFile(r.load()) + ".*")
	if err != nil || len(marks) == 0 {
		t.Fatalf("no mark of a clean end: %v", err)
	}
	for _, m := range marks {
		if err := os.Remove(m); err != nil {
			t.Fatal(err)
		}
	}
	again := *r
	again.start()
	if s := (source{again.a}).Status(); s.Storage.State != "ok" {
		t.Errorf("storage is %s: %s", s.Storage.State, s.Storage.Error)
	}
}
