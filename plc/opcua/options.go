package opcua

import (
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/gopcua/opcua/ua"

	"edgeagent/plc"
)

const (
	defaultTimeout = 5 * time.Second
	defaultName    = "edgeagent"
	defaultPort    = "4840"
)

// Options are the connection of one device.
type Options struct {
	Endpoint string // opc.tcp://HOST:PORT/PATH
	Security string // None (or empty), Basic256Sha256, Aes128_Sha256_RsaOaep, Aes256_Sha256_RsaPss
	Mode     string // None (or empty), Sign, SignAndEncrypt

	ServerCertFile string // the one certificate that is trusted, PEM or DER; needed unless Security is None
	ClientCertFile string // the agent's own, PEM or DER; see [EnsureCertificate]
	ClientKeyFile  string // PKCS#1 or PKCS#8, PEM or DER

	User         string                 // empty: anonymous, or the certificate below
	Password     func() (string, error) // asked for anew with each connect
	UserCertFile string                 // certificate of a user instead of a name
	UserKeyFile  string

	Timeout  time.Duration // of one request; 0: 5 s
	Watchdog time.Duration // how often the server is asked how it is
	// ApplicationName is the agent's: edgeagent/ID. Servers show it with the session.
	ApplicationName string

	Tags   []plc.TagSpec
	Events *Events // nil: no conditions
	Log    *slog.Logger
	// ClockSynced says whether the clock can be believed; nil: it can. While it
	// cannot, a certificate that is not valid yet is accepted with a warning: a
	// gateway without a battery wakes up in 1970. One that has ended is refused,
	// but not for good.
	ClockSynced func() bool
}

// policies are the security policies that can be configured. SHA-1 signatures
// (Basic128Rsa15, Basic256) are none of them.
var policies = map[string]string{
	"":                      ua.SecurityPolicyURINone,
	"None":                  ua.SecurityPolicyURINone,
	"Basic256Sha256":        ua.SecurityPolicyURIBasic256Sha256,
	"Aes128_Sha256_RsaOaep": ua.SecurityPolicyURIAes128Sha256RsaOaep,
	"Aes256_Sha256_RsaPss":  ua.SecurityPolicyURIAes256Sha256RsaPss,
}

var modes = map[string]ua.MessageSecurityMode{
	"":               ua.MessageSecurityModeNone,
	"None":           ua.MessageSecurityModeNone,
	"Sign":           ua.MessageSecurityModeSign,
	"SignAndEncrypt": ua.MessageSecurityModeSignAndEncrypt,
}

// security returns the configured policy's URI and the mode.
func (o *Options) security() (string, ua.MessageSecurityMode, error) {
	policy, known := policies[o.Security]
	if !known {
		return "", 0, fmt.Errorf("security %q: want None, Basic256Sha256, Aes128_Sha256_RsaOaep or Aes256_Sha256_RsaPss", o.Security)
	}
	mode, known := modes[o.Mode]
	if !known {
		return "", 0, fmt.Errorf("mode %q: want None, Sign or SignAndEncrypt", o.Mode)
	}
	if (policy == ua.SecurityPolicyURINone) != (mode == ua.MessageSecurityModeNone) {
		return "", 0, fmt.Errorf("security %q with mode %q: both are None, or neither", o.Security, o.Mode)
	}
	return policy, mode, nil
}

// address returns the HOST:PORT to dial.
func (o *Options) address() (string, error) {
	u, err := url.Parse(o.Endpoint)
	if err != nil {
		return "", fmt.Errorf("endpoint: %w", err)
	}
	if u.Scheme != "opc.tcp" || u.Hostname() == "" {
		return "", fmt.Errorf("endpoint %q: want opc.tcp://HOST:PORT/PATH", o.Endpoint)
	}
	port := u.Port()
	if port == "" {
		port = defaultPort
	}
	return net.JoinHostPort(u.Hostname(), port), nil
}

func (o *Options) timeout() time.Duration {
	if o.Timeout > 0 {
		return o.Timeout
	}
	return defaultTimeout
}

func (o *Options) name() string {
	if o.ApplicationName != "" {
		return o.ApplicationName
	}
	return defaultName
}

func (o *Options) log() *slog.Logger {
	if o.Log != nil {
		return o.Log
	}
	return slog.New(slog.DiscardHandler)
}

func (o *Options) clockSynced() bool { return o.ClockSynced == nil || o.ClockSynced() }

// securityName is how the connection is called on the page and in the log.
func securityName(policy string, mode ua.MessageSecurityMode) string {
	if mode == ua.MessageSecurityModeNone {
		return "None"
	}
	return policyName(policy) + "/" + modeName(mode)
}

// policyName returns what a policy is called in the configuration, or its URI
// if it cannot be configured.
func policyName(uri string) string {
	for name, known := range policies {
		if name != "" && known == uri {
			return name
		}
	}
	return strings.TrimPrefix(uri, ua.SecurityPolicyURIPrefix)
}

func modeName(mode ua.MessageSecurityMode) string {
	for name, known := range modes {
		if name != "" && known == mode {
			return name
		}
	}
	return fmt.Sprintf("mode %d", mode)
}
