package config

import (
	"net/url"
	"regexp"
	"slices"
)

// proxyEnvironment as a proxy means what HTTPS_PROXY, HTTP_PROXY and NO_PROXY say.
const proxyEnvironment = "environment"

// proxySchemes are what a proxy is spoken to by.
var proxySchemes = []string{"http", "https", "socks5"}

var apiVersion = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$`)

// way reads how a provider is reached: whom to trust, who we are, and through
// which proxy. The proxy's password stands where all secrets stand, never in
// its URL: the file is copied into mails and bundles.
func (s *section) way(p *Provider) {
	p.CAFile = s.path("ca_file", "")
	p.ClientCertFile, p.ClientKeyFile = s.path("client_cert_file", ""), s.path("client_key_file", "")
	s.pairOfFiles("client_cert_file", "client_key_file")
	p.ProxyPassword = s.secret("proxy_password") // before the URL: what is said of that names this key
	p.Proxy = s.proxy("proxy")
	p.ProxyUser = s.text("proxy_user", "")
	s.proxyLogin(p)
}

func (s *section) proxy(key string) string {
	raw := s.text(key, "")
	if raw == "" || raw == proxyEnvironment {
		return raw
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil || !slices.Contains(proxySchemes, u.Scheme) || u.Hostname() == "" || u.Port() != "" && !validPort(u.Port(), 1):
		s.fail(key, `%s %s is no address of a proxy; want http://HOST:PORT, https://HOST:PORT, socks5://HOST:PORT or %q`, key, hideUser(raw), proxyEnvironment)
	case u.User != nil:
		s.fail(key, "%s holds a user or password, and a secret never stands in this file; use proxy_user with proxy_password_file or proxy_password_env", key)
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "":
		s.fail(key, "%s %s has something behind its host; want only scheme, host and port", key, quote(raw))
	}
	return raw
}

// proxyLogin books a user without a password, the other way round, and both
// without a proxy of our own.
func (s *section) proxyLogin(p *Provider) {
	secret := s.pick("proxy_password_file", "proxy_password_env")
	switch {
	case p.ProxyUser == "" && !p.ProxyPassword.IsSet():
	case p.Proxy == "" || p.Proxy == proxyEnvironment:
		if s.good("proxy") {
			s.fail(s.pick("proxy_user", secret), "a user for the proxy needs the proxy here; add proxy = \"http://HOST:PORT\"")
		}
	case p.ProxyUser == "":
		s.missing("proxy_user", `"NAME"`)
	case !p.ProxyPassword.IsSet() && s.good("proxy_password_file", "proxy_password_env"):
		s.missing("proxy_password_file", `"FILE"`)
	}
}

// pick returns the first of the keys that is set, else the last.
func (s *section) pick(keys ...string) string {
	for _, key := range keys {
		if s.set(key) {
			return key
		}
	}
	return keys[len(keys)-1]
}

// apiVersion reads the version of Azure's API.
func (s *section) apiVersion(kind string) string {
	if kind != KindAzure {
		s.text("api_version", "")
		return ""
	}
	version := s.text("api_version", defaultAPIVersion)
	if !apiVersion.MatchString(version) {
		s.fail("api_version", "api_version %s is none; want a date such as %q", quote(version), defaultAPIVersion)
	}
	return version
}

// patterns reads a list of regular expressions.
func (s *section) patterns(key string) []*regexp.Regexp {
	var out []*regexp.Regexp
	for _, w := range s.words(key) {
		re, err := regexp.Compile(w.text)
		switch {
		case err != nil:
			s.failAt(key, w.pos, "%s %s is no regular expression: %s; see the syntax of RE2", key, quote(w.text), oneLine(err))
		case re.MatchString(""):
			s.failAt(key, w.pos, "%s %s matches an empty text, and so everywhere; write what has to be there, + instead of *", key, quote(w.text))
		default:
			out = append(out, re)
		}
	}
	return out
}
