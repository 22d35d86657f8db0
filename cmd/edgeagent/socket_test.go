package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func socketIn(t *testing.T) string {
	t.Helper()
	return filepath.Join(newRig(t).dir, "run", "a.sock")
}

func TestListenUnix(t *testing.T) {
	path := socketIn(t)
	l, err := listenUnix(t.Context(), path) // makes the folder, too
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if _, err := listenUnix(t.Context(), path); err == nil || !strings.Contains(err.Error(), "another agent answers") {
		t.Errorf("a live socket was taken over: %v", err)
	}
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatalf("the live one does not answer any more: %v", err)
	}
	_, _ = conn.Close(), l.Close()
}

// A kill -9 leaves the socket's file behind.
func TestListenUnixReplacesAStaleSocket(t *testing.T) {
	path := socketIn(t)
	l, err := listenUnix(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("nothing is stale here: %v", err)
	}
	again, err := listenUnix(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	_ = again.Close()
}

// A slip in [agent] socket must not delete what stands there.
func TestListenUnixSparesOtherFiles(t *testing.T) {
	r := newRig(t)
	if _, err := listenUnix(t.Context(), r.path); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("got %v", err)
	}
	r.load() // it is still there
}
