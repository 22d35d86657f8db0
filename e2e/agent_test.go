package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// agent is one running edgeagent with its configuration and data directory.
type agent struct {
	t      *testing.T
	dir    string
	prefix []string // what runs it: "ip netns exec NS", an emulator
	http   *http.Client

	mu  sync.Mutex
	cmd *exec.Cmd
	log lockedBuffer
}

// lockedBuffer collects the output of a process.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// newAgent prepares an agent with a configuration; start runs it.
func newAgent(t *testing.T, config string) *agent {
	t.Helper()
	a := &agent{t: t, dir: t.TempDir()}
	a.writeConfig(config)
	socket := filepath.Join(a.dir, "data", "edgeagent.sock")
	a.http = &http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		},
	}}
	t.Cleanup(func() {
		a.stop()
		if t.Failed() {
			t.Logf("agent's log:\n%s", tail(a.log.String(), 6000))
		}
	})
	return a
}

func tail(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return "…" + s[len(s)-n:]
}

func (a *agent) config() string { return filepath.Join(a.dir, "config.toml") }

func (a *agent) writeConfig(text string) {
	a.t.Helper()
	if err := os.WriteFile(a.config(), []byte(text), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

// write puts a file beside the configuration.
func (a *agent) write(name, text string) {
	a.t.Helper()
	if err := os.WriteFile(filepath.Join(a.dir, name), []byte(text), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

// nextTry returns when a device that is not being read is tried again.
func (a *agent) nextTry(device string) time.Time {
	if at := a.device(device).NextTryAt; at != nil {
		return *at
	}
	return time.Now()
}

// start runs the agent and waits until its socket answers.
func (a *agent) start() {
	a.t.Helper()
	a.launch("run", "-c", a.config())
	a.eventually(30*time.Second, "the agent is up", func() bool {
		var s statusDoc
		return a.get("/api/v1/status", &s) == nil && s.Storage.State != "checking"
	})
}

func (a *agent) launch(args ...string) { a.launchBinary(edgeagentBin, args...) }

func (a *agent) launchBinary(bin string, args ...string) {
	a.t.Helper()
	argv := append(append(append([]string{}, a.prefix...), bin), args...)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = a.dir
	cmd.Stdout, cmd.Stderr = &a.log, &a.log
	cmd.Env = append(os.Environ(), "E2E_KEY=sk-test", "NO_COLOR=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		a.t.Fatalf("start agent: %v", err)
	}
	a.mu.Lock()
	a.cmd = cmd
	a.mu.Unlock()
}

func (a *agent) pid() int { return a.cmd.Process.Pid }

// kill is a power cut for the process.
func (a *agent) kill() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.cmd == nil {
		return
	}
	_ = syscall.Kill(-a.cmd.Process.Pid, syscall.SIGKILL)
	_ = a.cmd.Wait()
	a.cmd = nil
}

// stop asks nicely and returns how the agent ended.
func (a *agent) stop() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.cmd == nil {
		return nil
	}
	_ = a.cmd.Process.Signal(syscall.SIGTERM)
	timer := time.AfterFunc(30*time.Second, func() { _ = syscall.Kill(-a.cmd.Process.Pid, syscall.SIGKILL) })
	defer timer.Stop()
	err := a.cmd.Wait()
	a.cmd = nil
	return err
}

func (a *agent) get(path string, v any) error { return a.do(http.MethodGet, path, nil, nil, v) }

func (a *agent) do(method, path string, header map[string]string, body, v any) error {
	var r io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return err
		}
		r = bytes.NewReader(data)
	}
	req, err := http.NewRequest(method, "http://localhost"+path, r)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	for k, s := range header {
		req.Header.Set(k, s)
	}
	resp, err := a.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %d %s", method, path, resp.StatusCode, data)
	}
	if v == nil {
		return nil
	}
	return json.Unmarshal(data, v)
}

// The shapes of the contract, read with eyes of their own: only what the tests
// look at.
type (
	note struct{ Code, Text string }

	statusDoc struct {
		Agent    struct{ ID, Site, Version, Epoch string }
		Headline struct{ Level, Text string }
		Devices  []deviceDoc
		Alarms   struct{ Active, Unacked, Shelved int }
		Jobs     struct{ Pending, Running, Completed, Failed, Discarded int }
		Provider []providerDoc `json:"providers"`
		Upstream []upstreamDoc `json:"upstreams"`
		Spend    struct {
			TodayUSD float64 `json:"today_usd"`
		}
		Storage struct {
			FileBytes int64 `json:"file_bytes"`
			State     string
		}
	}
	deviceDoc struct {
		Name, State, Link, Error string
		Attempt                  int
		Gaps                     uint64
		NextTryAt                *time.Time `json:"next_try_at"`
		Tags                     struct{ Good, Uncertain, Bad int }
	}
	providerDoc struct {
		Name, Kind, Breaker, Hold, Error string
		LastOKAt                         *time.Time `json:"last_ok_at"`
		TokensPerSecond                  float64    `json:"tokens_per_second"`
		PromptTokensPerSecond            float64    `json:"prompt_tokens_per_second"`
		LoadS                            float64    `json:"load_s"`
		ContextTokens                    int        `json:"context_tokens"`
	}
	upstreamDoc struct {
		Name, State, Error string
		Backlog, Parked    int
		Confirmed          uint64
	}
	tagDoc struct {
		Device, Tag, Quality string
		Value                any
		Raw                  []uint16
		Reason               *note
		AgeS                 float64 `json:"age_s"`
	}
	alarmDoc struct {
		ID, Device, Line, Code, Text, State, Job string
		RaisedAt                                 time.Time `json:"raised_at"`
		Hint                                     *diagnosisDoc
		Observed                                 string
		Values                                   map[string]any
	}
	diagnosisDoc struct {
		Summary string
		Causes  []struct {
			Cause, Likelihood string
			Evidence, Sources []string
		}
		Checks       []string
		Unstructured string
		Grounded     struct{ Checked, Held int }
		By           struct {
			Provider, Kind, Model string
			WhyNotFirst           string `json:"why_not_first"`
		}
	}
	callDoc struct {
		Error             *note
		Provider, Outcome string
		Status            int
		CostUSD           float64 `json:"cost_usd"`
	}
	jobDoc struct {
		ID, State, Line      string
		Alarms               []string
		Attempts, Interrupts int
		CreatedAt            time.Time  `json:"created_at"`
		FinishedAt           *time.Time `json:"finished_at"`
		Diagnosis            *diagnosisDoc
		Calls                []callDoc
	}
)

func (a *agent) status() statusDoc {
	a.t.Helper()
	var s statusDoc
	if err := a.get("/api/v1/status", &s); err != nil {
		a.t.Fatalf("status: %v", err)
	}
	return s
}

func (a *agent) device(name string) deviceDoc {
	a.t.Helper()
	for _, d := range a.status().Devices {
		if d.Name == name {
			return d
		}
	}
	return deviceDoc{} // not yet: the agent is starting
}

func (a *agent) tags(device string) map[string]tagDoc {
	a.t.Helper()
	var answer struct{ Tags []tagDoc }
	if err := a.get("/api/v1/tags?device="+device, &answer); err != nil {
		a.t.Fatalf("tags: %v", err)
	}
	byName := map[string]tagDoc{}
	for _, d := range answer.Tags {
		byName[d.Tag] = d
	}
	return byName
}

func (a *agent) alarms(state string) []alarmDoc {
	a.t.Helper()
	var all []alarmDoc
	for after := ""; ; {
		var answer struct {
			Alarms []alarmDoc
			Next   string
		}
		if err := a.get("/api/v1/alarms?state="+state+"&limit=200&after="+after, &answer); err != nil {
			a.t.Fatalf("alarms: %v", err)
		}
		all = append(all, answer.Alarms...)
		if after = answer.Next; after == "" {
			return all
		}
	}
}

func (a *agent) job(id string) jobDoc {
	a.t.Helper()
	var j jobDoc
	if err := a.get("/api/v1/jobs/"+id, &j); err != nil {
		a.t.Fatalf("job: %v", err)
	}
	return j
}

// raise posts an alarm from outside and returns it as committed.
func (a *agent) raise(line, code, text, key string) (alarmDoc, error) {
	var d alarmDoc
	err := a.do(http.MethodPost, "/api/v1/alarms", map[string]string{"Idempotency-Key": key},
		map[string]any{"line": line, "code": code, "text": text, "priority": 2}, &d)
	return d, err
}

// diagnosed raises an alarm and waits for its job's end.
func (a *agent) diagnosed(line, code, text string, within time.Duration) jobDoc {
	a.t.Helper()
	d, err := a.raise(line, code, text, "")
	if err != nil {
		a.t.Fatalf("raise %s: %v", code, err)
	}
	return a.finished(d.ID, within)
}

func (a *agent) finished(alarm string, within time.Duration) jobDoc {
	a.t.Helper()
	var j jobDoc
	a.eventually(within, "the job of alarm "+alarm+" is finished", func() bool {
		var d alarmDoc
		if a.get("/api/v1/alarms/"+alarm, &d) != nil || d.Job == "" {
			return false
		}
		return a.get("/api/v1/jobs/"+d.Job, &j) == nil && (j.State == "completed" || j.State == "failed")
	})
	return j
}

// patience is how long anything is waited for at least. A wait ends with what it
// waits for: a long one costs a fault some time, a short one calls a busy machine,
// or one that stands still for seconds, a fault.
const patience = time.Minute

// eventually polls until ok, for the limit that a quiet machine needs or longer.
func (a *agent) eventually(limit time.Duration, what string, ok func() bool) {
	a.t.Helper()
	eventually(a.t, limit, what, ok)
}

func eventually(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	limit = max(limit, patience)
	deadline := time.Now().Add(limit)
	for tick := time.NewTicker(50 * time.Millisecond); ; <-tick.C {
		if ok() {
			tick.Stop()
			return
		}
		if time.Now().After(deadline) {
			tick.Stop()
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

// run executes one command of the edgeagentBin and returns its output and exit code.
func (a *agent) run(args ...string) (stdout, stderr string, code int) {
	a.t.Helper()
	argv := append(append(append([]string{}, a.prefix...), edgeagentBin), args...)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = a.dir
	var out, errOut strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errOut
	cmd.Env = append(os.Environ(), "NO_COLOR=1")
	err := cmd.Run()
	if err != nil && cmd.ProcessState == nil {
		a.t.Fatalf("run %v: %v", args, err)
	}
	return out.String(), errOut.String(), cmd.ProcessState.ExitCode()
}

func between(s, from, to string) string {
	_, rest, found := strings.Cut(s, from)
	if !found {
		return ""
	}
	inside, _, _ := strings.Cut(rest, to)
	return inside
}

// contains compares without case: a page may write its headings in capitals.
func contains(s, sub string) bool { return strings.Contains(strings.ToLower(s), strings.ToLower(sub)) }
