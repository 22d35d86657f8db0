package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"edgeagent/plc/opcua"
)

// The command of the operations page works on a gateway that has no pki folder
// yet, and a certificate that was compared once is never written over.
func TestSaveCertificateMakesItsFolderAndOverwritesNothing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pki", "filler.der")
	shown := func(der string) []opcua.Endpoint {
		return []opcua.Endpoint{{}, {Certificate: &opcua.ServerCertificate{DER: []byte(der)}}}
	}
	if err := saveCertificate(io.Discard, file, shown("trusted")); err != nil {
		t.Fatal(err)
	}
	if err := saveCertificate(io.Discard, file, shown("another")); !errors.Is(err, os.ErrExist) {
		t.Errorf("a second one = %v, want that the first is there", err)
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != "trusted" {
		t.Errorf("the file holds %q, %v", got, err)
	}
	if err := saveCertificate(io.Discard, file, []opcua.Endpoint{{}}); err == nil {
		t.Error("no certificate was saved without an error")
	}
}
