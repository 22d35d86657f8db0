package modbus

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"edgeagent/internal/dial"
	"edgeagent/plc"
)

// TLSFiles are the files of Modbus/TCP Security. All are PEM or DER; keys may be
// PKCS#1, PKCS#8 or EC.
type TLSFiles struct {
	CA         string // authorities that are trusted; empty: the system's
	ServerCert string // the one certificate that is trusted, whatever its name, instead of CA
	ServerName string // that the certificate must hold; empty: the host of the address
	ClientCert string // empty: none is shown
	ClientKey  string
}

// Load reads the files; an error names the key of the configuration, the file
// and the remedy.
func (f TLSFiles) Load() (*tls.Config, error) {
	conf, err := dial.TLS(f.CA)
	if err != nil {
		return nil, err
	}
	conf.ServerName = f.ServerName
	if f.ServerCert != "" {
		if err := pin(conf, f.ServerCert); err != nil {
			return nil, err
		}
	}
	if f.ClientCert == "" && f.ClientKey == "" {
		return conf, nil
	}
	own, err := loadPair(f.ClientCert, f.ClientKey)
	if err != nil {
		return nil, err
	}
	conf.Certificates = []tls.Certificate{own}
	return conf, nil
}

// errPin is what a handshake with any other certificate ends with.
var errPin = errors.New("not the certificate in server_cert_file")

// pin trusts one certificate and no authority: most PLCs have one that they
// made themselves, for a name that nobody uses.
func pin(conf *tls.Config, file string) error {
	chain, err := readCertificates("server_cert_file", file)
	if err != nil {
		return err
	}
	trusted := chain[0]
	conf.InsecureSkipVerify = true // replaced by the comparison below
	conf.VerifyConnection = func(s tls.ConnectionState) error {
		if len(s.PeerCertificates) == 0 || !bytes.Equal(s.PeerCertificates[0].Raw, trusted) {
			return &tls.CertificateVerificationError{UnverifiedCertificates: s.PeerCertificates, Err: errPin}
		}
		return nil
	}
	return nil
}

// readCertificates returns the certificates in a file, the leaf first.
func readCertificates(key, file string) ([][]byte, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	var chain [][]byte
	for block, rest := pem.Decode(raw); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			chain = append(chain, block.Bytes)
		}
	}
	if chain == nil {
		chain = [][]byte{raw}
	}
	for _, der := range chain {
		if _, err := x509.ParseCertificate(der); err != nil {
			return nil, fmt.Errorf("read %s: %s holds no certificate in PEM or DER: %w", key, file, err)
		}
	}
	return chain, nil
}

func loadPair(certFile, keyFile string) (tls.Certificate, error) {
	chain, err := readCertificates("client_cert_file", certFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	raw, err := os.ReadFile(keyFile)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("read client_key_file: %w", err)
	}
	key, err := keyPEM(raw)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("read client_key_file: %s: %w", keyFile, err)
	}
	var certs []byte
	for _, der := range chain {
		certs = append(certs, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	pair, err := tls.X509KeyPair(certs, key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("client_cert_file %s and client_key_file %s: %w", certFile, keyFile, err)
	}
	return pair, nil
}

// keyPEM finds the key in a file: openssl puts parameters before it, PLC
// makers' tools write bare DER.
func keyPEM(raw []byte) ([]byte, error) {
	found := false
	for block, rest := pem.Decode(raw); block != nil; block, rest = pem.Decode(rest) {
		found = true
		switch {
		case strings.Contains(block.Type, "ENCRYPTED") || block.Headers["DEK-Info"] != "":
			return nil, errors.New("is protected by a passphrase; write it without one: openssl pkey -in FILE -out NEW")
		case strings.HasSuffix(block.Type, "PRIVATE KEY"):
			return pem.EncodeToMemory(block), nil
		}
	}
	if found {
		return nil, errors.New("holds no private key")
	}
	for kind, parse := range map[string]func([]byte) error{
		"PRIVATE KEY":     func(der []byte) error { _, err := x509.ParsePKCS8PrivateKey(der); return err },
		"RSA PRIVATE KEY": func(der []byte) error { _, err := x509.ParsePKCS1PrivateKey(der); return err },
		"EC PRIVATE KEY":  func(der []byte) error { _, err := x509.ParseECPrivateKey(der); return err },
	} {
		if parse(raw) == nil {
			return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: raw}), nil
		}
	}
	return nil, errors.New("holds no private key in PEM or DER (PKCS#1, PKCS#8, EC)")
}

// refusals are the alerts by which a device says that it does not want our
// certificate. With TLS 1.3 they come after the handshake. The library's type
// for them has no exported name.
var refusals = []string{
	"bad certificate", "unsupported certificate", "revoked certificate", "unknown certificate", "certificate required",
	"unknown certificate authority", "access denied",
}

// explainTLS says which certificate is refused by whom, and what to do. Errors
// that are not about certificates come back as they are. What another try
// cannot heal wraps plc.ErrRefused; a certificate out of its time does not,
// because the clock may be wrong.
func explainTLS(err error) error {
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok && len(e.UnverifiedCertificates) > 0 {
		return explainServer(e)
	}
	if e, ok := errors.AsType[*net.OpError](err); ok && e.Op == "remote error" {
		return explainAlert(err, e.Err.Error())
	}
	return err
}

// explainAlert reads what the device says of our side.
func explainAlert(err error, alert string) error {
	switch {
	case strings.HasSuffix(alert, "expired certificate"):
		return fmt.Errorf("the device finds the certificate in client_cert_file expired: renew it, or set the device's clock: %w", err)
	case strings.HasSuffix(alert, "handshake failure"):
		return fmt.Errorf("the device wants a certificate (client_cert_file), or TLS as this agent does not speak it: %w", err)
	case slices.ContainsFunc(refusals, func(r string) bool { return strings.HasSuffix(alert, r) }):
		return fmt.Errorf("%w: the device does not accept the certificate in client_cert_file: trust it there: %w", plc.ErrRefused, err)
	default:
		return err
	}
}

func explainServer(e *tls.CertificateVerificationError) error {
	c := e.UnverifiedCertificates[0]
	which := fmt.Sprintf("certificate %q of the device (SHA-256 %x)", c.Subject, sha256.Sum256(c.Raw))
	invalid, isInvalid := errors.AsType[x509.CertificateInvalidError](e)
	_, unknown := errors.AsType[x509.UnknownAuthorityError](e)
	_, name := errors.AsType[x509.HostnameError](e)
	switch {
	case isInvalid && invalid.Reason == x509.Expired && time.Now().Before(c.NotBefore):
		return fmt.Errorf("%s is valid from %s only: is this machine's clock right? %w", which, c.NotBefore.Format(time.RFC3339), e)
	case isInvalid && invalid.Reason == x509.Expired:
		return fmt.Errorf("%s was valid until %s: renew it on the device, or set the clock: %w", which, c.NotAfter.Format(time.RFC3339), e)
	case errors.Is(e, errPin):
		return fmt.Errorf("%w: %s is not the one in server_cert_file: if the device was given a new one, put that there: %w", plc.ErrRefused, which, e)
	case unknown:
		return fmt.Errorf("%w: %s is not trusted: put its authority into ca_file, or itself into server_cert_file: %w", plc.ErrRefused, which, e)
	case name:
		return fmt.Errorf("%w: %s is for another name: use that in url, or trust it by server_cert_file: %w", plc.ErrRefused, which, e)
	default:
		return fmt.Errorf("%w: %s: %w", plc.ErrRefused, which, e)
	}
}

// unreachable types a failed handshake that nobody has refused.
func unreachable(err error) error {
	if errors.Is(err, plc.ErrRefused) {
		return err
	}
	return fmt.Errorf("%w: %w", plc.ErrUnreachable, err)
}
