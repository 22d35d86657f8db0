package e2e

import (
	"strings"
	"testing"
	"time"
)

// A file that breaks while the agent is down must not keep the gateway down:
// it starts with the configuration that was accepted last, and says so.
func TestFileBrokenWhileTheAgentIsDown(t *testing.T) {
	p := startLibmodbus(t)
	good := plan{devices: peerDevice("press", p.tap.addr(), "line-1", "")}.toml(t)
	a := newAgent(t, good)
	a.start()
	a.eventually(20*time.Second, "it polls", func() bool { return a.device("press").State == "polling" })
	if err := a.stop(); err != nil {
		t.Errorf("stop: %v", err)
	}

	a.writeConfig(strings.Replace(good, "scan = \"200ms\"", "scna = \"200ms\"", 1))
	if _, errOut, code := a.run("check", "-c", a.config()); code != 3 || !strings.Contains(errOut, `unknown key "scna"`) || !strings.Contains(errOut, "config.toml:") {
		t.Errorf("check: exit %d, %q", code, errOut)
	}
	a.start()
	a.eventually(20*time.Second, "it polls all the same", func() bool { return a.device("press").State == "polling" })
	if h := a.status().Headline; h.Level != "fault" || !strings.Contains(h.Text, "onfiguration") {
		t.Errorf("headline: %+v", h)
	}
	if _, _, code := a.run("status", "-c", a.config()); code != 4 {
		t.Errorf("status: exit %d, want 4", code)
	}

	// A reload of the broken file changes nothing and says why; of the mended
	// one it ends the fault.
	if _, errOut, code := a.run("reload", "-c", a.config()); code == 0 || !strings.Contains(errOut, "scna") {
		t.Errorf("reload of a broken file: exit %d, %q", code, errOut)
	}
	a.writeConfig(strings.Replace(good, "scan = \"200ms\"", "scan = \"300ms\"", 1))
	out, errOut, code := a.run("reload", "-c", a.config())
	if code != 0 || !strings.Contains(out, "scan") {
		t.Errorf("reload: exit %d, %q %q", code, out, errOut)
	}
	a.eventually(20*time.Second, "it polls with the new file", func() bool {
		return a.device("press").State == "polling" && a.status().Headline.Level == "ok"
	})
}

// Without any configuration to fall back on there is nothing to run.
func TestBrokenFileAtTheFirstStart(t *testing.T) {
	a := newAgent(t, "[agent]\nid = \"Not Allowed\"\nsiet = \"x\"\n")
	_, errOut, code := a.run("run", "-c", a.config())
	if code != 3 {
		t.Errorf("exit %d, want 3", code)
	}
	for _, want := range []string{"config.toml:2:", "config.toml:3:1: unknown key \"siet\"", "did you mean \"site\""} {
		if !strings.Contains(errOut, want) {
			t.Errorf("%q lacks %q", errOut, want)
		}
	}
}

// Exit codes are what scripts rest on.
func TestExitCodes(t *testing.T) {
	a := newAgent(t, plan{}.toml(t))
	cases := []struct {
		args []string
		want int
	}{
		{[]string{"version"}, 0}, {[]string{"check", "-c", a.config()}, 0}, {[]string{"frobnicate"}, 2}, {[]string{"check", "--no-such-flag"}, 2},
		{[]string{"alarms"}, 2}, {[]string{"alarms", "ack"}, 2}, {[]string{"check", "-c", "/nonexistent/config.toml"}, 3},
		{[]string{"status", "-c", a.config()}, 5}, {[]string{"tags", "list", "-c", a.config()}, 5}, {[]string{"completion", "bash"}, 0},
	}
	for _, c := range cases {
		if out, errOut, code := a.run(c.args...); code != c.want {
			t.Errorf("%v: exit %d, want %d\n%s%s", c.args, code, c.want, out, errOut)
		}
	}
}
