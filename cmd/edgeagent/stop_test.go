package main

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Somebody copies the data file to a disk that hangs, while the gateway is
// restarted: the page ends before the file, which waits for its last reader.
func TestStopDoesNotWaitForABackupThatNobodyTakes(t *testing.T) {
	r := newRig(t).start()
	cl := clientOn(r.load().Agent.Socket)
	for i := range 150 { // more than what the kernel keeps of a socket
		text := make([]byte, 900)
		_, _ = rand.Read(text) // never fails
		body := map[string]any{"line": "Filler-2", "code": fmt.Sprint("X", i), "text": hex.EncodeToString(text)}
		if err := cl.post(t.Context(), "/api/v1/alarms", body, nil); err != nil {
			t.Fatal(err)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost/api/v1/backup", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := cl.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.ReadFull(resp.Body, make([]byte, 1)); err != nil || resp.ContentLength < 512<<10 {
		t.Fatalf("a copy of %d bytes: %v", resp.ContentLength, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- r.stop() }()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		resp.Body.Close()
		t.Error("the agent waits for who does not take the backup")
	}
	if _, err := io.Copy(io.Discard, resp.Body); err == nil {
		t.Error("a copy that was broken off looks whole")
	}
}

// The service manager gives a stop 40 s; a longer grace has to be asked for, or
// a diagnosis that may still end is killed and counts as cut off.
func TestStopAsksTheServiceManagerForItsGrace(t *testing.T) {
	r := newRig(t)
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(r.dir, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	t.Setenv("NOTIFY_SOCKET", filepath.Join(r.dir, "notify"))
	r.file("config.toml", strings.Replace(r.text(), `"1s"`, `"5m"`, 1))
	if err := r.start().stop(); err != nil {
		t.Fatal(err)
	}
	for buf := make([]byte, 1<<10); ; {
		n, err := manager.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		if said := string(buf[:n]); strings.HasPrefix(said, "STOPPING=1") {
			if !strings.Contains(said, "\nEXTEND_TIMEOUT_USEC=330000000") {
				t.Errorf("said %q", said)
			}
			return
		}
	}
}
