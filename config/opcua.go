package config

import (
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"edgeagent"
)

const (
	securityNone = "None"
	modeEncrypt  = "SignAndEncrypt"
)

// opcua reads how the session with a server is secured. That it is not has to
// be written.
func (s *section) opcua(dataDir string) *OPCUA {
	policies := []string{securityNone, "Basic256Sha256", "Aes128_Sha256_RsaOaep", "Aes256_Sha256_RsaPss"}
	t := s.table("opcua")
	if !s.set("opcua") {
		s.missing("opcua", `{ security = "Basic256Sha256", server_cert_file = "pki/server.der" }`)
		t.void = true
	}
	o := &OPCUA{
		Security:       t.choice("security", policies),
		ServerCertFile: t.path("server_cert_file", ""),
		ClientCertFile: t.path("client_cert_file", ""),
		ClientKeyFile:  t.path("client_key_file", ""),
		User:           t.text("user", ""),
		Password:       t.secret("password"),
		UserCertFile:   t.path("user_cert_file", ""),
		UserKeyFile:    t.path("user_key_file", ""),
		Watchdog:       t.duration("watchdog", 3*time.Second, 500*time.Millisecond, time.Minute),
	}
	modes := []string{modeEncrypt, "Sign", securityNone}
	if o.Security == securityNone {
		modes = []string{securityNone, "Sign", modeEncrypt}
	}
	o.Mode = t.choice("mode", modes)
	if !t.set("security") {
		t.missing("security", `"Basic256Sha256"`)
		return o
	}
	if t.good("security") {
		t.channel(o, dataDir)
	}
	t.user(o)
	return o
}

// channel books what does not fit together in the security of the channel, and
// fills in where the agent's own certificate is.
func (s *section) channel(o *OPCUA, dataDir string) {
	if o.Security == securityNone {
		if o.Mode != securityNone && s.good("mode") {
			s.fail("mode", `mode %q needs a security; write security = "Basic256Sha256", or mode = "None"`, o.Mode)
		}
		for _, key := range []string{"server_cert_file", "client_cert_file", "client_key_file"} {
			if s.set(key) {
				s.fail(key, `%s has no meaning for security = "None"; remove it, or write security = "Basic256Sha256"`, key)
			}
		}
		return
	}
	if o.Mode == securityNone && s.good("mode") {
		s.fail("mode", `mode "None" does not fit security = %q; write "Sign" or "SignAndEncrypt", or security = "None"`, o.Security)
	}
	if !s.set("server_cert_file") {
		s.missing("server_cert_file", `"pki/server.der"`)
	}
	s.pairOfFiles("client_cert_file", "client_key_file")
	if o.ClientCertFile == "" && o.ClientKeyFile == "" {
		o.ClientCertFile, o.ClientKeyFile = ownCert(dataDir), ownKey(dataDir)
	}
}

// ownCert and ownKey are where the agent's own certificate is made if none is
// named: in the data directory, because the file's own may be read-only.
func ownCert(dataDir string) string { return filepath.Join(dataDir, "opcua", "own.der") }

func ownKey(dataDir string) string { return filepath.Join(dataDir, "opcua", "own.pem") }

// user books what does not fit together in how the agent signs in.
func (s *section) user(o *OPCUA) {
	secret := "password_file"
	if s.set("password_env") {
		secret = "password_env"
	}
	switch {
	case s.set("user") && o.User == "" && s.good("user"):
		s.fail("user", "user is empty; write the name, or remove it to sign in anonymously")
	case s.set("user") && !o.Password.IsSet() && s.good("password_file", "password_env"):
		s.missing("password_file", `"$CREDENTIALS_DIRECTORY/NAME"`)
	case o.Password.IsSet() && !s.set("user"):
		s.missing("user", `"edge"`)
	case s.set("user") && s.set("user_cert_file"):
		s.fail("user_cert_file", "user and user_cert_file are both set; keep one, a session has one user")
	}
	s.pairOfFiles("user_cert_file", "user_key_file")
	if o.Security != securityNone || !s.good("security") {
		return
	}
	const remedy = `write security = "Basic256Sha256" and mode = "SignAndEncrypt"`
	if s.set("user") && o.Password.IsSet() {
		s.fail(secret, `with security = "None" the password would cross the network readable; %s, or remove user`, remedy)
	}
	if s.set("user_cert_file") {
		s.fail("user_cert_file", `with security = "None" a signature of the user can be replayed by anybody; %s, or remove it`, remedy)
	}
}

// events reads which of the server's own alarms are taken over.
func (s *section) events() *Events {
	t := s.table("events")
	e := &Events{
		Source:      t.text("source", "i=2253"),
		MinSeverity: t.integer("min_severity", 1, 1, 1000),
		CodeFrom:    t.text("code_from", "ConditionName"),
		Diagnose:    t.boolean("diagnose", true),
	}
	if t.good("source") && !nodeID.MatchString(e.Source) {
		t.fail("source", "source %s is no node; want one such as \"i=2253\" or \"ns=2;s=Line.Alarms\"", quote(e.Source))
	}
	if t.good("code_from") && !fieldPath.MatchString(e.CodeFrom) {
		t.fail("code_from", `code_from %s is no field of an event; want one such as "ConditionName" or "SourceName"`, quote(e.CodeFrom))
	}
	e.Priorities = t.priorities(e.MinSeverity)
	return e
}

var fieldPath = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]*([./][A-Za-z][A-Za-z0-9]*){0,3}$`)

// priorities reads the lowest severity of each priority; what is below all of
// them has the lowest.
func (s *section) priorities(least int) [4]int {
	out := [4]int{800, 600, 300, 1}
	if !s.set("priorities") {
		return out
	}
	t := s.table("priorities")
	out = [4]int{3: 1}
	for i := range out {
		key := string(rune('1' + i))
		if n := t.integer(key, out[i], 1, 1000); t.set(key) {
			out[i] = n
		}
	}
	last, lastKey := 1001, ""
	for i, severity := range out {
		key := string(rune('1' + i))
		if severity == 0 || !t.good(key) {
			continue
		}
		if severity >= last && t.set(key) {
			t.fail(key, "priority %s begins at severity %d and priority %s at %d; a higher priority needs a higher severity", key, severity, lastKey, last)
		}
		last, lastKey = severity, key
	}
	if first := s.t.get("priorities"); s.good("min_severity") && first != nil && out[0] > 0 && least > out[0] && t.good("1") {
		s.fail("min_severity", "min_severity %d is above the severity %d of priority 1; no other would ever be used, lower it", least, out[0])
	}
	return out
}

// nodeID is a node of an OPC UA server. A name may hold any character; the
// namespace is a number or, which survives a restart of the server, its URI.
var nodeID = regexp.MustCompile(`^(ns=\d{1,5};|nsu=[^;]+;)?(i=\d{1,10}|s=.+|g=[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}|b=[A-Za-z0-9+/]+={0,2})$`)

// node reads the address of an OPC UA tag.
func (s *section) node(key string) string {
	if !s.set(key) {
		s.missing(key, `"ns=2;s=Filler.Level"`)
		return ""
	}
	text := s.text(key, "")
	switch {
	case !s.good(key):
	case nodeID.MatchString(text):
		if ns, found := strings.CutPrefix(text, "ns="); found {
			ns, _, _ = strings.Cut(ns, ";")
			if n, err := parseWhole(ns); err != nil || n > 65535 {
				s.fail(key, "address %s: a namespace is 0 to 65535", quote(text))
			}
		}
	case looksModbus(text):
		s.fail(key, `address %s is one of Modbus, and the device is an OPC UA server; want one such as "ns=2;s=Filler.Level"`, quote(text))
	default:
		s.fail(key, `address %s is no node; want ns=2;s=NAME, nsu=URI;s=NAME or ns=2;i=NUMBER`, quote(text))
	}
	return text
}

// looksLikeNode tells the protocol of a device whose URL is refused.
func (s *section) looksLikeNode(key string) bool {
	v := s.get(key)
	return v != nil && v.kind == kindString && nodeID.MatchString(v.text)
}

func looksModbus(text string) bool {
	_, err := edgeagent.ParseAddress(text, true)
	return err == nil
}
