package opcua

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gopcua/opcua/id"
	"github.com/gopcua/opcua/ua"
	"github.com/gopcua/opcua/uapolicy"

	"edgeagent/plc"
)

const secret = "hunter2-is-the-password"

func withPassword(o *Options) {
	o.User, o.Password = "edge", func() (string, error) { return secret, nil }
}

// discoveryOnly are the frames of who asked for endpoints and went away.
var discoveryOnly = []uint32{0, id.GetEndpointsRequest_Encoding_DefaultBinary}

// TestWrongServerCertificateIsRefusedBeforeAnythingIsSent watches the wire: after
// the question for endpoints there is silence. No channel, no session, no login.
func TestWrongServerCertificateIsRefusedBeforeAnythingIsSent(t *testing.T) {
	p := startPlant(t)
	other, _ := newPair(t, nil, 2048)
	for _, of := range offered {
		t.Run(of.policy+"/"+modeName(of.mode), func(t *testing.T) {
			r, l := record(t, p.endpoint)
			o := p.options(of.policy, modeName(of.mode)).at(l)
			o.ServerCertFile = other
			withPassword(&o)
			asked := false
			o.Password = func() (string, error) { asked = true; return secret, nil }
			_, err := connect(t.Context(), &o)
			trusted, _ := readCertificate(other)
			wants(t, err, plc.ErrRefused, "not the trusted one", sum(trusted.leaf.Raw), sum(p.der), "--save-cert")
			if got := r.frames(); !slices.Equal(got, discoveryOnly) {
				t.Errorf("sent %v, want %v alone", got, discoveryOnly)
			}
			if asked || bytes.Contains(r.bytes(), []byte(secret)) || bytes.Contains(r.bytes(), []byte("edge\x00")) {
				t.Error("the login was touched")
			}
		})
	}
}

// TestDowngradeIsRefused: what is not offered is not replaced by what is.
func TestDowngradeIsRefused(t *testing.T) {
	p := startPlant(t)
	s := &script{answer: func(ua.Request) any {
		return &ua.GetEndpointsResponse{ResponseHeader: header(0), Endpoints: []*ua.EndpointDescription{
			offer(ua.SecurityPolicyURINone, ua.MessageSecurityModeNone, p.der), offer(ua.SecurityPolicyURIBasic256, ua.MessageSecurityModeSignAndEncrypt, p.der),
			offer(ua.SecurityPolicyURIBasic256Sha256, ua.MessageSecurityModeSign, p.der),
		}}
	}}
	_, err := connectTo(t, s, func(o *Options) {
		endpoint := o.Endpoint
		*o = p.options("Basic256Sha256", "SignAndEncrypt")
		o.Endpoint = endpoint
	})
	wants(t, err, plc.ErrRefused, "does not offer Basic256Sha256/SignAndEncrypt", "None", "Basic256/SignAndEncrypt", "Basic256Sha256/Sign")
}

// TestChannelIsNotDowngradedInTheMiddle: who sits between lets the endpoints
// pass and answers the opening of the secure channel himself, without security
// or with his own certificate. The library's client would go on in clear text
// and encrypt the password for him.
func TestChannelIsNotDowngradedInTheMiddle(t *testing.T) {
	p := startPlant(t)
	other, _ := newPair(t, nil, 2048)
	theirs, err := os.ReadFile(other)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		policy string
		cert   []byte
		says   string
	}{
		"without security":         {ua.SecurityPolicyURINone, nil, "configured is \"Basic256Sha256\""},
		"with a weaker policy":     {ua.SecurityPolicyURIBasic128Rsa15, p.der, "Basic128Rsa15"},
		"with another one":         {ua.SecurityPolicyURIAes256Sha256RsaPss, p.der, "Aes256_Sha256_RsaPss"},
		"with his certificate":     {ua.SecurityPolicyURIBasic256Sha256, theirs, "not the trusted one"},
		"with the right one, bare": {ua.SecurityPolicyURIBasic256Sha256, p.der, "security checks"},
	} {
		t.Run(name, func(t *testing.T) {
			var sent [][]byte
			l := listen(t, func(agent net.Conn) {
				between(agent, p.endpoint, func(in []byte) []byte {
					sent = append(sent, in)
					return openFrame(in, c.policy, c.cert, 1)
				})
			})
			o := p.options("Basic256Sha256", "SignAndEncrypt").at(l)
			withPassword(&o)
			_, err := connect(t.Context(), &o)
			kind := plc.ErrRefused
			if name == "with the right one, bare" {
				kind = plc.ErrSilent
			}
			wants(t, err, kind, c.says)
			if len(sent) != 1 {
				t.Errorf("%d messages after the opening was answered", len(sent)-1)
			}
		})
	}
}

// between passes on what is without security and answers the rest itself.
func between(agent net.Conn, endpoint string, answer func([]byte) []byte) {
	server, err := net.Dial("tcp", strings.TrimPrefix(endpoint, "opc.tcp://"))
	if err != nil {
		return
	}
	defer server.Close()
	for {
		in, err := readFrame(agent)
		if err != nil || string(in[:3]) == "CLO" {
			return // which nobody answers
		}
		if bytes.Contains(in, []byte("SecurityPolicy#None")) || string(in[:3]) != "OPN" {
			if _, err := server.Write(in); err != nil {
				return
			}
			if in, err = readFrame(server); err != nil {
				return
			}
		} else {
			in = answer(in)
		}
		if _, err := agent.Write(in); err != nil {
			return
		}
	}
}

func TestPasswordsAreNeverReadable(t *testing.T) {
	p := startPlant(t)
	for _, of := range offered {
		t.Run(of.policy+"/"+modeName(of.mode), func(t *testing.T) {
			r, l := record(t, p.endpoint)
			o := p.options(of.policy, modeName(of.mode)).at(l)
			withPassword(&o)
			c, err := connect(t.Context(), &o)
			if err != nil {
				t.Fatal(err)
			}
			c.close()
			<-c.done()
			sent := r.bytes()
			if bytes.Contains(sent, []byte(secret)) {
				t.Error("the password is on the wire")
			}
			if of.mode != ua.MessageSecurityModeSignAndEncrypt && !bytes.Contains(sent, []byte("edge")) {
				t.Error("the user is not on the wire: the recorder is blind")
			}
		})
	}
}

// TestAShortPasswordIsSentToo: of one letter is found in most cipher texts.
func TestAShortPasswordIsSentToo(t *testing.T) {
	server, err := readCertificate(startPlant(t).cert)
	if err != nil {
		t.Fatal(err)
	}
	at := &trust{mode: ua.MessageSecurityModeSignAndEncrypt, server: server}
	l := login{id: "u", policy: ua.SecurityPolicyURIBasic256Sha256}
	for range 20 {
		if _, err := password(make([]byte, minNonce), l, at, &Options{User: "edge", Password: func() (string, error) { return "1", nil }}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPasswordNeedsAnEncryptedLoginAndATrustedServer(t *testing.T) {
	p := startPlant(t)
	r, l := record(t, p.endpoint)
	o := p.options("", "").at(l)
	o.ServerCertFile = ""
	withPassword(&o)
	_, err := connect(t.Context(), &o)
	wants(t, err, plc.ErrRefused, "to a trusted server alone")
	if slices.Contains(r.frames(), id.ActivateSessionRequest_Encoding_DefaultBinary) {
		t.Error("a login was sent")
	}
	for policy, says := range map[string]string{ua.SecurityPolicyURINone: "unencrypted", "": "unencrypted", ua.SecurityPolicyURIBasic128Rsa15: "unencrypted"} {
		logins := 0
		s := &script{answer: func(req ua.Request) any {
			if _, ok := req.(*ua.ActivateSessionRequest); ok {
				logins++
			}
			if _, ok := req.(*ua.GetEndpointsRequest); ok {
				return &ua.GetEndpointsResponse{ResponseHeader: header(0), Endpoints: []*ua.EndpointDescription{
					offer(ua.SecurityPolicyURINone, ua.MessageSecurityModeNone, p.der, &ua.UserTokenPolicy{PolicyID: "u", TokenType: ua.UserTokenTypeUserName, SecurityPolicyURI: policy}),
				}}
			}
			return sanely
		}}
		_, err := connectTo(t, s, func(o *Options) { o.ServerCertFile = p.cert; withPassword(o) })
		wants(t, err, plc.ErrRefused, says, "was not sent")
		if logins > 0 {
			t.Errorf("%q: a login was sent", policy)
		}
	}
}

func TestLoginPoliciesAreChosen(t *testing.T) {
	user := func(id, policy string) *ua.UserTokenPolicy {
		return &ua.UserTokenPolicy{PolicyID: id, TokenType: ua.UserTokenTypeUserName, SecurityPolicyURI: policy}
	}
	encrypted := &trust{policy: ua.SecurityPolicyURIBasic256Sha256, mode: ua.MessageSecurityModeSignAndEncrypt}
	signed := &trust{policy: ua.SecurityPolicyURIBasic256Sha256, mode: ua.MessageSecurityModeSign}
	none := &trust{policy: ua.SecurityPolicyURINone, mode: ua.MessageSecurityModeNone}
	for name, c := range map[string]struct {
		t      *trust
		tokens []*ua.UserTokenPolicy
		want   string
	}{
		"the channel's":                 {encrypted, []*ua.UserTokenPolicy{user("a", "")}, "a"},
		"the encrypted one first":       {encrypted, []*ua.UserTokenPolicy{user("plain", ua.SecurityPolicyURINone), user("b", ua.SecurityPolicyURIBasic256Sha256)}, "b"},
		"plain in an encrypted channel": {encrypted, []*ua.UserTokenPolicy{user("plain", ua.SecurityPolicyURINone)}, "plain"},
		"plain in a signed channel":     {signed, []*ua.UserTokenPolicy{user("plain", ua.SecurityPolicyURINone)}, ""},
		"plain in none":                 {none, []*ua.UserTokenPolicy{user("plain", "")}, ""},
		"encrypted in none":             {none, []*ua.UserTokenPolicy{user("plain", ""), user("c", ua.SecurityPolicyURIAes256Sha256RsaPss)}, "c"},
		"only a broken one":             {encrypted, []*ua.UserTokenPolicy{user("old", ua.SecurityPolicyURIBasic128Rsa15)}, ""},
		"another kind":                  {encrypted, []*ua.UserTokenPolicy{{PolicyID: "anonymous"}}, ""},
	} {
		got, err := chooseLogin(c.tokens, ua.UserTokenTypeUserName, c.t, true)
		if got.id != c.want || (err == nil) != (c.want != "") || err != nil && !errors.Is(err, plc.ErrRefused) {
			t.Errorf("%s: %q, %v; want %q", name, got.id, err, c.want)
		}
	}
}

// TestRejectionsAreForGood: to try again could lock an account.
func TestRejectionsAreForGood(t *testing.T) {
	for status, want := range map[ua.StatusCode]error{
		ua.StatusBadUserAccessDenied: plc.ErrRefused, ua.StatusBadIdentityTokenRejected: plc.ErrRefused,
		ua.StatusBadCertificateTimeInvalid: plc.ErrSilent, ua.StatusBadCertificateIssuerTimeInvalid: plc.ErrSilent, // a PLC's clock is set by itself
		ua.StatusBadTooManySessions: plc.ErrSilent, ua.StatusBadServerHalted: plc.ErrSilent, ua.StatusBadShutdown: plc.ErrSilent,
	} {
		logins := 0
		_, err := connectTo(t, &script{answer: func(req ua.Request) any {
			if _, ok := req.(*ua.ActivateSessionRequest); ok {
				logins++
				return fault(status)
			}
			return sanely
		}}, nil)
		wants(t, err, want, statusName(status))
		if logins != 1 {
			t.Errorf("%s: %d logins", statusName(status), logins)
		}
	}
	// An untrusted client certificate is said by ERR, before there is a session.
	refusing := &script{ack: sized([]byte("ERRF\x00\x00\x00\x00\x00\x00\x13\x80\xff\xff\xff\xff"))}
	_, err := connectTo(t, refusing, nil)
	wants(t, err, plc.ErrRefused, "BadSecurityChecksFailed", "trust it in the server")
}

func TestUserCertificateLogsIn(t *testing.T) {
	p := startPlant(t)
	cert, key := newPair(t, nil, 2048)
	for _, of := range offered[1:] {
		o := p.options(of.policy, modeName(of.mode))
		o.UserCertFile, o.UserKeyFile = cert, key
		c := opened(t, o)
		if want := of.policy + "/" + modeName(of.mode); c.security != want {
			t.Errorf("security %q, want %q", c.security, want)
		}
	}
	o := p.options("Basic256Sha256", "Sign")
	o.UserCertFile, o.UserKeyFile = cert, p.pem
	_, err := connect(t.Context(), &o)
	wants(t, err, plc.ErrRefused, "does not belong to the certificate")
	o = p.options("None", "None")
	o.UserCertFile, o.UserKeyFile = cert, key
	_, err = connect(t.Context(), &o)
	wants(t, err, plc.ErrRefused, "without security")
}

// TestOfAChainTheLeafIsSigned: a server shows its authority's certificate behind
// its own, and verifies what was signed of its own alone.
func TestOfAChainTheLeafIsSigned(t *testing.T) {
	p := startPlant(t)
	authority, _ := newPair(t, nil, 2048)
	behind, err := os.ReadFile(authority)
	if err != nil {
		t.Fatal(err)
	}
	o := p.options("Aes256_Sha256_RsaPss", "SignAndEncrypt")
	o.UserCertFile, o.UserKeyFile = newPair(t, nil, 2048)
	tr, err := loadTrust(&o, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	chain, nonce := slices.Concat(p.der, behind), bytes.Repeat([]byte{7}, minNonce)
	created := &ua.CreateSessionResponse{
		ServerCertificate: chain, ServerNonce: nonce,
		ServerEndpoints: []*ua.EndpointDescription{offer(tr.policy, tr.mode, chain, &ua.UserTokenPolicy{PolicyID: "c", TokenType: ua.UserTokenTypeCertificate})},
	}
	req, err := activation(created, tr, &o)
	if err != nil {
		t.Fatal(err)
	}
	for who, s := range map[*identity]*ua.SignatureData{tr.own: req.ClientSignature, tr.user: req.UserTokenSignature} {
		alg, err := uapolicy.Asymmetric(tr.policy, p.key, who.key)
		if err != nil {
			t.Fatal(err)
		}
		if err := alg.VerifySignature(slices.Concat(p.der, nonce), s.Signature); err != nil {
			t.Errorf("%s: %v", who.leaf.Subject, err)
		}
	}
}

// TestOneOfSeveralCertificatesIsEnough: a server may offer an endpoint twice,
// with another certificate each.
func TestOneOfSeveralCertificatesIsEnough(t *testing.T) {
	p := startPlant(t)
	other, _ := newPair(t, nil, 2048)
	theirs, err := os.ReadFile(other)
	if err != nil {
		t.Fatal(err)
	}
	o := p.options("Basic256Sha256", "Sign")
	tr, err := loadTrust(&o, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	stranger := offer(tr.policy, tr.mode, theirs)
	right := offer(tr.policy, tr.mode, p.der)
	if got, err := choose([]*ua.EndpointDescription{stranger, right}, tr, &o); err != nil || got != right {
		t.Errorf("chose %+v, %v", got, err)
	}
	_, err = choose([]*ua.EndpointDescription{stranger, stranger}, tr, &o)
	wants(t, err, plc.ErrRefused, "not the trusted one")
}

// TestNoEndpointAtAllIsNoRefusal: a server that starts may listen before it has
// any; nothing of the configuration is wrong.
func TestNoEndpointAtAllIsNoRefusal(t *testing.T) {
	_, err := connectTo(t, &script{answer: func(req ua.Request) any {
		if _, ok := req.(*ua.GetEndpointsRequest); ok {
			return &ua.GetEndpointsResponse{ResponseHeader: header(0)}
		}
		return sanely
	}}, nil)
	wants(t, err, plc.ErrSilent, "no endpoint at all")
	if errors.Is(err, plc.ErrRefused) {
		t.Errorf("for good: %v", err)
	}
}

func TestWeakAndEndedCertificatesAreRefused(t *testing.T) {
	p := startPlant(t)
	now := time.Now()
	short, _ := newPair(t, nil, 1024)
	ended, _ := newPair(t, func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Hour) }, 2048)
	future, _ := newPair(t, func(c *x509.Certificate) { c.NotBefore = now.Add(time.Hour) }, 2048)
	authority, _ := newPair(t, func(c *x509.Certificate) { c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign }, 2048)
	garbage := filepath.Join(t.TempDir(), "garbage.der")
	write(t, garbage, []byte("no certificate"))
	for name, c := range map[string]struct{ file, says string }{
		"1024 bits": {short, "1024 bits"}, "ended": {ended, "ended on"}, "not valid yet": {future, "is not valid before"},
		"an authority": {authority, "an authority's"}, "garbage": {garbage, "no certificate"}, "absent": {garbage + ".absent", "no such file"}, "none": {"", "no server certificate is trusted"},
	} {
		o := p.options("Basic256Sha256", "Sign")
		o.ServerCertFile = c.file
		_, err := connect(t.Context(), &o)
		wants(t, err, plc.ErrRefused, c.says)
		if name == "none" && !strings.Contains(err.Error(), "--save-cert") {
			t.Errorf("%s: no remedy in %q", name, err)
		}
	}
	for _, alg := range forgeable {
		c := &x509.Certificate{SignatureAlgorithm: alg}
		if err := checkCertificate(c, &Options{}, now); err == nil || !strings.Contains(err.Error(), "can be forged") {
			t.Errorf("%v: %v", alg, err)
		}
	}
}

// TestUnsetClockDoesNotStopADevice: a gateway that wakes up in 1970 has no right
// to find a certificate not valid yet.
func TestUnsetClockDoesNotStopADevice(t *testing.T) {
	future, _ := newPair(t, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) }, 2048)
	c, err := readCertificate(future)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	o := &Options{Log: slog.New(slog.NewTextHandler(&log, nil)), ClockSynced: func() bool { return false }}
	if err := checkCertificate(c.leaf, o, time.Unix(0, 0)); err != nil || !strings.Contains(log.String(), "not valid yet") {
		t.Errorf("%v, logged %q", err, log.String())
	}
	o.ClockSynced = func() bool { return true }
	wants(t, checkCertificate(c.leaf, o, time.Unix(0, 0)), nil, "set this machine's clock")
}

// TestACertificateThatEndedByAnUnsetClock is refused, but not for good: the clock
// of a gateway may be years ahead until somebody tells it the time.
func TestACertificateThatEndedByAnUnsetClock(t *testing.T) {
	p := startPlant(t)
	o := p.options("Basic256Sha256", "Sign")
	o.ClockSynced = func() bool { return false }
	ahead := time.Now().AddDate(2*certificateAge, 0, 0)
	_, err := loadTrust(&o, ahead)
	wants(t, err, plc.ErrUnreachable, "ended on", "clock")
	if errors.Is(err, plc.ErrRefused) {
		t.Errorf("refused for good: %v", err)
	}
	o.ClockSynced = func() bool { return true }
	_, err = loadTrust(&o, ahead)
	wants(t, err, plc.ErrRefused, "ended on")
}

func TestSecurityAndModeBelongTogether(t *testing.T) {
	for _, c := range []struct{ security, mode, says string }{
		{"Basic256Sha256", "", "both are None"}, {"", "Sign", "both are None"}, {"Basic256", "Sign", "want None, Basic256Sha256"}, {"None", "Encrypt", "want None, Sign"},
	} {
		o := Options{Endpoint: "opc.tcp://127.0.0.1:1", Security: c.security, Mode: c.mode}
		_, err := connect(t.Context(), &o)
		wants(t, err, plc.ErrRefused, c.says)
	}
	for _, endpoint := range []string{"http://plc", "opc.tcp://", "plc:4840", "opc.tcp://[::1"} {
		o := Options{Endpoint: endpoint}
		_, err := connect(t.Context(), &o)
		wants(t, err, nil, "endpoint")
	}
}

// Who asks a server before the agent ran for the first time has no certificate yet.
func TestAMissingOwnCertificateSaysWhoMakesIt(t *testing.T) {
	o := startPlant(t).options("Basic256Sha256", "SignAndEncrypt")
	o.ClientCertFile = filepath.Join(t.TempDir(), "own.der")
	_, err := loadTrust(&o, time.Now())
	wants(t, err, plc.ErrRefused, "own certificate", "start it once with edgeagent run")
}

func TestKeysLoadInEveryForm(t *testing.T) {
	p := startPlant(t)
	id, err := readIdentity(p.own, p.pem)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(id.privateKey)
	if err != nil {
		t.Fatal(err)
	}
	pkcs1 := x509.MarshalPKCS1PrivateKey(id.privateKey)
	for name, data := range map[string][]byte{
		"PKCS#1 DER": pkcs1, "PKCS#8 DER": pkcs8,
		"PKCS#1 PEM": pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: pkcs1}),
		"PKCS#8 PEM": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}),
		"after text": append([]byte("Bag Attributes\n"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})...),
	} {
		if key, err := parseKey(data); err != nil || !key.Equal(id.privateKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, data := range map[string][]byte{
		"encrypted": pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")}), "cut": pkcs8[:50], "nothing": nil,
	} {
		if _, err := parseKey(data); err == nil {
			t.Errorf("%s: loaded", name)
		}
	}
}
