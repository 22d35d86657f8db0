package status

import (
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
)

// hostGuard answers only requests that were meant for this machine. A page of
// the internet can point its own name at 127.0.0.1 and read what the browser
// of an operator can read; its Host header gives it away, on GET too.
type hostGuard struct {
	names map[string]bool
	own   func() string
}

func newHostGuard(hosts []string) *hostGuard {
	g := &hostGuard{names: map[string]bool{"localhost": true}}
	for _, h := range hosts {
		g.names[hostName(h)] = true
	}
	g.own = sync.OnceValue(func() string {
		// Without a name of its own the machine is reached by address.
		name, _ := os.Hostname()
		return hostName(name)
	})
	return g
}

func (g *hostGuard) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !g.allows(r.Host) {
			secure(w.Header())
			fail(w, http.StatusMisdirectedRequest, "foreign_host",
				"this address is not answered under the name "+r.Host+"; add it to hosts in [status] if it is meant to be")
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (g *hostGuard) allows(host string) bool {
	name := hostName(host)
	if name == "" {
		return false
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return true // an address cannot be pointed elsewhere
	}
	return g.names[name] || name == g.own()
}

// hostName cuts port, brackets and the root's dot off a Host header.
func hostName(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// secure sets what every answer carries. Nothing is loaded from elsewhere,
// nothing inline runs, nobody frames the page.
func secure(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "+
		"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}
