package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func writePassword(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Every policy in every mode, with a user.
func TestOPCUASecurity(t *testing.T) {
	p := startOPCUA(t)
	password := "  user = \"edge\"\n  password_file = \"" + writePassword(t, "correct horse") + "\"\n"
	for _, c := range [][2]string{
		{"None", "None"},
		{"Basic256Sha256", "Sign"}, {"Basic256Sha256", "SignAndEncrypt"},
		{"Aes128_Sha256_RsaOaep", "Sign"}, {"Aes128_Sha256_RsaOaep", "SignAndEncrypt"},
		{"Aes256_Sha256_RsaPss", "Sign"}, {"Aes256_Sha256_RsaPss", "SignAndEncrypt"},
	} {
		t.Run(c[0]+" "+c[1], func(t *testing.T) {
			user := password
			if c[0] == "None" {
				user = ""
			}
			a := newAgent(t, plan{devices: opcuaDevice(p.chaos.addr(), opcuaKeys(c[0], c[1], p.cert, user), "")}.toml(t))
			a.start()
			allGood(a, opcuaTags)
			wantOPCUAValues(t, a)
			before := a.tags("line1")["counter"].Value
			a.eventually(10*time.Second, "the counter counts", func() bool {
				now, known := a.tags("line1")["counter"].Value.(float64)
				return known && now != before
			})
		})
	}
	if n := len(p.logins()); n < 6 || slices.ContainsFunc(p.logins(), func(l string) bool { return l != "edge:accepted" }) {
		t.Errorf("logins: %v, want some of edge, all accepted", p.logins())
	}
}

// A server that is not the one we know learns neither user nor password; and a
// wrong password is tried once: accounts are locked after a few.
func TestOPCUARefusalsAreForGood(t *testing.T) {
	p := startOPCUA(t)
	other, _ := writeCertificate(t, t.TempDir(), "other", "urn:e2e:opcua")
	refused := func(user, password, cert, says string) *agent {
		login := fmt.Sprintf("  user = %q\n  password_file = %q\n", user, writePassword(t, password))
		a := newAgent(t, plan{devices: opcuaDevice(p.chaos.addr(), opcuaKeys("Basic256Sha256", "SignAndEncrypt", cert, login), `resume = "2s"`)}.toml(t))
		a.start()
		a.eventually(20*time.Second, "the device is stopped at once", func() bool {
			d := a.device("line1")
			return d.State == "stopped" && strings.Contains(d.Error, says)
		})
		return a
	}
	stranger := refused("careful", "correct horse", other, "certificate")
	wrong := refused("edge", "wrong", p.cert, "password")
	time.Sleep(5 * time.Second) // periods of resume: nothing may try by itself
	for _, a := range []*agent{stranger, wrong} {
		if d := a.device("line1"); d.State != "stopped" {
			t.Errorf("state %s, want stopped", d.State)
		}
		if n := len(a.alarms("active")); n != 1 {
			t.Errorf("%d alarms, want device_stopped", n)
		}
	}
	if out, _, code := wrong.run("doctor", "line1", "-c", wrong.config()); code != 0 || !strings.Contains(out, "refuses this user") {
		t.Errorf("doctor ended with %d and says\n%s", code, out)
	}
	if got := p.logins(); len(got) != 1 || got[0] != "edge:rejected" {
		t.Errorf("logins: %v, want one of edge that was rejected", got)
	}
}

// Keys in PKCS#8 and PKCS#1, and a user who is a certificate.
func TestOPCUAKeysLoad(t *testing.T) {
	p := startOPCUA(t)
	cert, pkcs8 := writeCertificate(t, t.TempDir(), "client", "urn:edgeagent:plant-a:gw-1")
	client := func(key string) string {
		return "  client_cert_file = \"" + cert + "\"\n  client_key_file = \"" + key + "\"\n"
	}
	for name, keys := range map[string]string{
		"PKCS#8":           client(pkcs8),
		"PKCS#1":           client(strings.TrimSuffix(pkcs8, ".key") + ".pkcs1.key"),
		"certificate user": "  user_cert_file = \"" + cert + "\"\n  user_key_file = \"" + pkcs8 + "\"\n",
	} {
		t.Run(name, func(t *testing.T) {
			a := newAgent(t, plan{devices: opcuaDevice(p.chaos.addr(), opcuaKeys("Basic256Sha256", "SignAndEncrypt", p.cert, keys), "")}.toml(t))
			before := p.sessions() // of agents whose connection was cut
			a.start()
			allGood(a, opcuaTags)
			wantOPCUAValues(t, a)
			if err := a.stop(); err != nil || p.sessions() > before {
				t.Errorf("the agent stopped with %v and leaves %d sessions, there were %d", err, p.sessions(), before)
			}
		})
	}
}
