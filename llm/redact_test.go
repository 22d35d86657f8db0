package llm

import (
	"encoding/json"
	"fmt"
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

// A mark may be longer than what it stands for. The prompt keeps to its budget
// all the same: parts of the case give way, and when the bare alarm is too long
// with its names blanked, the prompt says so.
func TestAPromptKeepsToItsBudgetWhenNamesGrow(t *testing.T) {
	tests := []struct {
		name      string
		expr      string
		maxTokens int
		fits      bool
	}{
		{"nothing blanked", `nowhere`, 1200, true},
		{"the machine's name", `fill`, 1200, true},
		{"two letters of it", `ll`, 1200, true},
		{"the numbers", `[0-9]`, 1200, true},
		{"little room", `fill`, 620, true},
		{"the bare alarm grows out of it", `[a-z]`, 620, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			u := blankingTurn(t, tt.expr)
			u.build(tt.maxTokens)
			if u.prompt.Fits != tt.fits || tt.fits && u.prompt.Tokens > tt.maxTokens {
				t.Errorf("fits %v, %d tokens of %d, want fits %v", u.prompt.Fits, u.prompt.Tokens, tt.maxTokens, tt.fits)
			}
			if n := EstimateTokens(u.prompt.System) + EstimateTokens(u.prompt.User); u.prompt.Tokens < n {
				t.Errorf("says %d tokens and has %d", u.prompt.Tokens, n)
			}
			if caseJSON(t, u.prompt); tt.fits && !strings.Contains(u.prompt.User, "Level sensor unstable") {
				t.Errorf("the alarm itself was given up: %s", u.prompt.User)
			}
		})
	}
}

// What gave way is not more than had to: a prompt that grows keeps much of what
// one that does not grow holds.
func TestAPromptThatGrowsIsNotEmptied(t *testing.T) {
	plain, grown := blankingTurn(t, `nowhere`), blankingTurn(t, `fill`)
	plain.build(1200)
	grown.build(1200)
	if grown.prompt.Tokens < 1000 || plain.prompt.Tokens < 1000 || !strings.Contains(grown.prompt.User, redacted) {
		t.Errorf("%d tokens plain and %d blanked, of 1200 that may be used", plain.prompt.Tokens, grown.prompt.Tokens)
	}
}

// blankingTurn is a turn of a case of many tags with a provider outside.
func blankingTurn(t *testing.T, expr string) *turn {
	t.Helper()
	c := fillerCase()
	e := *c.Alarms[0].Evidence
	for i := range 60 {
		f := e.Tags[0]
		f.Tag = fmt.Sprintf("filler.level_of_filling_head_%d", i)
		e.Tags = append(e.Tags, f)
	}
	c.Alarms[0].Evidence = &e
	run := &run{Router: New(Options{Redact: patterns(t, expr)}), c: c, passages: fillerPassages()}
	return &turn{run: run, t: &tier{o: ProviderOptions{Outside: true}}}
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
