package config

import (
	"slices"
	"strings"

	"edgeagent/internal/spelling"
)

// unsupported are the keys that the documentation of the product names and
// this version does not do yet, by table. They are refused by name: a key that
// is accepted and ignored is worse than none.
var unsupported = map[string][]string{
	"agent":  {"shifts"},
	"status": {"users_file", "tls_cert_file", "tls_key_file", "insecure_lan"},
	"alarms": {"commissioning_until"},
	"sync":   {"user", "password_file", "password_env", "client_cert_file", "client_key_file", "proxy", "max_bytes_per_s"},
}

// literalSecrets are names under which people write a secret itself.
var literalSecrets = []string{"api_key", "apikey", "key", "password", "passwd", "secret", "token"}

// absence is a required key that is not there.
type absence struct {
	*section
	key, example string
}

// refuseUnknown books every key that nobody asked for, and every one that was
// asked for in vain, unless the one is the other misspelt.
func (r *reader) refuseUnknown() {
	owners := r.owners()
	for _, s := range r.sections {
		if s.contents {
			continue
		}
		for _, e := range s.t.entries {
			if !s.knows(e.key) {
				s.unknown(e, owners)
			}
		}
	}
	for _, a := range r.absent {
		if !slices.ContainsFunc(a.t.entries, func(e *entry) bool { return !a.knows(e.key) && spelling.Nearest(e.key, a.asked) == a.key }) {
			if a.t.row {
				a.add(a.t.pos, "the row has no %s; fill it in, such as %s", a.key, a.example)
				continue
			}
			a.add(a.t.pos, "%s needs %q; add %s = %s", a.t.title, a.key, a.key, a.example)
		}
	}
}

// owners names the one kind of table that knows a key; keys that several know
// are left out.
func (r *reader) owners() map[string]*section {
	one := map[string]*section{}
	for _, s := range r.sections {
		for _, key := range s.asked {
			if other, taken := one[key]; !taken {
				one[key] = s
			} else if other != nil && other.schema != s.schema {
				one[key] = nil
			}
		}
	}
	return one
}

func (s *section) unknown(e *entry, owners map[string]*section) {
	switch {
	case slices.Contains(literalSecrets, strings.ToLower(e.key)), slices.Contains(s.asked, e.key+"_env"):
		s.add(e.pos, "%s is a secret, and a secret never stands in this file; %s", quote(e.key), s.secretRemedy(e.key))
	case slices.Contains(unsupported[s.schema], e.key):
		s.add(e.at(), "%s is not supported by this version; remove it", quote(e.key))
	case s.parent == nil:
		s.add(e.at(), "unknown table or key %s%s", quote(e.key), didYouMean(e.key, s.asked))
	case s.parent.parent != nil && s.parent.knows(e.key):
		s.add(e.pos, "%s belongs to %s, not to %s; write it above the first table of %s",
			quote(e.key), s.parent.t.title, s.t.title, s.parent.t.title)
	case owners[e.key] != nil && owners[e.key].parent != nil:
		s.add(e.at(), "unknown key %s in %s; it belongs to %s", quote(e.key), s.t.title, owners[e.key].t.title)
	default:
		s.add(e.at(), "unknown key %s in %s%s", quote(e.key), s.t.title, didYouMean(e.key, s.asked))
	}
}

// at returns where a reader looks for the key: its header if it has one.
func (e *entry) at() int {
	if v := e.value; v.heads || v.kind == kindTable && v.table.header {
		return v.pos
	}
	return e.pos
}

// secretRemedy names the keys that the section has for a secret, of those first
// that are like the one that was written.
func (s *section) secretRemedy(like string) string {
	for _, key := range []string{like, "api_key", "token", "password"} {
		if slices.Contains(s.asked, key+"_file") {
			return key + `_file = "FILE" names a file that holds it, ` + key + `_env = "NAME" an environment variable`
		}
	}
	return "remove it"
}
