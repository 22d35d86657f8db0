package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSecretRead(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	t.Setenv("EA_TEST_KEY", " from-env\n")
	t.Setenv("EA_TEST_EMPTY", "")
	for name, content := range map[string]string{
		"plain": "from-file\n", "bom": "\ufefffrom-file\r\n", "empty": " \n", "two": "a\nb\n", "huge": strings.Repeat("x", maxSecret+1),
	} {
		overwrite(t, filepath.Join(dir, name), content)
	}
	tests := map[string]struct {
		secret  Secret
		want    string
		wantErr string
	}{
		"file":                   {secret: Secret{file: filepath.Join(dir, "plain")}, want: "from-file"},
		"byte order mark":        {secret: Secret{file: filepath.Join(dir, "bom")}, want: "from-file"},
		"credentials":            {secret: Secret{file: "$CREDENTIALS_DIRECTORY/plain"}, want: "from-file"},
		"environment":            {secret: Secret{env: "EA_TEST_KEY"}, want: "from-env"},
		"empty file":             {secret: Secret{key: "token", file: filepath.Join(dir, "empty")}, wantErr: "empty"},
		"empty variable":         {secret: Secret{env: "EA_TEST_EMPTY"}, wantErr: "EA_TEST_EMPTY is empty"},
		"variable not set":       {secret: Secret{key: "token", env: "EA_TEST_NONE"}, wantErr: "token_env: the environment variable EA_TEST_NONE is not set"},
		"no file":                {secret: Secret{key: "token", file: filepath.Join(dir, "none")}, wantErr: "token_file"},
		"a header within":        {secret: Secret{file: filepath.Join(dir, "two")}, wantErr: "more than one line"},
		"not the file":           {secret: Secret{file: filepath.Join(dir, "huge")}, wantErr: "64 KiB"},
		"a directory":            {secret: Secret{file: dir}, wantErr: "directory"},
		"nothing is configured":  {wantErr: "no secret is configured"},
		"no credential of ours":  {secret: Secret{file: "$CREDENTIALS_DIRECTORY/none"}, wantErr: "none"},
		"credentials, escaping?": {secret: Secret{file: "$CREDENTIALS_DIRECTORY/../" + filepath.Base(dir) + "/plain"}, want: "from-file"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := tt.secret.Read()
			if got != tt.want || (err != nil) != (tt.wantErr != "") || err != nil && !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("got %q, %v; want %q, %q", got, err, tt.want, tt.wantErr)
			}
		})
	}
}

func TestSecretWithoutSystemd(t *testing.T) {
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	if err := os.Unsetenv("CREDENTIALS_DIRECTORY"); err != nil {
		t.Fatal(err)
	}
	_, err := Secret{key: "token", file: "$CREDENTIALS_DIRECTORY/x"}.Read()
	if err == nil || !strings.Contains(err.Error(), "LoadCredential") {
		t.Errorf("error is %v, want one that explains LoadCredential", err)
	}
}

// TestSecretIsRotated: the value is read when it is used, not when the
// configuration is.
func TestSecretIsRotated(t *testing.T) {
	path := written(t, minimal+"[[sync]]\nname = \"s\"\nurl = \"https://a.example\"\ntoken_file = \"token\"\n")
	c, err := Load(path, checks)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Sync[0].Token.Read(); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("before the file is there: %v, want not exist", err)
	}
	for _, want := range []string{"first", "second"} {
		overwrite(t, filepath.Join(filepath.Dir(path), "token"), want+"\n")
		if got, err := c.Sync[0].Token.Read(); got != want || err != nil {
			t.Errorf("got %q, %v; want %q", got, err, want)
		}
	}
}

// TestSecretIsNeverPrinted prints a configuration in every way there is. Even
// the place is left out: a person may have put the secret there.
func TestSecretIsNeverPrinted(t *testing.T) {
	c := mustParse(t, minimal+`
[[llm.provider]]
name = "cloud"
kind = "openai"
model = "m"
api_key_env = "VERY_SECRET"
[[sync]]
name = "s"
url = "https://a.example"
token_file = "/VERY_SECRET"
`)
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "config", c.Sync, "token", c.Sync[0].Token)
	asJSON, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	dumps := map[string]string{"json": string(asJSON), "log": log.String()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		dumps[verb] = fmt.Sprintf(verb+verb+verb, c.LLM, c.Sync, c.Sync[0].Token)
	}
	for how, dump := range dumps {
		if strings.Contains(dump, "VERY_SECRET") {
			t.Errorf("%s shows it: %s", how, dump)
		}
		if !strings.Contains(dump, "set") {
			t.Errorf("%s does not say that one is set: %s", how, dump)
		}
	}
}
