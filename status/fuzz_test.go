package status

import (
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
)

// Whatever is posted, it is either understood, and then means the same when
// written again, or refused with a message.
func FuzzOutsideAlarm(f *testing.F) {
	for _, seed := range []string{
		`{"line":"Filler-2","code":"M17","text":"stops","values":{"a":1,"b":null,"c":18446744073709551615,"d":"x"}}`,
		`{"line":"a","code":"b","text":"c","priority":9}`, `{"priority":1e400}`, `[]`, `null`, ``, `{}{}`, `{"values":{"a":[`, "\xff",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		var o OutsideAlarm
		r := httptest.NewRequestWithContext(t.Context(), "POST", "/", strings.NewReader(body))
		if err := decode(httptest.NewRecorder(), r, &o); err != nil {
			if err.Error() == "" || strings.Contains(err.Error(), "OutsideAlarm") {
				t.Errorf("%q: message %q", body, err)
			}
			return
		}
		if checkOutside(o) != nil {
			return
		}
		first, err := bodyHash(o)
		second, again := bodyHash(o)
		if err != nil || again != nil || first != second || len(first) != 64 {
			t.Errorf("%q: %q %q %v", body, first, second, err)
		}
	})
}

// No Host header gets by that is neither an address nor a known name.
func FuzzHost(f *testing.F) {
	for _, seed := range []string{"localhost", "127.0.0.1:80", "[::1]:80", "evil.example", "localhost.evil", "[", "]", ":", "1.2.3.4.5", "::1%25eth0"} {
		f.Add(seed)
	}
	g := newHostGuard([]string{"gateway"})
	g.own = func() string { return "line-3" }
	f.Fuzz(func(t *testing.T, host string) {
		if !g.allows(host) {
			return
		}
		name := hostName(host)
		_, err := netip.ParseAddr(name)
		if err != nil && name != "localhost" && name != "gateway" && name != "line-3" {
			t.Errorf("host %q got by as %q", host, name)
		}
	})
}
