package opcua

import (
	"strings"
	"testing"

	"github.com/gopcua/opcua/ua"
)

var someNamespaces = []string{namespaceZero, "urn:server", "urn:filler", "http://a/b;i=1", "50%"}

func TestAddressesResolve(t *testing.T) {
	c := &client{ns: someNamespaces}
	for address, want := range map[string]*ua.NodeID{
		"i=2258":                   ua.NewNumericNodeID(0, 2258),
		"i=4294967295":             ua.NewNumericNodeID(0, 4294967295),
		"s=Bare":                   ua.NewStringNodeID(0, "Bare"),
		"ns=2;s=Filler.Level":      ua.NewStringNodeID(2, "Filler.Level"),
		"ns=65535;i=1":             ua.NewNumericNodeID(65535, 1),
		`ns=3;s="DB"."a;i=1"[2]`:   ua.NewStringNodeID(3, `"DB"."a;i=1"[2]`),
		"nsu=urn:filler;s=Level":   ua.NewStringNodeID(2, "Level"),
		"nsu=urn:filler;s=a=b;c=d": ua.NewStringNodeID(2, "a=b;c=d"),
		"nsu=http://a/b%3Bi=1;i=7": ua.NewNumericNodeID(3, 7),
		"nsu=50%25;i=7":            ua.NewNumericNodeID(4, 7),
		"nsu=urn:server;b=AQID":    ua.NewByteStringNodeID(1, []byte{1, 2, 3}),
		"ns=1;g=5FAC5DA5-71F7-4CDF-9A5C-4C5C4D4D4D4D": ua.NewGUIDNodeID(1, "5FAC5DA5-71F7-4CDF-9A5C-4C5C4D4D4D4D"),
	} {
		got, err := c.resolve(address)
		if err != nil || got.String() != want.String() {
			t.Errorf("%s: %v, %v; want %v", address, got, err, want)
		}
		if err := CheckNode(address); err != nil {
			t.Errorf("%s: %v", address, err)
		}
		if int(want.Namespace()) >= len(someNamespaces) {
			continue
		}
		if again, err := c.resolve(nodeName(want, someNamespaces)); err != nil || again.String() != want.String() {
			t.Errorf("%s written as %s: %v, %v", address, nodeName(want, someNamespaces), again, err)
		}
	}
}

func TestWrongAddressesAreTold(t *testing.T) {
	for address, says := range map[string]string{
		"": "want i=", "2258": "want i=", "i=": "want i=", "i=x": "no number", "i=4294967296": "no number", "i=-1": "no number",
		"ns=65536;i=1": "ns=NUMBER", "ns=;i=1": "ns=NUMBER", "ns=2": "ns=NUMBER", "ns=-1;i=1": "ns=NUMBER", "x=1": "want i=",
		"nsu=urn:filler": "nsu=URI", "nsu=;i=1": "nsu=URI", "g=1": "g=1", "b=*": "b=*", "ns=2;holding:5": "want i=",
		"s=" + strings.Repeat("x", 5000): "5002 bytes",
	} {
		if err := CheckNode(address); err == nil || !strings.Contains(err.Error(), says) || len(err.Error()) > 500 {
			t.Errorf("%.40q: %v, want %q", address, err, says)
		}
	}
	_, err := (&client{ns: someNamespaces}).resolve("nsu=urn:gone;i=1")
	wants(t, err, nil, "urn:gone", "urn:filler")
}

// TestNamespaceNumbersFollowTheServer: after a restart they may be others.
func TestNamespaceNumbersFollowTheServer(t *testing.T) {
	for i, order := range [][]string{{namespaceZero, "urn:a", "urn:b"}, {namespaceZero, "urn:b", "urn:a"}} {
		n, err := (&client{ns: order}).resolve("nsu=urn:b;s=x")
		if err != nil || int(n.Namespace()) != 2-i {
			t.Errorf("%v: %v, %v", order, n, err)
		}
	}
}

func FuzzNode(f *testing.F) {
	for _, s := range []string{"i=1", "ns=2;s=x", "nsu=urn:filler;s=a;i=b", "b=AQ==", "g=5FAC5DA5-71F7-4CDF-9A5C-4C5C4D4D4D4D", "nsu=%3B;i=1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := parseNode(s, someNamespaces)
		if err != nil || int(n.Namespace()) >= len(someNamespaces) {
			return
		}
		again, err := parseNode(nodeName(n, someNamespaces), someNamespaces)
		if err != nil || again.String() != n.String() {
			t.Errorf("%q is %v, written as %q it is %v, %v", s, n, nodeName(n, someNamespaces), again, err)
		}
	})
}
