package opcua

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"
)

const (
	ownKeyBits     = 2048
	minKeyBits     = 2048
	certificateAge = 10 // years
	maxPKIFile     = 1 << 20
)

// earliest is when the agent cannot have started before: a clock that says so
// is wrong.
var earliest = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

// certificate is one with an RSA key, as OPC UA needs it.
type certificate struct {
	leaf  *x509.Certificate
	key   *rsa.PublicKey
	chain []byte // leaf and what came with it, DER
}

// identity is a certificate and the key that belongs to it.
type identity struct {
	certificate
	privateKey *rsa.PrivateKey
}

// sum is the SHA-256 of a certificate, as people compare it.
func sum(der []byte) string {
	h := sha256.Sum256(der)
	return hex.EncodeToString(h[:])
}

// readCertificate reads a certificate in PEM or DER. The first in the file counts.
func readCertificate(file string) (*certificate, error) {
	data, err := readPKI(file)
	if err != nil {
		return nil, err
	}
	c, err := parseCertificate(derOf(data, "CERTIFICATE"))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return c, nil
}

// parseCertificate parses a chain in DER, leaf first. What comes behind the leaf
// is kept and not looked at: some servers append zeros.
func parseCertificate(der []byte) (*certificate, error) {
	var first asn1.RawValue
	if _, err := asn1.Unmarshal(der, &first); err != nil {
		return nil, fmt.Errorf("is no certificate in PEM or DER: %w", err)
	}
	leaf, err := x509.ParseCertificate(first.FullBytes)
	if err != nil {
		return nil, fmt.Errorf("is no certificate in PEM or DER: %w", err)
	}
	key, ok := leaf.PublicKey.(*rsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("the certificate's key is %s, OPC UA needs RSA", leaf.PublicKeyAlgorithm)
	}
	return &certificate{leaf: leaf, key: key, chain: der}, nil
}

// readIdentity reads a certificate and its key, and checks that they fit.
func readIdentity(certFile, keyFile string) (*identity, error) {
	cert, err := readCertificate(certFile)
	if err != nil {
		return nil, err
	}
	data, err := readPKI(keyFile)
	if err != nil {
		return nil, err
	}
	key, err := parseKey(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", keyFile, err)
	}
	if !key.PublicKey.Equal(cert.key) {
		return nil, fmt.Errorf("the key in %s does not belong to the certificate in %s", keyFile, certFile)
	}
	return &identity{certificate: *cert, privateKey: key}, nil
}

// parseKey parses an RSA key: PKCS#1 or PKCS#8, PEM or DER.
func parseKey(data []byte) (*rsa.PrivateKey, error) {
	if block, _ := pem.Decode(data); block != nil && block.Type == "ENCRYPTED PRIVATE KEY" || block != nil && block.Headers["DEK-Info"] != "" {
		return nil, errors.New("the key is encrypted: the agent starts without a person, decrypt it with openssl pkey")
	}
	der := derOf(data, "RSA PRIVATE KEY", "PRIVATE KEY")
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key, nil
	}
	any8, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("is no private key in PKCS#1 or PKCS#8, PEM or DER: %w", err)
	}
	key, ok := any8.(*rsa.PrivateKey)
	if !ok {
		return nil, errors.New("the key is not RSA, which OPC UA needs")
	}
	return key, nil
}

// derOf returns the blocks of the wanted types of a PEM file, one behind the
// other, or the data itself if it is no PEM.
func derOf(data []byte, types ...string) []byte {
	var out []byte
	for rest := data; ; {
		block, after := pem.Decode(rest)
		if block == nil {
			break
		}
		if slices.Contains(types, block.Type) {
			out = append(out, block.Bytes...)
		}
		rest = after
	}
	if out == nil {
		return data
	}
	return out
}

func readPKI(file string) ([]byte, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxPKIFile || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: is no certificate or key: %d bytes", file, info.Size())
	}
	return os.ReadFile(file)
}

// EnsureCertificate makes the agent's own certificate and key if neither file
// is there: RSA 2048, self-signed, 10 years from now, key in PKCS#8 PEM and
// readable by its owner alone, certificate in DER if certFile ends in .der, in
// PEM otherwise. uri is the application's (urn:edgeagent:SITE:ID); hostnames
// may be addresses. Files that are there are read and checked, never replaced:
// servers trust them by their bytes. An error names the file and the remedy.
func EnsureCertificate(certFile, keyFile, uri string, hostnames []string, now time.Time) error {
	certThere, keyThere := exists(certFile), exists(keyFile)
	if certThere && keyThere {
		_, err := readIdentity(certFile, keyFile)
		return err
	}
	if certThere {
		return fmt.Errorf("%s is there, but not its key %s: bring the key back, or remove the certificate to have both made anew (the servers must then trust the new one)", certFile, keyFile)
	}
	key, err := keyFor(keyFile, keyThere)
	if err != nil {
		return err
	}
	der, err := selfSigned(key, uri, hostnames, now)
	if err != nil {
		return fmt.Errorf("make %s: %w", certFile, err)
	}
	if filepath.Ext(certFile) != ".der" {
		der = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	return writeDurably(certFile, der, 0o644)
}

// keyFor makes a key, or takes the one that a power cut left without its
// certificate.
func keyFor(file string, there bool) (*rsa.PrivateKey, error) {
	if there {
		data, err := readPKI(file)
		if err != nil {
			return nil, err
		}
		key, err := parseKey(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		return key, nil
	}
	key, err := rsa.GenerateKey(rand.Reader, ownKeyBits)
	if err != nil {
		return nil, fmt.Errorf("make %s: %w", file, err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("make %s: %w", file, err)
	}
	return key, writeDurably(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
}

// selfSigned makes the certificate that OPC UA Part 6, 6.2.2 asks for. It is
// valid from 1970 on, since neither this clock at the first start nor that of a
// PLC can be believed; made while the clock is known to be wrong, it is valid
// for ten more years than any date that may be the true one.
func selfSigned(key *rsa.PrivateKey, uri string, hostnames []string, now time.Time) ([]byte, error) {
	app, err := url.Parse(uri)
	if err != nil || uri == "" {
		return nil, fmt.Errorf("application URI %q is no URI", uri)
	}
	until := now.AddDate(certificateAge, 0, 0)
	if now.Before(earliest) {
		until = earliest.AddDate(2*certificateAge, 0, 0)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	name := pkix.Name{CommonName: "edgeagent", Organization: []string{"edgeagent"}}
	template := &x509.Certificate{
		SerialNumber: serial.Add(serial, big.NewInt(1)), Subject: name, NotBefore: time.Unix(0, 0).UTC(), NotAfter: until.UTC(),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment | x509.KeyUsageKeyEncipherment |
			x509.KeyUsageDataEncipherment | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
		URIs:                  []*url.URL{app},
		SignatureAlgorithm:    x509.SHA256WithRSA,
	}
	for _, h := range hostnames {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else if h != "" {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	return x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return !errors.Is(err, os.ErrNotExist)
}

// writeDurably writes a file so that a power cut leaves all of it or nothing.
func writeDurably(file string, data []byte, mode os.FileMode) error {
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "."+filepath.Base(file)+".*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone after the rename
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
