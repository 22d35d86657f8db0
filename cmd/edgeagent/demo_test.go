package main

import (
	"context"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
)

// command runs the command line beside the test until it is stopped.
func command(t *testing.T, args ...string) (out *syncBuffer, stop func() (code int, errOut string)) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	out = &syncBuffer{}
	var errOut syncBuffer
	ended := make(chan int, 1)
	go func() { ended <- mainRun(ctx, args, strings.NewReader(""), out, &errOut) }()
	return out, func() (int, string) { cancel(); return <-ended, errOut.String() }
}

var pageURL = regexp.MustCompile(`http://127\.0\.0\.1:\d+`)

// A demo needs no file: the binary carries the reference.
func TestDemo(t *testing.T) {
	r := newRig(t)
	t.Chdir(r.dir)
	if err := os.Remove(r.path); err != nil {
		t.Fatal(err)
	}
	t.Setenv("EDGEAGENT_CONFIG", "/nonexistent/config.toml")
	out, stop := command(t, "demo", "--data", "d")
	eventually(t, "the page's URL is printed", func() bool { return pageURL.MatchString(out.String()) })
	url := pageURL.FindString(out.String())
	eventually(t, "every simulated device was tried", func() bool { status, _ := fetch(t, url+"/readyz"); return status == http.StatusOK })
	var body string
	eventually(t, "every simulated device answers", func() bool { // one that did not at first is asked again
		_, body = fetch(t, url+"/api/v1/status")
		return strings.Count(body, `"polling"`) == 3
	})
	if strings.Contains(body, "api.openai.com") {
		t.Errorf("it would ask others: %s", body)
	}
	if code, errOut := stop(); code != exitOK {
		t.Errorf("exit %d: %s", code, errOut)
	}
	if _, err := os.Stat("d/edgeagent.db"); err != nil {
		t.Errorf("the data is not where it was asked for: %v", err)
	}
}

func fetch(t *testing.T, url string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(data)
}

// sim and run in two processes' worth of commands, as CI would use them.
func TestSimAndRun(t *testing.T) {
	addr := closedPort(t)
	r := newRig(t, strings.Replace(deviceAt("filler", addr), "timeout", "sim = true\ntimeout", 1))
	plant, stopPlant := command(t, "sim", "-c", r.path)
	eventually(t, "the plant serves", func() bool { return strings.Contains(plant.String(), "filler on "+addr) })
	if _, errOut, code := r.run("sim"); code != exitFailed || !strings.Contains(errOut, addr) {
		t.Errorf("a second plant on the same port: exit %d: %s", code, errOut)
	}
	_, stopAgent := command(t, "run", "-c", r.path)
	eventually(t, "the agent reads it", func() bool {
		out, _, code := r.run("devices", "list")
		return code == exitOK && strings.Contains(out, "polling")
	})
	watched, stopWatch := command(t, "tags", "watch", "-c", r.path)
	eventually(t, "a value is shown", func() bool { return strings.Contains(watched.String(), "filler.level") })
	if code, errOut := stopWatch(); code != exitOK {
		t.Errorf("watch: exit %d: %s", code, errOut)
	}
	if _, errOut, code := r.run("run"); code != exitFailed || !strings.Contains(errOut, "another agent answers") {
		t.Errorf("a second agent: exit %d: %s", code, errOut)
	}
	for what, stop := range map[string]func() (int, string){"run": stopAgent, "sim": stopPlant} {
		if code, errOut := stop(); code != exitOK {
			t.Errorf("%s: exit %d: %s", what, code, errOut)
		}
	}
}
