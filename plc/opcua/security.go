package opcua

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gopcua/opcua/ua"

	"edgeagent/plc"
)

// transport is the one of the profiles that is spoken: opc.tcp with binary.
const transport = "http://opcfoundation.org/UA-Profile/Transport/uatcp-uasc-uabinary"

// trust is what the configuration says of who may answer and who asks.
type trust struct {
	policy string
	mode   ua.MessageSecurityMode
	server *certificate // pinned; nil if none is configured
	own    *identity    // nil for None
	user   *identity    // nil unless a user is known by certificate

	discovered []*ua.UserTokenPolicy // of the endpoint, as told by who answered first
}

// loadTrust reads the certificates. What is missing is missing until a person
// brings it: every error is for good but that of a clock which is not set.
func loadTrust(o *Options, now time.Time) (*trust, error) {
	t := &trust{}
	var err error
	if t.policy, t.mode, err = o.security(); err != nil {
		return nil, forGood(err)
	}
	if o.ServerCertFile == "" && t.mode != ua.MessageSecurityModeNone {
		return nil, forGood(fmt.Errorf("no server certificate is trusted: %s", howToTrust(o)))
	}
	if o.ServerCertFile != "" {
		if t.server, err = readCertificate(o.ServerCertFile); err != nil {
			return nil, forGood(fmt.Errorf("trusted server certificate: %w: %s", err, howToTrust(o)))
		}
		if err := checkCertificate(t.server.leaf, o, now); err != nil {
			err = fmt.Errorf("trusted server certificate %s: %w", o.ServerCertFile, err)
			if errors.Is(err, plc.ErrUnreachable) {
				return nil, err
			}
			return nil, forGood(err)
		}
	}
	if t.mode != ua.MessageSecurityModeNone {
		if t.own, err = readIdentity(o.ClientCertFile, o.ClientKeyFile); err != nil {
			return nil, forGood(fmt.Errorf("own certificate: %w%s", err, howToMake(err)))
		}
	}
	if o.UserCertFile != "" {
		if t.user, err = readIdentity(o.UserCertFile, o.UserKeyFile); err != nil {
			return nil, forGood(fmt.Errorf("user's certificate: %w", err))
		}
	}
	return t, nil
}

func forGood(err error) error { return fmt.Errorf("%w: %w", plc.ErrRefused, err) }

// howToMake is for who asks a server before the agent has run for the first time.
func howToMake(err error) string {
	if !errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	return "; it is made at the agent's start: start it once with edgeagent run, and let the server trust the certificate"
}

func howToTrust(o *Options) string {
	return fmt.Sprintf("save the server's with: edgeagent browse %s --save-cert FILE, compare its SHA-256 with the server's own display, and name it as server_cert_file", o.Endpoint)
}

var forgeable = []x509.SignatureAlgorithm{x509.SHA1WithRSA, x509.MD5WithRSA, x509.MD2WithRSA, x509.ECDSAWithSHA1, x509.DSAWithSHA1}

// checkCertificate looks at a pinned certificate as at any: to trust its key
// does not make the key strong, nor its time endless.
func checkCertificate(c *x509.Certificate, o *Options, now time.Time) error {
	if c.IsCA && c.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		return fmt.Errorf("is an authority's, not a server's: name the server's own certificate (%s)", howToTrust(o))
	}
	if slices.Contains(forgeable, c.SignatureAlgorithm) {
		return fmt.Errorf("is signed with %s, which can be forged: make the server a new one with SHA-256", c.SignatureAlgorithm)
	}
	if bits := keyBits(c); bits < minKeyBits {
		return fmt.Errorf("has a key of %d bits, at least %d are needed: make the server a new one", bits, minKeyBits)
	}
	if now.After(c.NotAfter) && !o.clockSynced() {
		return fmt.Errorf("%w: ended on %s, if this machine's clock is right (it says %s): tried again, since nothing has set it", plc.ErrUnreachable, date(c.NotAfter), date(now))
	}
	if now.After(c.NotAfter) {
		return fmt.Errorf("ended on %s: make the server a new one, or set this machine's clock (it says %s)", date(c.NotAfter), date(now))
	}
	if now.Before(c.NotBefore) {
		if o.clockSynced() {
			return fmt.Errorf("is not valid before %s: set this machine's clock, it says %s", date(c.NotBefore), date(now))
		}
		o.log().Warn("server certificate is not valid yet; accepted, since the clock is not set", "endpoint", o.Endpoint, "not_before", c.NotBefore)
	}
	return nil
}

func date(t time.Time) string { return t.UTC().Format(time.DateOnly) }

func keyBits(c *x509.Certificate) int {
	if cert, err := parseCertificate(c.Raw); err == nil {
		return cert.key.N.BitLen()
	}
	return 0
}

// choose picks exactly the configured policy and mode from what the server
// offers, and makes sure that the certificate there is the pinned one. It never
// falls back. Host names in the endpoints are the server's opinion and not used.
// A server may show several certificates: one endpoint with the pinned one is enough.
func choose(offered []*ua.EndpointDescription, t *trust, o *Options) (*ua.EndpointDescription, error) {
	if len(offered) == 0 {
		return nil, fmt.Errorf("%w: the server offers no endpoint at all: it is tried again, since one that starts may have none yet", plc.ErrSilent)
	}
	var stranger *ua.EndpointDescription
	for _, e := range offered {
		switch {
		case !t.wants(e):
		case t.server == nil:
			return e, nil
		case sameLeaf(e.ServerCertificate, t.server):
			warnAboutURI(e, t, o)
			return e, nil
		case stranger == nil:
			stranger = e
		}
	}
	if stranger != nil {
		return nil, mismatch(stranger.ServerCertificate, t, o)
	}
	return nil, forGood(fmt.Errorf("the server does not offer %s, it offers %s: configure one of these, or switch it on in the server",
		securityName(t.policy, t.mode), offers(offered)))
}

// wants reports whether an endpoint is of the configured policy and mode.
func (t *trust) wants(e *ua.EndpointDescription) bool {
	return spoken(e) && e.SecurityPolicyURI == t.policy && e.SecurityMode == t.mode
}

func spoken(e *ua.EndpointDescription) bool {
	return e.TransportProfileURI == "" || e.TransportProfileURI == transport
}

func mismatch(der []byte, t *trust, o *Options) error {
	theirs := "none"
	if c, err := parseCertificate(der); err == nil {
		theirs = fmt.Sprintf("%q with SHA-256 %s", cut(c.leaf.Subject.String()), sum(c.leaf.Raw))
	}
	return forGood(fmt.Errorf("the server's certificate is not the trusted one: trusted is SHA-256 %s, the server has %s; nothing was sent. If the server has a new one: %s",
		sum(t.server.leaf.Raw), theirs, howToTrust(o)))
}

// warnAboutURI says when a server calls itself otherwise than its certificate
// does. The pin holds all the same.
func warnAboutURI(e *ua.EndpointDescription, t *trust, o *Options) {
	uri := e.Server.ApplicationURI
	if !slices.ContainsFunc(t.server.leaf.URIs, func(u *url.URL) bool { return u.String() == uri }) {
		o.log().Warn("server's application URI is not in its certificate", "endpoint", o.Endpoint, "uri", cut(uri))
	}
}

// offers lists what a server has, for a person.
func offers(offered []*ua.EndpointDescription) string {
	var names []string
	for _, e := range offered {
		if name := securityName(e.SecurityPolicyURI, e.SecurityMode); !slices.Contains(names, name) && len(names) < 20 {
			names = append(names, cut(name))
		}
	}
	if len(names) == 0 {
		return "nothing"
	}
	return strings.Join(names, ", ")
}

// login is the user token policy of the server that is used.
type login struct {
	id     string
	policy string // its security policy, that of the channel where it names none
}

var errNoLogin = errors.New("the server offers no such login")

// chooseLogin picks a user token policy of a kind. protect asks for one under
// which a secret is encrypted: by the token's own policy, or by the channel.
func chooseLogin(tokens []*ua.UserTokenPolicy, kind ua.UserTokenType, t *trust, protect bool) (login, error) {
	var unprotected bool
	var found []login
	for _, tok := range tokens {
		if tok.TokenType != kind {
			continue
		}
		l := login{id: tok.PolicyID, policy: tok.SecurityPolicyURI}
		if l.policy == "" {
			l.policy = t.policy
		}
		if protect && !strong(l.policy) && t.mode != ua.MessageSecurityModeSignAndEncrypt {
			unprotected = true
			continue
		}
		if strong(l.policy) || l.policy == ua.SecurityPolicyURINone || kind == ua.UserTokenTypeAnonymous {
			found = append(found, l)
		}
	}
	if len(found) == 0 && unprotected {
		return login{}, forGood(errors.New("the server would take the password unencrypted: configure security and mode SignAndEncrypt, or switch on an encrypted user token policy in the server; the password was not sent"))
	}
	if len(found) == 0 {
		return login{}, forGood(fmt.Errorf("%w: %s, under a policy that is safe", errNoLogin, kindName(kind)))
	}
	// A password encrypted by its own policy is better than one by the channel's alone.
	slices.SortStableFunc(found, func(a, b login) int { return rank(b) - rank(a) })
	return found[0], nil
}

func rank(l login) int {
	if strong(l.policy) {
		return 1
	}
	return 0
}

// strong reports whether a policy is a configurable one that encrypts.
func strong(policy string) bool {
	return policy != ua.SecurityPolicyURINone && policies[policyName(policy)] == policy
}

func kindName(kind ua.UserTokenType) string {
	switch kind {
	case ua.UserTokenTypeAnonymous:
		return "anonymous (configure user, or a user's certificate)"
	case ua.UserTokenTypeUserName:
		return "user name and password"
	case ua.UserTokenTypeCertificate:
		return "certificate of a user"
	default:
		return "issued token"
	}
}
