package page

import (
	"bytes"
	"errors"
	"fmt"
	"html/template"
	"strings"
	"testing"
	"testing/fstest"
)

// peer draws the same with html/template.
func peer(t *testing.T, text string, data any) (string, error) {
	t.Helper()
	p, err := template.New("peer").Funcs(template.FuncMap{
		"join": join, "made": func(s string) template.URL { return template.URL(s) }, "dict": dict, "nothing": nothing,
	}).Parse(text)
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	err = p.ExecuteTemplate(&out, "main", data)
	return out.String(), err
}

func join(words ...any) string { return fmt.Sprint(words...) }

func dict(key string, v any) map[string]any { return map[string]any{key: v} }

func nothing() any { return nil }

func draw(text string, data any) (string, error) {
	p, err := Parse(fstest.MapFS{"a.html": {Data: []byte(text)}}, Options{
		Funcs: map[string]any{"join": join, "made": func(s string) URL { return URL(s) }, "dict": dict, "nothing": nothing},
		Methods: map[string]Method{"Word": func(v any) (any, bool) {
			w, ok := v.(interface{ Word() string })
			if !ok {
				return nil, false
			}
			return w.Word(), true
		}},
	}, "a.html")
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	err = p.Execute(&out, "main", data)
	return out.String(), err
}

func main(s string) string { return `{{define "main"}}` + s + `{{end}}` }

type word string

func (w word) Word() string { return "<" + string(w) + ">" }

type shout int

func (s shout) String() string { return strings.Repeat("!", int(s)) }

type inner struct {
	Deep   string
	Absent *inner
}

type outer struct {
	inner
	Name    word
	Text    string
	Count   int
	Level   shout
	Pointer *shout
	Ratio   float64
	Yes, No bool
	List    []string
	Empty   []string
	Things  []inner
	Any     any
	Failure error
	Map     map[string]any
}

func sample(hostile string) outer {
	two := shout(2)
	return outer{
		inner: inner{Deep: "deep " + hostile}, Name: word(hostile), Text: hostile, Count: 7, Level: 3, Pointer: &two, Ratio: 2.5, Yes: true,
		List: []string{"a", hostile, "c"}, Things: []inner{{Deep: hostile}, {Deep: ""}}, Any: inner{Deep: hostile},
		Failure: errors.New(hostile), Map: map[string]any{"key": hostile, "nil": nil},
	}
}

// constructs are templates with every construct, in every place.
var constructs = map[string]string{
	"text":              `<p>{{.Text}}</p>`,
	"title":             `<title>{{.Text}} · {{.Count}}</title>`,
	"between quotes":    `<a title="{{.Text}}" class='x {{.Text}}' aria-label="a {{.Count}}" data-state="{{.Text}}" hidden>x</a>`,
	"svg":               `<svg viewBox="0 0 {{.Count}} 20"><rect x="{{.Ratio}}" y="2"/><polyline points="{{.Text}}"/></svg>`,
	"address":           `<a href="{{.Text}}">x</a>`,
	"address, its path": `<a href="/alarms/{{.Text}}?format=json">x</a>`,
	"address, query":    `<a href="/alarms?q={{.Text}}&amp;r={{.Text}}#{{.Text}}">x</a>`,
	"address, twice":    `<img src="{{.Text}}{{.Text}}"><form action="{{.Text}}/{{.Text}}"></form>`,
	"address, made":     `<link href="{{made .Text}}">`,
	"address, blank":    `<a href=" {{.Text}}">x</a>`,
	"doctype":           `<!DOCTYPE html><html lang="en"><br/><p data-on="*">{{.Text}}</p>`,
	"script of a file":  `<script src="{{.Text}}" defer></script><p>{{.Text}}</p>`,
	"style":             `<style>p > a { color: "red" }</style><p>{{.Text}}</p>`,
	"branch in a tag":   `<p{{if .Yes}} class="a"{{end}}{{if .No}} id="b"{{else}} id="c {{.Text}}"{{end}}>x</p>`,
	"branch in a value": `<p class="a{{if .Yes}} b{{.Text}}{{end}}">x</p>`,
	"if":                `{{if .Yes}}yes{{else if .No}}no{{else}}none{{end}}{{if .Count}}c{{end}}{{if .Empty}}e{{else}}empty{{end}}{{if .Text}}t{{end}}`,
	"if, of values":     `{{if .Ratio}}r{{end}}{{if .Pointer}}p{{end}}{{if .Absent}}a{{end}}{{if .Any}}any{{end}}{{if .Map}}m{{end}}{{if .Failure}}f{{end}}`,
	"with":              `{{with .Text}}{{.}}{{else}}none{{end}}{{with .Any}}{{.Deep}}{{end}}{{with .Map.key}}{{.}}{{end}}`,
	"with, variable":    `{{with $t := .Text}}{{$t}}{{.}}{{$.Count}}{{end}}`,
	"range":             `{{range .List}}<li>{{.}}</li>{{else}}none{{end}}{{range .Empty}}x{{else}}none{{end}}{{range .Things}}{{.Deep}}{{end}}`,
	"range, variables":  `{{range $i, $e := .List}}{{if $i}}, {{end}}{{$i}}{{$e}}{{end}}{{range $e := .List}}{{$e}}{{.}}{{end}}`,
	"variables":         `{{$b := .Any}}{{$t := .Text}}{{$b.Deep}}{{if .Yes}}{{$t := 3}}{{$t}}{{end}}{{$t}}`,
	"embedded":          `{{.Deep}}{{.Any.Deep}}`,
	"methods":           `{{.Name.Word}}{{if eq .Name.Word "<x>"}}x{{end}}`,
	"stringers":         `{{.Level}} {{.Pointer}} {{.Failure}} {{.Ratio}} {{.Yes}} {{.List}}`,
	"nothing":           `[{{nothing}}][{{.Map.nil}}][{{with nothing}}x{{else}}y{{end}}]`,
	"functions":         `{{join .Text 3 "a"}}{{join "\"…\""}}{{join}}{{(dict "x" .Text).x}}`,
	"comparisons":       `{{eq .Count 7}}{{ne .Text "a"}}{{eq .Level 3}}{{gt .Count 6}}{{gt (len .List) 3}}{{not .Yes}}{{eq .Yes true}}{{eq .Name .Text}}`,
	"and, or":           `{{and .Yes .Text}}{{or .No .Text}}{{or .Empty .Count}}{{and .No (index .Empty 0)}}{{if and (not .No) .List}}x{{end}}`,
	"parts":             `{{index .List 1}}{{len .List}}{{len (slice .List 1)}}{{len .Text}}`,
	"trimmed":           "<p>  \n{{- .Text -}}  \n</p>{{/* nobody sees this */}}",
	"called":            `{{template "other" .Text}}{{template "other" (dict "a" 1)}}{{template "empty"}}{{end}}{{define "other"}}<i>{{.}}</i>{{end}}{{define "empty"}}<b>{{if .}}x{{end}}</b>`,
}

var hostile = []string{
	"", "x", "plain words", `<script>alert("1")</script>`, `" onclick='x' `, "a&amp;b&c", "javascript:alert(1)", " JavaScript:x", "data:text/html,<x>",
	"http://host/a b?c=d&e#f", "HTTPS://x/%zz%41%4", "mailto:a@b", "//host/x", "/a:b", "ä€😀\x00\xff+=`", "{{.}}", "'};x", "a\nb\tc", "../..", "tel:1",
}

func TestDrawsWhatHTMLTemplateDraws(t *testing.T) {
	for name, text := range constructs {
		t.Run(name, func(t *testing.T) {
			for _, h := range hostile {
				compare(t, main(text), sample(h))
			}
		})
	}
}

func compare(t *testing.T, text string, data any) {
	t.Helper()
	got, err := draw(text, data)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	want, err := peer(t, text, data)
	if err != nil {
		t.Fatalf("%s: the peer: %v", text, err)
	}
	if got != want {
		t.Errorf("%s\n got %q\nwant %q", text, got, want)
	}
}

// FuzzEscape holds every place of HTML to html/template, whatever stands there.
func FuzzEscape(f *testing.F) {
	for _, h := range hostile {
		f.Add(h)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, name := range []string{"text", "title", "between quotes", "address", "address, its path", "address, query", "address, twice", "address, made"} {
			compare(t, main(constructs[name]), sample(s))
		}
	})
}

func TestParseRefuses(t *testing.T) {
	tests := map[string]string{
		`<p {{.}}>`:                                 "stands where no value may stand",
		`<{{.}}>`:                                   "a < opens no tag",
		`<p class={{.}}>`:                           "stands where no value may stand",
		`<p class=a>`:                               "attribute class without quotes",
		`<p onclick="{{.}}">`:                       "stands where no value may stand",
		`<p style="{{.}}">`:                         "stands where no value may stand",
		`<iframe srcdoc="{{.}}">`:                   "stands where no value may stand",
		`<img srcset="{{.}}">`:                      "stands where no value may stand",
		`<p data-onclick="{{.}}">`:                  "stands where no value may stand",
		`<script>{{.}}</script>`:                    "stands where no value may stand",
		`<STYLE>{{.}}</STYLE>`:                      "stands where no value may stand",
		`<!-- {{.}} -->`:                            "an HTML comment",
		`<p {{if .}}class="a{{end}}">`:              "a branch ends elsewhere",
		`<p>{{if .}}<b {{end}}>`:                    "a branch ends elsewhere",
		`<a href="{{if .}}/{{else}}?{{end}}{{.}}">`: "a branch ends elsewhere",
		`<p class="a`:                               "it ends within a tag",
		`<script>x`:                                 "it ends within a tag",
		`<p {{template "main"}}>`:                   "a template is called within a tag",
		`a < b`:                                     "a < opens no tag",
		`<p "a">`:                                   "a quote that follows no attribute",
		`<p data_x="{{.}}">`:                        "'_' within a tag",
		`{{range .}}{{break}}{{end}}`:               "{{break}} is not for pages",
		`{{unknown .}}`:                             `function "unknown" not defined`,
		`{{if .}}`:                                  "unexpected",
	}
	for text, want := range tests {
		t.Run(text, func(t *testing.T) {
			if _, err := draw(main(text), "x"); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %q", err, want)
			}
		})
	}
}

func TestExecuteFails(t *testing.T) {
	tests := map[string]string{
		`{{.Nope}}`:                   "page.outer has no field or method Nope",
		`{{.inner}}`:                  "has no field or method inner",
		`{{.Absent.Deep}}`:            "Deep of nothing",
		`{{.Any.Deep.More}}`:          "string has no field or method More",
		`{{.Text "x"}}`:               ".Text takes no arguments",
		`{{.Text | join}}`:            "pipes and assignments are not for pages",
		`{{range .Text}}x{{end}}`:     "range over string",
		`{{eq .Text 3}}`:              "values of two kinds",
		`{{eq .Text}}`:                "it takes 2 arguments",
		`{{gt .Text "a"}}`:            "gt compares whole numbers",
		`{{len .Count}}`:              "len of what has none",
		`{{index .List 3}}`:           "no such part of the list",
		`{{slice .List 4}}`:           "no such part of the list",
		`{{made .Count}}`:             "argument 1 is int, want string",
		`{{dict "a"}}`:                "it takes 2 arguments",
		`{{template "nowhere"}}`:      "it is not defined",
		`{{template "main" .}}`:       "calls itself without end",
		`{{if .Nope}}x{{end}}`:        "Nope",
		`{{with .Text}}{{.X}}{{end}}`: "string has no field or method X",
	}
	for text, want := range tests {
		t.Run(text, func(t *testing.T) {
			if _, err := draw(main(text), sample("x")); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %q", err, want)
			}
		})
	}
}
