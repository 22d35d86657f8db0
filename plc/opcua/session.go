package opcua

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gopcua/opcua/ua"
	"github.com/gopcua/opcua/uapolicy"

	"edgeagent/plc"
)

const (
	sessionTimeout = time.Minute // on the server, after which it forgets a client that is gone; more for a long watchdog
	perSession     = 3           // watchdogs: so often at least is something asked before the server forgets the session
	minNonce       = 32
)

// createSession makes a session and logs in.
func createSession(ctx context.Context, ch *channel, t *trust, o *Options) (*ua.CreateSessionResponse, error) {
	nonce := make([]byte, minNonce)
	_, _ = rand.Read(nonce) // never fails
	created, err := create(ctx, ch, t, o, nonce)
	if err != nil {
		return nil, err
	}
	if err := verifyServer(created, t, nonce); err != nil {
		return nil, err
	}
	req, err := activation(created, t, o)
	if err != nil {
		return nil, err
	}
	res, err := ch.call(ctx, req, created.AuthenticationToken)
	if err != nil {
		return nil, fmt.Errorf("log in: %w", classify(err))
	}
	if _, ok := res.(*ua.ActivateSessionResponse); !ok {
		return nil, fmt.Errorf("log in: %w: answered with %T", plc.ErrSilent, res)
	}
	return created, nil
}

func create(ctx context.Context, ch *channel, t *trust, o *Options, nonce []byte) (*ua.CreateSessionResponse, error) {
	req := &ua.CreateSessionRequest{
		ClientDescription: &ua.ApplicationDescription{
			ApplicationURI: applicationURI(t, o), ProductURI: "urn:edgeagent",
			ApplicationName: ua.NewLocalizedText(o.name()), ApplicationType: ua.ApplicationTypeClient,
		},
		EndpointURL: o.Endpoint, SessionName: o.name(), ClientNonce: nonce,
		RequestedSessionTimeout: milliseconds(max(sessionTimeout, perSession*o.Watchdog)), MaxResponseMessageSize: maxMessage,
	}
	if t.own != nil {
		req.ClientCertificate = t.own.chain
	}
	res, err := ch.call(ctx, req, nil)
	if err != nil {
		return nil, fmt.Errorf("create session: %w", classify(err))
	}
	created, ok := res.(*ua.CreateSessionResponse)
	if !ok {
		return nil, fmt.Errorf("create session: %w: answered with %T", plc.ErrSilent, res)
	}
	return created, nil
}

// applicationURI is the one in the own certificate: servers compare them.
func applicationURI(t *trust, o *Options) string {
	if t.own != nil && len(t.own.leaf.URIs) > 0 {
		return t.own.leaf.URIs[0].String()
	}
	return "urn:" + o.name()
}

// verifyServer makes sure that the session is made by who holds the pinned
// certificate's key.
func verifyServer(created *ua.CreateSessionResponse, t *trust, nonce []byte) error {
	if t.mode == ua.MessageSecurityModeNone {
		return nil
	}
	if !sameLeaf(created.ServerCertificate, t.server) {
		return forGood(errors.New("create session: the server names another certificate than the channel's; nothing was sent"))
	}
	alg, err := uapolicy.Asymmetric(t.policy, t.own.privateKey, t.server.key)
	if err != nil {
		return forGood(err)
	}
	signed := slices.Concat(t.own.leaf.Raw, nonce)
	if alg.VerifySignature(signed, created.ServerSignature.Signature) != nil {
		// Old servers that were given a chain sign all of it.
		signed = slices.Concat(t.own.chain, nonce)
		if alg.VerifySignature(signed, created.ServerSignature.Signature) != nil {
			return forGood(errors.New("create session: the server cannot prove that the trusted certificate is its own; nothing was sent"))
		}
	}
	if len(created.ServerNonce) < minNonce {
		return fmt.Errorf("create session: %w: a nonce of %d bytes", plc.ErrSilent, len(created.ServerNonce))
	}
	return nil
}

// activation is the login. The user token policies are taken from the session's
// answer, which the channel protects, and not from the discovery's.
func activation(created *ua.CreateSessionResponse, t *trust, o *Options) (*ua.ActivateSessionRequest, error) {
	req := &ua.ActivateSessionRequest{ClientSignature: &ua.SignatureData{}, UserTokenSignature: &ua.SignatureData{}, LocaleIDs: []string{"en"}}
	var challenge []byte
	if t.own != nil {
		// Of a chain the leaf alone is signed (Part 4, 5.7.3), which is the pinned certificate.
		challenge = slices.Concat(t.server.leaf.Raw, created.ServerNonce)
		if err := sign(req.ClientSignature, t.policy, t.own, t.server, challenge); err != nil {
			return nil, err
		}
	}
	token, err := userToken(created, t, o)
	if err != nil {
		return nil, err
	}
	if x, ok := token.value.(*ua.X509IdentityToken); ok && x != nil {
		if err := sign(req.UserTokenSignature, token.policy, t.user, t.server, challenge); err != nil {
			return nil, err
		}
	}
	req.UserIdentityToken = ua.NewExtensionObject(token.value)
	return req, nil
}

func sign(to *ua.SignatureData, policy string, who *identity, server *certificate, challenge []byte) error {
	alg, err := uapolicy.Asymmetric(policy, who.privateKey, server.key)
	if err != nil {
		return forGood(err)
	}
	to.Algorithm = alg.SignatureURI()
	if to.Signature, err = alg.Signature(challenge); err != nil {
		return forGood(err)
	}
	return nil
}

// credential is who logs in, and the policy that protects it.
type credential struct {
	value  any
	policy string
}

func userToken(created *ua.CreateSessionResponse, t *trust, o *Options) (credential, error) {
	tokens := tokensOf(created.ServerEndpoints, t)
	switch {
	case t.user != nil:
		if t.mode == ua.MessageSecurityModeNone {
			return credential{}, forGood(errors.New("without security whoever sits between can log in with the signature of the user's certificate: configure security"))
		}
		l, err := chooseLogin(tokens, ua.UserTokenTypeCertificate, t, false)
		if err == nil && !strong(l.policy) {
			err = forGood(errors.New("the server asks for a user's certificate without a signature: configure security, or a signed user token policy in the server"))
		}
		return credential{&ua.X509IdentityToken{PolicyID: l.id, CertificateData: t.user.leaf.Raw}, l.policy}, err
	case o.User != "":
		l, err := chooseLogin(tokens, ua.UserTokenTypeUserName, t, true)
		if err != nil {
			return credential{}, err
		}
		return password(created.ServerNonce, l, t, o)
	default:
		l, err := chooseLogin(tokens, ua.UserTokenTypeAnonymous, t, false)
		return credential{&ua.AnonymousIdentityToken{PolicyID: l.id}, l.policy}, err
	}
}

// tokensOf returns the user token policies of the endpoint in use. A server that
// does not repeat them is believed what it said before: whatever that was, a
// secret goes out encrypted for the pinned certificate, or not at all.
func tokensOf(endpoints []*ua.EndpointDescription, t *trust) []*ua.UserTokenPolicy {
	for _, e := range endpoints {
		if t.wants(e) {
			return e.UserIdentityTokens
		}
	}
	return t.discovered
}

// password is asked for here, when who will read it is known.
func password(nonce []byte, l login, t *trust, o *Options) (credential, error) {
	if t.server == nil {
		return credential{}, forGood(fmt.Errorf("a password is sent to a trusted server alone, also without security: %s", howToTrust(o)))
	}
	if o.Password == nil {
		return credential{}, forGood(fmt.Errorf("user %q has no password: configure password_env or password_file", o.User))
	}
	secret, err := o.Password()
	if err != nil {
		return credential{}, forGood(fmt.Errorf("password of %q: %w", o.User, err))
	}
	token := &ua.UserNameIdentityToken{PolicyID: l.id, UserName: o.User, Password: []byte(secret)}
	if l.policy == ua.SecurityPolicyURINone { // only over an encrypted channel, see chooseLogin
		return credential{token, l.policy}, nil
	}
	alg, err := uapolicy.Asymmetric(l.policy, nil, t.server.key)
	if err != nil {
		return credential{}, forGood(err)
	}
	text := binary.LittleEndian.AppendUint32(nil, uint32(len(secret)+len(nonce)))
	text = append(append(text, secret...), nonce...)
	if token.Password, err = alg.Encrypt(text); err != nil {
		return credential{}, forGood(fmt.Errorf("encrypt the password: %w", err))
	}
	token.EncryptionAlgorithm = alg.EncryptionURI()
	if bytes.Contains(token.Password, text) { // with its length: a short password alone is found in any cipher text
		return credential{}, forGood(errors.New("the password is not encrypted: not sent"))
	}
	return credential{token, l.policy}, nil
}

// rejections are the answers to a login that trying again cannot change, and
// may lock an account by.
var rejections = map[ua.StatusCode]string{
	ua.StatusBadUserAccessDenied:             "the server refuses this user: check user and password, then resume the device",
	ua.StatusBadIdentityTokenRejected:        "the server refuses this login: check user and password, then resume the device",
	ua.StatusBadIdentityTokenInvalid:         "the server does not understand this login: check which logins it allows",
	ua.StatusBadUserSignatureInvalid:         "the server refuses the user's signature: the key does not belong to the user's certificate there",
	ua.StatusBadSecurityChecksFailed:         "the server refuses the agent's certificate: trust it in the server (its list of rejected certificates), then resume the device",
	ua.StatusBadCertificateUntrusted:         "the server does not trust the agent's certificate: trust it in the server (its list of rejected certificates), then resume the device",
	ua.StatusBadCertificateInvalid:           "the server refuses the agent's certificate as invalid: look into the server's log",
	ua.StatusBadCertificateURIInvalid:        "the server misses the agent's application URI in its certificate: remove certificate and key to have them made anew",
	ua.StatusBadCertificateUseNotAllowed:     "the server refuses the agent's certificate for this use: remove certificate and key to have them made anew",
	ua.StatusBadCertificateRevoked:           "the server has revoked the agent's certificate",
	ua.StatusBadCertificateChainIncomplete:   "the server misses the authority of the agent's certificate: put the chain into client_cert_file",
	ua.StatusBadCertificatePolicyCheckFailed: "the server finds the agent's certificate too weak for its policy",
	ua.StatusBadSecurityPolicyRejected:       "the server refuses this security policy",
	ua.StatusBadSecurityModeRejected:         "the server refuses this security mode",
	ua.StatusBadApplicationSignatureInvalid:  "the server refuses the agent's signature: the key does not belong to its certificate there",
}

// untimely are the answers of a server whose clock may not be set: that of a PLC
// without a battery is behind after each power cut, until it is told the time.
var untimely = map[ua.StatusCode]string{
	ua.StatusBadCertificateTimeInvalid:       "the server finds the agent's certificate ended or not valid yet: check the server's clock",
	ua.StatusBadCertificateIssuerTimeInvalid: "the server finds the authority of the agent's certificate ended or not valid yet: check the server's clock",
}

// classify says of a failed connect whether trying again can help.
func classify(err error) error {
	var status ua.StatusCode
	switch {
	case err == nil, errors.Is(err, plc.ErrRefused), errors.Is(err, plc.ErrUnreachable):
		return err
	case errors.As(err, &status) && rejections[status] != "":
		return fmt.Errorf("%w: %s (%s)", plc.ErrRefused, rejections[status], statusName(status))
	case errors.As(err, &status) && untimely[status] != "":
		return fmt.Errorf("%w: %s (%s)", plc.ErrSilent, untimely[status], statusName(status))
	case errors.Is(err, plc.ErrSilent):
		return err
	case errors.As(err, &status):
		return fmt.Errorf("%w: the server says %s", plc.ErrSilent, statusName(status))
	default:
		return err
	}
}
