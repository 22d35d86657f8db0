package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"edgeagent"
	"edgeagent/config"
)

func TestExitCodes(t *testing.T) {
	r := newRig(t, startPanel(t).device("filler"))
	broken := newRig(t, "adress = 1\n")
	for _, c := range []struct {
		want int
		args []string
	}{
		{exitOK, []string{"version"}},
		{exitOK, []string{"version", "--json"}},
		{exitOK, []string{"--help"}},
		{exitOK, []string{"completion", "bash"}},
		{exitOK, []string{"check", "-c", r.path}},
		{exitUsage, []string{"frobnicate"}},
		{exitUsage, []string{"check", "--no-such-flag"}},
		{exitUsage, []string{"check", "extra"}},
		{exitUsage, []string{"alarms"}},
		{exitUsage, []string{"alarms", "frobnicate"}},
		{exitUsage, []string{"alarms", "ack"}},
		{exitUsage, []string{"alarms", "shelve", "ID", "-c", r.path}},
		{exitUsage, []string{"jobs", "discard", "ID"}},
		{exitUsage, []string{"jobs", "retry"}},
		{exitUsage, []string{"devices", "resume"}},
		{exitUsage, []string{"devices", "resume", "filler", "--all"}},
		{exitUsage, []string{"tags", "read"}},
		{exitUsage, []string{"tags", "read", "a", "b", "c"}},
		{exitUsage, []string{"tags", "watch", "a", "b"}},
		{exitConfig, []string{"check", "-c", broken.path}},
		{exitConfig, []string{"run", "-c", broken.path}},
		{exitConfig, []string{"check", "-c", "/nonexistent/config.toml"}},
		{exitFailed, []string{"status", "-c", broken.path}}, // 3 would be "attention needed"
		{exitFailed, []string{"sim", "-c", r.path}},
		{exitFailed, []string{checkCommand, "/nonexistent/file"}},
		{exitUnreachable, []string{"status", "-c", r.path}},
		{exitUnreachable, []string{"status", "--json", "-c", r.path}},
		{exitUnreachable, []string{"tags", "list", "-c", r.path}},
		{exitUnreachable, []string{"tags", "watch", "-c", r.path}},
		{exitUnreachable, []string{"alarms", "ack", "ID", "-c", r.path}},
		{exitUnreachable, []string{"jobs", "retry", "A", "B", "-c", r.path}},
		{exitUnreachable, []string{"devices", "resume", "filler", "-c", r.path}},
		{exitUnreachable, []string{"reload", "-c", r.path}},
	} {
		out, errOut, code := runCommand(t, c.args...)
		if code != c.want {
			t.Errorf("%v: exit %d, want %d\n%s%s", c.args, code, c.want, out, errOut)
		}
		if code != exitOK && (errOut == "" || out != "") {
			t.Errorf("%v: an error belongs on standard error alone: %q, %q", c.args, out, errOut)
		}
	}
}

func TestErrorOfAnUnreachableAgentIsOneLine(t *testing.T) {
	r := newRig(t)
	_, errOut, _ := r.run("status")
	if strings.Count(errOut, "\n") != 1 || !strings.Contains(errOut, r.load().Agent.Socket) || !strings.Contains(errOut, "is it running") {
		t.Errorf("got %q", errOut)
	}
}

// fakeAgent answers on the rig's socket.
func (r *rig) fakeAgent(handler http.HandlerFunc) {
	r.t.Helper()
	l, err := net.Listen("unix", r.load().Agent.Socket)
	if err != nil {
		r.t.Fatal(err)
	}
	ended := make(chan struct{})
	srv := &http.Server{Handler: handler}
	go func() { defer close(ended); _ = srv.Serve(l) }()
	r.t.Cleanup(func() { _ = srv.Close(); <-ended })
}

func TestStatusExitCodes(t *testing.T) {
	for level, want := range map[edgeagent.Level]int{
		edgeagent.LevelOK: exitOK, edgeagent.LevelDegraded: exitOK, edgeagent.LevelAttention: exitConfig, edgeagent.LevelFault: exitFault,
	} {
		r := newRig(t)
		if err := config.Accept(r.load()); err != nil { // its folder, for the socket
			t.Fatal(err)
		}
		r.fakeAgent(func(w http.ResponseWriter, _ *http.Request) {
			_ = json.NewEncoder(w).Encode(edgeagent.Status{Headline: edgeagent.Headline{Level: level, Text: "so it is"}})
		})
		for _, args := range [][]string{{"status"}, {"status", "--json"}} {
			out, errOut, code := r.run(args...)
			if code != want || !strings.Contains(out, "so it is") || errOut != "" {
				t.Errorf("%s: exit %d, want %d\n%s%s", level, code, want, out, errOut)
			}
		}
	}
}

func TestClientErrors(t *testing.T) {
	for _, c := range []struct {
		name, body, want string
		status, code     int
	}{
		{"the API's own words", `{"error":{"code":"conflict","message":"alarm is shelved; unshelve it"}}`, "edgeagent: alarm is shelved; unshelve it\n", 409, exitFailed},
		{"no words", `gone`, "the agent answered 502 Bad Gateway", 502, exitFailed},
		{"an empty error", `{"error":{}}`, "the agent answered 404 Not Found", 404, exitFailed},
		{"words that steer", "{\"error\":{\"message\":\"line\\u001b[2J\"}}", "line\ufffd[2J", 400, exitFailed},
		{"no JSON", `<html>`, "read the agent's answer to GET /api/v1/devices", 200, exitFailed},
	} {
		r := newRig(t)
		r.fakeAgent(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(c.status); fmt.Fprint(w, c.body) })
		out, errOut, code := r.run("devices", "list")
		if code != c.code || out != "" || !strings.Contains(errOut, c.want) {
			t.Errorf("%s: exit %d\n%s%s", c.name, code, out, errOut)
		}
	}
}

// An agent that dies in the middle of an answer is not reachable either.
func TestClientOfACutAnswer(t *testing.T) {
	r := newRig(t)
	r.fakeAgent(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		fmt.Fprint(w, `{"devices":[`)
		panic(http.ErrAbortHandler)
	})
	if _, errOut, code := r.run("devices", "list"); code != exitUnreachable {
		t.Errorf("exit %d: %s", code, errOut)
	}
}

// A disk that hangs keeps an acknowledgement waiting: the agent is there, and does it
// as soon as it can.
func TestClientOfAnAgentThatIsLate(t *testing.T) {
	r := newRig(t)
	r.fakeAgent(func(_ http.ResponseWriter, req *http.Request) {
		_, _ = io.Copy(io.Discard, req.Body)
		<-req.Context().Done()
	})
	cl := clientOn(r.load().Agent.Socket)
	cl.http.Timeout = 50 * time.Millisecond
	err := cl.post(t.Context(), "/api/v1/alarms/X/ack", nil, nil)
	if exitCode(err) != exitUnreachable || !strings.Contains(err.Error(), "may still do") || strings.Contains(err.Error(), "no agent") {
		t.Errorf("exit %d: %v", exitCode(err), err)
	}
}

// The commands that do many things do what they can, and say what they could not.
func TestSomeOfManyRefused(t *testing.T) {
	r := newRig(t)
	r.fakeAgent(func(w http.ResponseWriter, req *http.Request) {
		if strings.Contains(req.URL.Path, "bad") {
			w.WriteHeader(http.StatusConflict)
			fmt.Fprint(w, `{"error":{"message":"it is running"}}`)
			return
		}
		fmt.Fprint(w, `{"devices":[{"name":"a","state":"stopped","line":"L1"},{"name":"bad","state":"stopped","line":"L1"},{"name":"c","state":"polling","line":"L1"},
			{"name":"d","state":"stopped","line":"L2"}]}`)
	})
	for _, c := range []struct {
		want, wantErr string
		args          []string
	}{
		{"A retry\nB retry\n", "1 of 3 jobs refused", []string{"jobs", "retry", "A", "bad", "B"}},
		{"a resumed\n", "1 of 2 devices were not resumed", []string{"devices", "resume", "--line", "L1"}},
		{"a resumed\nd resumed\n", "1 of 3 devices were not resumed", []string{"devices", "resume", "--all"}},
	} {
		out, errOut, code := r.run(c.args...)
		if code != exitFailed || out != c.want || !strings.Contains(errOut, c.wantErr) || !strings.Contains(errOut, "it is running") {
			t.Errorf("%v: exit %d\n%s%s", c.args, code, out, errOut)
		}
	}
}

func TestIsLoopback(t *testing.T) {
	for url, want := range map[string]bool{
		"http://127.0.0.1:11434": true, "http://localhost/v1": true, "http://[::1]:80": true, "http://127.9.9.9": true,
		"https://api.openai.com/v1": false, "http://127.0.0.1@evil.example": false, "http://localhost.evil.example": false,
		"http://10.0.0.1": false, "http://0.0.0.0": false, "": false, "::": false, "http://127.0.0.1.evil.example": false,
	} {
		if got := isLoopback(url); got != want {
			t.Errorf("isLoopback(%q) = %v", url, got)
		}
	}
}

// Nothing of a demo leaves the machine, whatever the configuration says.
func TestDemoStaysInside(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	r := newRig(t, syncTo("https://ingest.example/events"), openaiProvider("https://api.openai.com/v1"),
		"[[llm.provider]]\nname = \"near\"\nkind = \"openai\"\nbase_url = \"http://127.0.0.1:9\"\nmodel = \"m\"\n",
		"[[llm.provider]]\nname = \"behind\"\nkind = \"openai\"\nbase_url = \"http://127.0.0.1:9\"\nproxy = \"http://192.0.2.9:3128\"\nmodel = \"m\"\n",
		"[[llm.provider]]\nname = \"far\"\nkind = \"ollama\"\nbase_url = \"http://10.0.0.9:11434\"\nmodel = \"m\"\n",
		deviceAt("real", "192.0.2.1:502"), strings.Replace(deviceAt("filler", "127.0.0.1:15999"), "timeout", "sim = true\ntimeout", 1))
	cfg := r.load()
	cfg.Status.Listen = taken.Addr().String()
	stayInside(t.Context(), cfg)
	var kept []string
	for _, p := range cfg.LLM.Providers {
		kept = append(kept, p.Name)
	}
	if got := strings.Join(kept, " "); got != "near runbook" || len(cfg.Sync) != 0 {
		t.Errorf("kept the providers %s and %d upstreams", got, len(cfg.Sync))
	}
	if len(cfg.Devices) != 1 || cfg.Devices[0].Name != "filler" {
		t.Errorf("kept the devices %+v", cfg.Devices)
	}
	if cfg.Status.Listen != "127.0.0.1:0" {
		t.Errorf("the page stays on a taken port, %s", cfg.Status.Listen)
	}
}

// A mode of a line may hang on a machine that the demo does not have.
func TestDemoOfALineWithAMachineThatIsNotSimulated(t *testing.T) {
	r := newRig(t, `
[[line]]
name = "Filler-2"
  [[line.mode]]
  name = "cip"
  when = "real.level == 30"
  [[line.mode]]
  name = "full"
  when = "filler.level > 90"
`, deviceAt("real", "192.0.2.1:502"), strings.Replace(deviceAt("filler", "127.0.0.1:15999"), "timeout", "sim = true\ntimeout", 1))
	cfg := r.load()
	stayInside(t.Context(), cfg)
	all, lines := plainTags(cfg)
	if _, err := newEngine(cfg, all, lines); err != nil {
		t.Fatal(err)
	}
	if m := cfg.Lines[0].Modes; len(m) != 1 || m[0].Name != "full" {
		t.Errorf("kept the modes %v", m)
	}
}

func TestDemoKeepsAFreePort(t *testing.T) {
	cfg := newRig(t).load()
	cfg.Status.Listen = closedPort(t)
	want := cfg.Status.Listen
	stayInside(t.Context(), cfg)
	if cfg.Status.Listen != want {
		t.Errorf("the page moved from %s to %s", want, cfg.Status.Listen)
	}
}

func TestErrorsKeepTheirCode(t *testing.T) {
	invalid := &config.Invalid{Problems: []config.Problem{{File: "c", Line: 1, Col: 1, Text: "x"}}}
	for _, c := range []struct {
		err  error
		want int
	}{
		{errors.New("x"), exitFailed}, {invalid, exitConfig}, {fmt.Errorf("load: %w", invalid), exitConfig},
		{usagef("x"), exitUsage}, {fmt.Errorf("a: %w", usagef("x")), exitUsage}, {&exitError{code: exitFault}, exitFault},
		{errors.New(`required flag(s) "x" not set`), exitUsage},
	} {
		if got := exitCode(c.err); got != c.want {
			t.Errorf("%v: exit %d, want %d", c.err, got, c.want)
		}
	}
	if got := prefixed(invalid, invalid.Error()); got != "c:1:1: x" {
		t.Errorf("an editor cannot jump to %q", got)
	}
}
