package opcua

import (
	"errors"
	"slices"
	"testing"

	"edgeagent"
	"edgeagent/plc"
)

func TestBrowseTellsWhatToConfigure(t *testing.T) {
	p := startPlant(t)
	got := map[string]Node{}
	err := Browse(t.Context(), p.options("Basic256Sha256", "SignAndEncrypt"), "", func(n Node) error {
		if _, twice := got[n.ID]; twice {
			t.Errorf("%s is visited twice", n.ID)
		}
		got[n.ID] = n
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]struct {
		typ   edgeagent.DataType
		array bool
	}{
		"level": {edgeagent.TypeFloat64, false}, "count": {edgeagent.TypeInt32, false},
		"run": {edgeagent.TypeBool, false}, "name": {edgeagent.TypeString, false},
		"words": {edgeagent.TypeUint16, true}, "typed": {edgeagent.TypeFloat32, false},
	} {
		n, ok := got["nsu="+plantURI+";s="+name]
		if !ok || n.Type != want.typ || n.Array != want.array || !n.Readable {
			t.Errorf("%s: %+v, want %+v", name, n, want)
		}
		if err := CheckNode(n.ID); err != nil {
			t.Errorf("%s cannot be configured: %v", n.ID, err)
		}
	}
	if n := got["nsu="+plantURI+";s=typed"]; n.DataType != "Float" || n.Access != "read history" {
		t.Errorf("typed: %+v", n)
	}
	if len(got) > 50 {
		t.Errorf("%d variables: the server's own diagnostics are among them", len(got))
	}
}

func TestBrowseBeginsAnywhereAndStopsAtOnce(t *testing.T) {
	p := startPlant(t)
	var seen []string
	if err := Browse(t.Context(), p.options("", ""), "nsu="+plantURI+";s=level", func(n Node) error {
		seen = append(seen, n.ID)
		return nil
	}); err != nil || !slices.Equal(seen, []string{"nsu=" + plantURI + ";s=level"}) {
		t.Errorf("from a variable: %v, %v", seen, err)
	}
	enough := errors.New("enough")
	calls := 0
	err := Browse(t.Context(), p.options("", ""), "", func(Node) error { calls++; return enough })
	if !errors.Is(err, enough) || calls != 1 {
		t.Errorf("visited %d more, %v", calls-1, err)
	}
	err = Browse(t.Context(), p.options("", ""), "nsu=urn:absent;s=x", nil)
	wants(t, err, nil, "urn:absent", plantURI)
}

func TestDescribeShowsWhatToTrust(t *testing.T) {
	p := startPlant(t)
	list, err := Describe(t.Context(), p.options("", ""))
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != len(offered) {
		t.Errorf("%d endpoints, want %d", len(list), len(offered))
	}
	for _, e := range list {
		if e.Certificate == nil || e.Certificate.SHA256 != sum(p.der) || e.Certificate.KeyBits != 2048 || e.Certificate.Problem != "" ||
			!slices.Contains(e.Certificate.URIs, "urn:test:server") || !slices.Contains(e.Certificate.Hosts, "localhost") {
			t.Errorf("%s/%s: certificate %+v", e.Security, e.Mode, e.Certificate)
		}
		if !e.Usable || !slices.ContainsFunc(e.Logins, func(l Login) bool { return l.Kind == "user" && l.Security != "" }) {
			t.Errorf("%s/%s: usable %v, logins %v", e.Security, e.Mode, e.Usable, e.Logins)
		}
	}
	o := p.options("", "")
	o.Endpoint = "opc.tcp://127.0.0.1:1"
	_, err = Describe(t.Context(), o)
	wants(t, err, plc.ErrUnreachable, "127.0.0.1:1")
}
