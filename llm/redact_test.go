package llm

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
)

func patterns(t *testing.T, exprs ...string) redaction {
	t.Helper()
	var r redaction
	for _, e := range exprs {
		r = append(r, regexp.MustCompile(e))
	}
	return r
}

func TestRedactionKeepsTheStructure(t *testing.T) {
	tests := []struct{ name, expr, in, want string }{
		{"a word", `Schmidt`, `{"text":"called by Schmidt at 3"}`, `{"text":"called by [redacted] at 3"}`},
		{"greedy ends with its text", `Rezept.*`, `{"a":"Rezept 4711, Kunde X","b":"level"}`, `{"a":"[redacted]","b":"level"}`},
		{"everything", `(?s).+`, `{"a":"x\ny","n":-1.5e+3,"t":true,"z":null}`, `{"[redacted]":"[redacted]","[redacted]":"[redacted]","[redacted]":true,"[redacted]":null}`},
		{"a number goes whole", `4711`, `{"batch":94711.5,"level":91.2}`, `{"batch":"[redacted]","level":91.2}`},
		{"escapes hide nothing", `"Müller" <x>`, `{"a":"\u0022M\u00fcller\" \u003cx\u003e!"}`, `{"a":"[redacted]!"}`},
		{"escaped backslash before the quote", `secret`, `{"a":"x\\","b":"secret"}`, `{"a":"x\\","b":"[redacted]"}`},
		{"untouched text keeps its spelling", `none`, `{"a":"<b> & ü"}`, `{"a":"<b> & ü"}`},
		{"letters of true and null", `[a-z]`, `[true,false,null]`, `[true,false,null]`},
		{"a quote in the pattern", `":"`, `{"a":"b"}`, `{"a":"b"}`},
		{"cut off", `x`, `{"a":"x`, `{"a":"[redacted]"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := patterns(t, tt.expr).prompt(Prompt{User: "Case:\n" + tt.in}).User
			if got != "Case:\n"+tt.want {
				t.Errorf("got  %s\nwant Case:\n%s", got, tt.want)
			}
			if json.Valid([]byte(tt.in)) && !json.Valid([]byte(strings.TrimPrefix(got, "Case:\n"))) {
				t.Errorf("no JSON any more: %s", got)
			}
		})
	}
}

func TestRedactionOfARepair(t *testing.T) {
	r := patterns(t, `Kunde \w+`, `\b\d{5}\b`)
	got := r.repair(&Repair{Answer: `{"cause":"Kunde Meier"}`, Fault: "12345 is not in the case"})
	if got.Answer != `{"cause":"[redacted]"}` || got.Fault != "[redacted] is not in the case" {
		t.Errorf("repair = %+v", got)
	}
	if r.repair(nil) != nil {
		t.Error("a repair came from nowhere")
	}
}

// Whatever JSON and whatever expression: it stays JSON.
func FuzzRedaction(f *testing.F) {
	for _, s := range []string{`{"a":"b"}`, `[1,-2.5e3,"x\"y\\"]`, `"\u0022"`, `{"a":{"b":[null,true,""]}}`} {
		f.Add(s, `b|2|x`)
		f.Add(s, `"`)
	}
	f.Fuzz(func(t *testing.T, body, expr string) {
		re, err := regexp.Compile(expr)
		if err != nil || re.MatchString("") || re.MatchString(redacted) || !json.Valid([]byte(body)) {
			return
		}
		got := redaction{re}.json(body)
		if !json.Valid([]byte(got)) {
			t.Fatalf("%s became %s", body, got)
		}
	})
}
