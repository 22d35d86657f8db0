package main

import (
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"edgeagent/config"
	"edgeagent/llm/llmtest"
)

func cloudProvider(kind, url, more string) string {
	return fmt.Sprintf("[[llm.provider]]\nname = %q\nkind = %q\nbase_url = %q\nmodel = \"cloud-1\"\napi_key_env = \"TEST_CLOUD_KEY\"\n%s\n", kind, kind, url, more)
}

func TestProbeOfEveryKind(t *testing.T) {
	t.Setenv("TEST_CLOUD_KEY", "sk-hush-hush")
	wires := []llmtest.Wire{llmtest.OpenAI, llmtest.Azure, llmtest.Anthropic}
	var parts []string
	var servers []*llmtest.Server
	for _, w := range wires {
		s := llmtest.NewServer(t, w)
		servers, parts = append(servers, s), append(parts, cloudProvider(w.Name, s.BaseURL(), ""))
	}
	r := newRig(t, parts...)
	got, errOut, code := r.probe()
	if code != exitOK || errOut != "" {
		t.Errorf("exit %d: %s", code, errOut)
	}
	for i, w := range wires {
		if !got[w.Name].OK || got[w.Name].Detail != "cloud-1" || servers[i].Probes() != 1 || len(servers[i].Asked()) != 0 {
			t.Errorf("%s: %+v, %d probes", w.Name, got[w.Name], servers[i].Probes())
		}
		servers[i].OnProbe(w.Refuse(http.StatusUnauthorized, "bad key sk-hush-hush"))
	}
	got, _, code = r.probe()
	for _, w := range wires {
		if p := got[w.Name]; p.OK || !strings.Contains(p.Error, "check the key") || strings.Contains(p.Error, "hush") {
			t.Errorf("%s: %+v", w.Name, p)
		}
	}
	if code != exitFailed {
		t.Errorf("exit %d", code)
	}
}

func TestWhatLeavesTheSite(t *testing.T) {
	far, near := "https://model.example", "http://127.0.0.1:8000/v1"
	for _, tt := range []struct {
		kind, url, proxy string
		want             bool
	}{
		{config.KindOpenAI, far, "", true}, {config.KindAzure, far, "", true}, {config.KindAnthropic, far, "", true},
		{config.KindOpenAI, near, "", false}, {config.KindAnthropic, near, "", false}, {config.KindOpenAI, near, "environment", false},
		{config.KindOpenAI, near, "http://proxy.example:3128", true},
		{config.KindOllama, "http://10.0.0.9:11434", "", false}, {config.KindOllama, "http://models.plant.example:11434", "", false},
		{config.KindOllama, "http://[fd00::9]:11434", "", false}, {config.KindOllama, "http://localhost:11434", "", false},
		{config.KindOllama, "http://93.184.216.34:11434", "", true}, {config.KindOllama, "https://ollama.com", "", true},
		{config.KindOllama, "http://10.0.0.9:11434", "http://proxy.example:3128", true},
	} {
		if got := outside(config.Provider{Kind: tt.kind, BaseURL: tt.url, Proxy: tt.proxy}); got != tt.want {
			t.Errorf("%s at %s through %q leaves the site: %v", tt.kind, tt.url, tt.proxy, got)
		}
	}
}

// Keys and the proxy's password are used, and are nowhere to be read: not in
// the log, on a page, in an answer of the API, nor in a file.
func TestSecretsAreNowhere(t *testing.T) {
	t.Setenv("TEST_CLOUD_KEY", "sk-hush-hush")
	t.Setenv("TEST_PROXY_PW", "hunter-hush")
	var proxied atomic.Bool
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		proxied.Store(r.Header.Get("Proxy-Authorization") != "")
		http.Error(w, "no tunnel for sk-hush-hush and hunter-hush", http.StatusProxyAuthRequired)
	}))
	t.Cleanup(proxy.Close)
	echo := llmtest.NewServer(t, llmtest.Anthropic, llmtest.Anthropic.Refuse(http.StatusUnauthorized, "bad key sk-hush-hush"))
	echo.OnProbe(llmtest.Anthropic.Refuse(http.StatusUnauthorized, "bad key sk-hush-hush"))
	r := newRig(t, cloudProvider("anthropic", echo.BaseURL(), ""),
		cloudProvider("openai", "https://model.invalid/v1", fmt.Sprintf("proxy = %q\nproxy_user = \"gw\"\nproxy_password_env = \"TEST_PROXY_PW\"", proxy.URL)),
		startPanel(t).device("filler")).start()
	r.outside("SCADA-7")
	var shown strings.Builder
	eventually(t, "both failures on a page", func() bool {
		return strings.Contains(fetchAll(t, r, &shown), "bad key [key]") && strings.Contains(shown.String(), "check proxy_user")
	})
	for _, args := range [][]string{{"check"}, {"check", "--json"}, {"status"}, {"status", "--json"}, {"jobs", "export"}} {
		out, errOut, _ := r.run(args...)
		shown.WriteString(out + errOut)
	}
	shown.WriteString(r.log.String() + readAll(t, r.dir))
	if strings.Contains(shown.String(), "hush") {
		at := strings.Index(shown.String(), "hush")
		t.Errorf("a secret is shown: …%q", shown.String()[max(0, at-200):at+10])
	}
	if !proxied.Load() {
		t.Error("the proxy was never told who asks")
	}
}

// fetchAll adds every page to shown and returns it.
func fetchAll(t *testing.T, r *rig, shown *strings.Builder) string {
	t.Helper()
	for _, path := range []string{"/", "/system", "/jobs", "/alarms", "/metrics", "/api/v1/status", "/api/v1/jobs"} {
		_, body := fetch(t, r.page+path)
		shown.WriteString(body)
	}
	return shown.String()
}

// readAll returns everything in a folder's files but the sockets.
func readAll(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		all.Write(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}

// What is configured reaches the client; stall_timeout is never longer than the attempt.
func TestProxyIsReadFromTheConfiguration(t *testing.T) {
	r := newRig(t, cloudProvider("azure", "https://x.openai.azure.com", "proxy = \"http://127.0.0.1:3128\"\nclient_cert_file = \"gw.crt\"\nclient_key_file = \"gw.key\"\nfirst_token_timeout = \"2s\"\ntimeout = \"3s\""))
	p := r.load().LLM.Providers[0]
	o := transport(p)
	if o.Proxy != "http://127.0.0.1:3128" || filepath.Base(o.ClientCertFile) != "gw.crt" || filepath.Base(o.ClientKeyFile) != "gw.key" || o.ProxyPassword != nil {
		t.Errorf("transport = %+v", o)
	}
	if p.APIVersion != "2024-10-21" || p.FirstTokenTimeout != 2*time.Second || p.StallTimeout != 3*time.Second {
		t.Errorf("provider = %+v", p)
	}
}
