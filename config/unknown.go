package config

import (
	"slices"
	"strings"
)

// unsupported are the keys that the documentation of the product names and
// this version does not do yet, by table. They are refused by name: a key that
// is accepted and ignored is worse than none.
var unsupported = map[string][]string{
	"":             {"include", "template", "device_list"},
	"agent":        {"shifts"},
	"status":       {"users_file", "tls_cert_file", "tls_key_file", "insecure_lan"},
	"alarms":       {"commissioning_until"},
	"line":         {"mode"},
	"device":       {"heartbeat", "tags_file", "alarm_word", "alarm_code", "events", "opcua"},
	"device.tag":   {"index"},
	"device.alarm": {"active_in", "settle"},
	"llm":          {"redact", "review_local"},
	"llm.provider": {"client_cert_file", "client_key_file", "proxy"},
	"sync":         {"user", "password_file", "password_env", "client_cert_file", "client_key_file", "proxy", "max_bytes_per_s"},
}

// literalSecrets are names under which people write a secret itself.
var literalSecrets = []string{"api_key", "apikey", "key", "password", "passwd", "secret", "token"}

// refuseUnknown books every key that nobody asked for.
func (r *reader) refuseUnknown() {
	for _, s := range r.sections {
		for _, e := range s.t.entries {
			if !slices.Contains(s.asked, e.key) {
				s.unknown(e)
			}
		}
	}
}

func (s *section) unknown(e *entry) {
	switch {
	case slices.Contains(literalSecrets, strings.ToLower(e.key)):
		s.add(e.pos, "%s is a secret, and a secret never stands in this file; %s", quote(e.key), s.secretRemedy())
	case slices.Contains(unsupported[s.schema], e.key):
		s.add(e.at(), "%s is not supported by this version; remove it", quote(e.key))
	case s.parent != nil && slices.Contains(s.parent.asked, e.key):
		s.add(e.pos, "%s belongs to %s, not to %s; move it up, above the first table below it",
			quote(e.key), s.parent.t.title, s.t.title)
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

// secretRemedy names the keys that the section has for a secret.
func (s *section) secretRemedy() string {
	for _, key := range []string{"api_key", "token"} {
		if slices.Contains(s.asked, key+"_file") {
			return key + `_file = "FILE" names a file that holds it, ` + key + `_env = "NAME" an environment variable`
		}
	}
	return "remove it"
}
