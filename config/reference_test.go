package config

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"edgeagent"
)

func reference(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("../config.toml")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

var switchedOff = regexp.MustCompile(`(?m)^#( *(?:[a-z_]+ = |\[))`)

func TestReferenceIsAccepted(t *testing.T) {
	c, err := Load("../config.toml", checks)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Devices) != 3 || len(c.LLM.Providers) != 3 || len(c.Sync) != 0 {
		t.Errorf("%d devices, %d providers, %d upstreams; want 3, 3, 0", len(c.Devices), len(c.LLM.Providers), len(c.Sync))
	}
	level := c.Devices[0].Tags[3]
	if level.ID() != "filler.level" || level.Order != edgeagent.OrderCDAB || level.StaleAfter != 3*time.Second {
		t.Errorf("tag 3 of the filler is %s, order %s, stale after %s", level.ID(), level.Order, level.StaleAfter)
	}
	if a := c.Devices[0].Alarms[0]; a.Area != "Filling" || a.OnDelay != 2*time.Second || a.Text != "Level sensor unstable during fill cycle" {
		t.Errorf("alarm is %+v", a)
	}
}

// switchedOn returns the reference with its examples switched on, and the files
// that they name.
func switchedOn(t *testing.T) *Config {
	t.Helper()
	t.Setenv("RUNTIME_DIRECTORY", "")
	text := switchedOff.ReplaceAllString(reference(t), "$1")
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{
		"config.toml":        text,
		"devices/mixer.toml": "[[device]]\nname = \"mixer\"\nline = \"Filler-2\"\nurl = \"modbus-tcp://192.168.10.50\"\n",
		"tags/filler.csv":    strings.Join(TagColumns, ",") + "\nspeed,holding:120,uint16\n",
		"alm1.csv":           "bit,code,priority,active_in,text_en,text_de\n3,L3,2,,Ribbon out,Farbband leer\n",
		"faults.csv":         "value;code;priority;active_in;text_en;text_de\n12;L12;;unknown;Head too hot;Kopf zu heiß\n",
		"pumps.csv":          "name,line,url,unit,base,no\np1,Filler-2,modbus-tcp://192.168.10.41,1,100,1\np2,Filler-2,modbus-tcp://192.168.10.41,2,200,2\n",
	} {
		if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
			t.Fatal(err)
		}
		overwrite(t, name, text)
	}
	c, err := Load("config.toml", checks)
	if err != nil {
		t.Fatalf("refused:\n%v", err)
	}
	return c
}

// TestReferenceSwitchedOffSettings switches on what stands behind a # and
// validates that too: an example that is refused is worse than none.
func TestReferenceSwitchedOffSettings(t *testing.T) {
	text := switchedOff.ReplaceAllString(reference(t), "$1")
	c := switchedOn(t)
	if len(c.Devices) != 10 || c.Devices[4].Name != "labeller" || len(c.Devices[4].Words[0].Rows) != 1 {
		t.Errorf("%d devices, the fifth is %+v", len(c.Devices), c.Devices[4])
	}
	if len(c.Sync) != 1 || c.Sync[0].Name != "historian" || !c.Sync[0].Token.IsSet() {
		t.Errorf("upstreams are %+v, want the historian with a token", c.Sync)
	}
	if left := regexp.MustCompile(`(?m)^#[^ \n].*`).FindString(text); left != "" {
		t.Errorf("not switched on: %s", left)
	}
}

// TestReferenceStatesTheDefaults leaves out every key that the reference says
// has a default, and expects the same configuration.
func TestReferenceStatesTheDefaults(t *testing.T) {
	def := mustParse(t, minimal+`
[[line]]
name = "Filler-2"
[[device]]
name = "filler"
line = "Filler-2"
url = "modbus-tcp://127.0.0.1:15021"
[[llm.provider]]
name = "cloud"
kind = "openai"
model = "gpt-4o-mini"
[[llm.provider]]
name = "azure"
kind = "azure"
base_url = "https://NAME.openai.azure.com"
model = "line-diagnosis"
[[llm.provider]]
name = "claude"
kind = "anthropic"
model = "claude-haiku-4-5"
[[llm.provider]]
name = "local"
kind = "ollama"
model = "qwen2.5:1.5b"
[[sync]]
name = "historian"
url = "https://ingest.example/events"
`)
	ref := switchedOn(t)
	dev, want := def.Devices[0], ref.Devices[0]
	dev.Heartbeat = want.Heartbeat
	dev.NeverRead, dev.Sim, dev.Tags, dev.Alarms, dev.StaleAfter = want.NeverRead, want.Sim, want.Tags, want.Alarms, want.StaleAfter
	ref.LLM.Providers[0].Price = Price{}
	for i := range ref.LLM.Providers { // what has no default stands there as an example
		p, d := &ref.LLM.Providers[i], def.LLM.Providers[i]
		p.APIKey, p.CAFile, p.ClientCertFile, p.ClientKeyFile = d.APIKey, "", "", ""
		p.Proxy, p.ProxyUser, p.ProxyPassword = "", "", d.ProxyPassword
	}
	ref.LLM.Redact, ref.LLM.Forbidden, ref.LLM.SafetyNames, ref.Sync[0].CAFile, ref.Sync[0].Token = nil, nil, nil, "", def.Sync[0].Token
	for name, pair := range map[string][2]any{
		"log": {def.Log, ref.Log}, "queue": {def.Queue, ref.Queue}, "alarms": {def.Alarms, ref.Alarms},
		"device": {dev, want}, "llm": {def.LLM, ref.LLM}, "sync": {def.Sync, ref.Sync},
		"listen": {def.Status.Listen, ref.Status.Listen}, "grace": {def.Agent.ShutdownGrace, ref.Agent.ShutdownGrace},
	} {
		if !reflect.DeepEqual(pair[0], pair[1]) {
			t.Errorf("%s: defaults are\n%+v\nthe reference says\n%+v", name, pair[0], pair[1])
		}
	}
}

// TestReferenceExplainsEveryKey looks for each key that the reader asks for.
func TestReferenceExplainsEveryKey(t *testing.T) {
	text := reference(t)
	p := &problems{}
	root, _ := build(p, p.open(newSource("config.toml", ".", []byte(switchedOff.ReplaceAllString(text, "$1"))), ""))
	r := &reader{problems: p, checks: checks, dir: "."}
	r.config(root)
	for _, s := range r.sections {
		for _, key := range s.asked {
			if !regexp.MustCompile(`\b` + key + `\b`).MatchString(text) {
				t.Errorf("key %q of %s is not in config.toml", key, s.t.title)
			}
		}
	}
}

// Who commissions a plant asks no model before its alarms are right: every table
// that can say so is named where that is written.
func TestCommissioningNamesWhatAsksNoModel(t *testing.T) {
	guide, err := os.ReadFile("../docs/commissioning.md")
	if err != nil {
		t.Fatal(err)
	}
	table, found := "", 0
	for line := range strings.Lines(reference(t)) {
		line = strings.TrimLeft(line, "# ")
		if strings.HasPrefix(line, "[") {
			table = strings.Fields(line)[0]
		}
		if strings.HasPrefix(line, "diagnose = ") {
			if found++; !strings.Contains(string(guide), "`"+table+"`") {
				t.Errorf("%s is not told of", table)
			}
		}
	}
	if found < 3 {
		t.Errorf("only %d tables found", found)
	}
}
