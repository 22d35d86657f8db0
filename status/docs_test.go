package status

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"edgeagent"
)

// Who builds on the API reads docs/api.md, not this source: every path and every
// field of what it answers stands there.
func TestTheAPIIsDocumented(t *testing.T) {
	data, err := os.ReadFile("../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	named := make(map[string]bool)
	for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(string(data), -1) {
		for word := range strings.FieldsFuncSeq(m[1], func(r rune) bool { return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789_", r) }) {
			named[word] = true
		}
	}
	source, err := os.ReadFile("routes.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`"(/[^"]*)":\s+\{"`).FindAllStringSubmatch(string(source), -1) {
		if path := strings.TrimSuffix(m[1], "{$}"); !strings.Contains(string(data), "`"+path) && !strings.Contains(string(data), " "+path) {
			t.Errorf("the path %s is not documented", path)
		}
	}
	fields := make(map[string]string)
	for _, v := range []any{edgeagent.Status{}, edgeagent.Alarm{}, edgeagent.Job{}, toldJob{}, edgeagent.Reading{}, edgeagent.Evidence{}, edgeagent.Memory{},
		AskedCase{}, AnsweredCase{}, Question{}, Reply{}, Compacted{}, OutsideAlarm{},
		ParkedEvents{}, SentAgain{}} {
		fieldsOf(reflect.TypeOf(v), fields, make(map[reflect.Type]bool))
	}
	if len(fields) < 150 {
		t.Fatalf("only %d fields found: the test sees nothing", len(fields))
	}
	for name, of := range fields {
		if !named[name] {
			t.Errorf("the field %q of %s is not documented", name, of)
		}
	}
}

func fieldsOf(t reflect.Type, into map[string]string, seen map[reflect.Type]bool) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || seen[t] {
		return
	}
	seen[t] = true
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name != "" && name != "-" {
			into[name] = t.Name()
		}
		if f.IsExported() || f.Anonymous {
			fieldsOf(f.Type, into, seen)
		}
	}
}
