package opcua

import (
	"bytes"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestOwnCertificateIsMadeOnceAndKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pki")
	cert, key := filepath.Join(dir, "own.der"), filepath.Join(dir, "own.pem")
	now := time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)
	make1 := func() error {
		return EnsureCertificate(cert, key, "urn:edgeagent:plant-a:gw", []string{"gw", "10.0.0.7", ""}, now)
	}
	if err := make1(); err != nil {
		t.Fatal(err)
	}
	id, err := readIdentity(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	c := id.leaf
	if len(c.URIs) != 1 || c.URIs[0].String() != "urn:edgeagent:plant-a:gw" || len(c.DNSNames) != 1 || c.DNSNames[0] != "gw" || c.IPAddresses[0].String() != "10.0.0.7" {
		t.Errorf("names: %v %v %v", c.URIs, c.DNSNames, c.IPAddresses)
	}
	usage := x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment | x509.KeyUsageKeyEncipherment | x509.KeyUsageDataEncipherment
	if c.KeyUsage&usage != usage || len(c.ExtKeyUsage) != 2 || c.IsCA || c.SignatureAlgorithm != x509.SHA256WithRSA || id.key.N.BitLen() != 2048 {
		t.Errorf("usage %b %v, %v, %d bits", c.KeyUsage, c.ExtKeyUsage, c.SignatureAlgorithm, id.key.N.BitLen())
	}
	if err := c.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature); err != nil {
		t.Error(err)
	}
	if !c.NotAfter.Equal(now.AddDate(10, 0, 0)) {
		t.Errorf("until %v", c.NotAfter)
	}
	if info, err := os.Stat(key); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key: %v, %v", info.Mode(), err)
	}
	before, _ := os.ReadFile(cert)
	if err := make1(); err != nil {
		t.Fatal(err)
	}
	if after, _ := os.ReadFile(cert); !bytes.Equal(before, after) {
		t.Error("the certificate that servers trust was replaced")
	}
	if left, _ := os.ReadDir(dir); len(left) != 2 {
		t.Errorf("left behind: %v", left)
	}
}

// TestCertificateOfAWrongClockIsValidAllTheSame: the first start may be in 1970,
// and the PLC's clock may be there still.
func TestCertificateOfAWrongClockIsValidAllTheSame(t *testing.T) {
	for _, made := range []time.Time{time.Unix(100, 0), time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)} {
		dir := t.TempDir()
		cert, key := filepath.Join(dir, "own.crt"), filepath.Join(dir, "own.key")
		if err := EnsureCertificate(cert, key, "urn:edgeagent:a:b", nil, made); err != nil {
			t.Fatal(err)
		}
		id, err := readIdentity(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		if data, _ := os.ReadFile(cert); !strings.HasPrefix(string(data), "-----BEGIN CERTIFICATE-----") {
			t.Error("own.crt is not PEM")
		}
		for _, at := range []time.Time{time.Unix(1000, 0), time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC), time.Date(2035, 1, 1, 0, 0, 0, 0, time.UTC)} {
			if at.Before(id.leaf.NotBefore) || at.After(id.leaf.NotAfter) {
				t.Errorf("made at %v: not valid at %v", made, at)
			}
		}
	}
}

func TestHalfAnIdentityIsNotReplaced(t *testing.T) {
	p := startPlant(t)
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "own.der"), filepath.Join(dir, "own.pem")
	ensure := func() error { return EnsureCertificate(cert, key, "urn:edgeagent:a:b", nil, time.Now()) }
	copyFile(t, p.own, cert)
	wants(t, ensure(), nil, "bring the key back", key)
	// A power cut after the key: the certificate is made for it.
	if err := os.Remove(cert); err != nil {
		t.Fatal(err)
	}
	copyFile(t, p.pem, key)
	if err := ensure(); err != nil {
		t.Fatal(err)
	}
	was, _ := os.ReadFile(p.pem)
	if is, _ := os.ReadFile(key); !bytes.Equal(was, is) {
		t.Error("the key was replaced")
	}
	if _, err := readIdentity(cert, key); err != nil {
		t.Error(err)
	}
	// Files that do not belong together are told.
	_, other := newPair(t, nil, 2048)
	copyFile(t, other, key)
	wants(t, ensure(), nil, "does not belong to the certificate", key, cert)
	write(t, key, []byte("garbage"))
	wants(t, ensure(), nil, "is no private key", key)
	write(t, cert, nil)
	wants(t, ensure(), nil, cert)
	if err := EnsureCertificate(dir, dir, "urn:a", nil, time.Now()); err == nil {
		t.Error("a folder is taken for a certificate")
	}
	if err := EnsureCertificate(filepath.Join(dir, "a"), filepath.Join(dir, "b"), "", nil, time.Now()); err == nil {
		t.Error("a certificate without an application URI was made")
	}
}

func TestWhatFollowsACertificateIsNotLookedAt(t *testing.T) {
	p := startPlant(t)
	for name, tail := range map[string][]byte{"zeros": make([]byte, 9), "a chain": p.der} {
		c, err := parseCertificate(append(bytes.Clone(p.der), tail...))
		if err != nil || !sameLeaf(c.chain, c) || sum(c.leaf.Raw) != sum(p.der) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	write(t, to, data)
}
