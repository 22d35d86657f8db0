package config

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// maxSecret is more than any key or token has.
const maxSecret = 64 << 10

// Secret is where a key or a token stands: a file or an environment variable.
// The value itself is read when it is used and is never kept, so that a rotated
// key is found without a restart and no dump of the configuration can hold it.
type Secret struct {
	key  string // for messages: "api_key"
	file string // absolute or relative to the process, may begin with $CREDENTIALS_DIRECTORY
	env  string
}

// credentials is where systemd puts what LoadCredential names.
const credentials = "CREDENTIALS_DIRECTORY"

// IsSet reports whether the configuration names a place for the secret.
func (s Secret) IsSet() bool { return s.file != "" || s.env != "" }

// String returns "set" or "not set".
func (s Secret) String() string {
	if s.IsSet() {
		return "set"
	}
	return "not set"
}

// Format writes what String returns, whatever the verb: %#v and %d would show
// the fields.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// MarshalText writes what String returns.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue logs what String returns.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// Read returns the secret without surrounding white space. It returns
// an error when none is configured, and an error that names the place,
// never the content, when the place is empty or cannot be read.
func (s Secret) Read() (string, error) {
	switch {
	case s.file != "":
		return s.readFile()
	case s.env != "":
		text, found := os.LookupEnv(s.env)
		if !found {
			return "", fmt.Errorf("read %s_env: the environment variable %s is not set", s.key, s.env)
		}
		return s.check(text, "the environment variable "+s.env)
	default:
		return "", errors.New("no secret is configured")
	}
}

func (s Secret) readFile() (string, error) {
	path := s.file
	if rest, found := strings.CutPrefix(path, "$"+credentials); found {
		dir := os.Getenv(credentials)
		if dir == "" {
			return "", fmt.Errorf("read %s_file %s: %s is not set; it is where systemd puts what LoadCredential= names", s.key, path, credentials)
		}
		path = filepath.Join(dir, rest)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("read %s_file: %w", s.key, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return "", fmt.Errorf("read %s_file: %w", s.key, err)
	}
	if len(data) > maxSecret {
		return "", fmt.Errorf("read %s_file %s: over 64 KiB, is it the right file?", s.key, path)
	}
	return s.check(string(data), path)
}

// check refuses what would end up in an HTTP header and break it.
func (s Secret) check(text, where string) (string, error) {
	text = strings.TrimSpace(strings.TrimPrefix(text, "\ufeff"))
	if text == "" {
		return "", fmt.Errorf("read %s: %s is empty", s.key, where)
	}
	if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", fmt.Errorf("read %s: %s holds more than one line or a control character", s.key, where)
	}
	return text, nil
}

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// secret reads KEY_file and KEY_env. Messages about them never show what was
// written: a person may have put the secret itself there.
func (s *section) secret(key string) Secret {
	file, env := s.text(key+"_file", ""), s.text(key+"_env", "")
	if file != "" && env != "" {
		s.fail(key+"_env", "%s_file and %s_env are both set; keep one", key, key)
	}
	if env != "" && !envName.MatchString(env) {
		s.fail(key+"_env", "%s_env wants the name of an environment variable (letters, digits, _), never the secret itself", key)
		env = ""
	}
	if file != "" && !strings.HasPrefix(file, "$"+credentials+"/") {
		if strings.ContainsAny(file, "$") {
			s.fail(key+"_file", "%s_file expands nothing but $%s/ at its beginning; write the whole path", key, credentials)
		}
		file = s.path(key+"_file", "")
	}
	return Secret{key: key, file: file, env: env}
}
