package llm

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"edgeagent"
)

var update = flag.Bool("update", false, "write the golden prompts anew")

var raised = time.Date(2026, 11, 22, 11, 52, 3, 0, time.UTC)

// fillerCase is F212 as the agent would freeze it, with A101 after it.
func fillerCase() edgeagent.Case {
	level := edgeagent.Feature{
		Tag: "filler.level", Value: edgeagent.Float(91.23456), EngUnit: "%", Quality: edgeagent.QualityGood, AgeS: 0.4,
		Min: new(42.0), Max: new(93.5), Mean: new(71.2), SlopePerMin: new(12.25), Changes: 61, LastChange: new(raised.Add(-time.Second)), Moved: 0.5,
		LimitLow: new(0.0), LimitHigh: new(80.0),
	}
	pressure := edgeagent.Feature{Tag: "filler.pressure", EngUnit: "bar", Quality: edgeagent.QualityBad, Reason: edgeagent.NewNote(edgeagent.ReasonNoAnswer, "no answer"), AgeS: 42}
	flow := edgeagent.Feature{Tag: "filler.flow", Value: edgeagent.Float(139.8), EngUnit: "l/min", Quality: edgeagent.QualityGood, Moved: 0.02}
	guard := edgeagent.Feature{Tag: "filler.guard_closed", Value: edgeagent.Bool(true), Quality: edgeagent.QualityGood, Safety: true}
	first := edgeagent.Alarm{
		ID: "1", Device: "filler", Line: "Filler-2", Code: "F212", Text: "Level sensor unstable during fill cycle", Priority: 2, State: edgeagent.AlarmUnacked,
		RaisedAt: raised, FirstOut: true, Observed: edgeagent.ObservedLive, Values: map[string]edgeagent.Value{"filler.level": edgeagent.Float(91.2)},
		LastTime: &edgeagent.Occurrence{At: raised.Add(-48 * time.Hour), Cause: "Foam on the probe", FixedBy: "wiping it"},
	}
	second := edgeagent.Alarm{ID: "2", Device: "packaging", Line: "Filler-2", Code: "A101", Text: "Photo-eye blocked at infeed", Priority: 3, RaisedAt: raised.Add(4 * time.Second), Observed: edgeagent.ObservedLive}
	earlier := edgeagent.Alarm{ID: "0", Device: "filler", Line: "Filler-2", Code: "F205", Text: "Bowl pressure out of range", RaisedAt: raised.Add(-3 * time.Minute)}
	return edgeagent.Case{
		Job: "J", At: raised.Add(6 * time.Second), Site: "plant-a", Line: "Filler-2", Area: "Filling", Language: "en",
		Alarms: []edgeagent.CaseAlarm{
			{Alarm: first, Evidence: &edgeagent.Evidence{At: raised, WindowS: 600, HistorySince: raised.Add(-4 * time.Minute), Omitted: 7,
				Tags: []edgeagent.Feature{level, pressure, guard}, Moved: []edgeagent.Feature{flow}, Gaps: []string{"capper not read since 11:40"}}},
			{Alarm: second},
		},
		Related: []edgeagent.Alarm{earlier},
	}
}

func fillerPassages() []Passage {
	return []Passage{
		{ID: "runbook/filler.md#f212", Title: "Level sensor unstable", Text: "Foam on the probe. Checks: 1. Compare with the sight glass for 1 min.", Exact: true, Safety: "The bowl is under CO2 pressure."},
		{ID: "runbook/pump.md#p12", Title: "Pump level", Text: "Similar words at 2.5 bar."},
	}
}

// caseJSON returns the one JSON value of a prompt.
func caseJSON(t *testing.T, p Prompt) map[string]any {
	t.Helper()
	_, body, found := strings.Cut(p.User, "\n")
	if !found {
		t.Fatalf("no case in %q", p.User)
	}
	dec := json.NewDecoder(strings.NewReader(body))
	var m map[string]any
	if err := dec.Decode(&m); err != nil {
		t.Fatalf("the case is no JSON: %v\n%s", err, body)
	}
	if dec.More() {
		t.Fatalf("text stands outside the JSON value: %s", body[dec.InputOffset():])
	}
	return m
}

func TestPromptGolden(t *testing.T) {
	german := fillerCase()
	german.Language = "de"
	known := fillerCase()
	known.Before = []edgeagent.Precedent{{Alarm: "b", At: raised.AddDate(0, 0, -9), Cause: "Film on the probe", FixedBy: "cleaned with citric acid", Confirmed: true}}
	ev := known.Alarms[0].Evidence
	ev.Mode, ev.Tags[2].AgeS = "production", 4.9
	known.Related[0].FirstOut, known.Related[0].ClearedAt = true, new(raised.Add(-time.Minute))
	for name, p := range map[string]Prompt{
		"filler":       BuildPrompt(fillerCase(), fillerPassages(), PromptOptions{}),
		"filler_known": BuildPrompt(known, fillerPassages(), PromptOptions{}),
		"filler_small": BuildPrompt(fillerCase(), fillerPassages(), PromptOptions{MaxTokens: 950}),
		"filler_de":    BuildPrompt(german, nil, PromptOptions{Language: "de"}),
		"empty":        BuildPrompt(edgeagent.Case{}, nil, PromptOptions{}),
	} {
		t.Run(name, func(t *testing.T) {
			caseJSON(t, p)
			got := fmt.Sprintf("version %s, about %d tokens\n--- system\n%s\n--- user\n%s\n", p.Version, p.Tokens, p.System, p.User)
			file := "testdata/prompt_" + name + ".golden"
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("prompt differs from %s (run with -update to accept):\n%s", file, got)
			}
		})
	}
}

// TestPromptVersionFollowsTheWording fails when rules or schema change under
// the same version: stored diagnoses would then lie about what was asked.
func TestPromptVersionFollowsTheWording(t *testing.T) {
	versions := map[string]string{
		"2026-11-22.2": "f03fc6a86e46169f",
	}
	sum := sha256.Sum256([]byte(rules + string(answerSchema)))
	if got := hex.EncodeToString(sum[:8]); versions[PromptVersion] != got {
		t.Errorf("rules or schema changed (now %s): raise PromptVersion and add it here", got)
	}
}

func TestSystemTextIsAStablePrefix(t *testing.T) {
	a := BuildPrompt(fillerCase(), fillerPassages(), PromptOptions{})
	b := BuildPrompt(edgeagent.Case{}, nil, PromptOptions{})
	if a.System != b.System {
		t.Error("the system text depends on the case: no provider can cache it")
	}
	if !strings.HasPrefix(a.System, rules) {
		t.Error("the rules do not come first")
	}
}

func TestSchemaIsStrict(t *testing.T) {
	var root map[string]any
	if err := json.Unmarshal(AnswerSchema(), &root); err != nil {
		t.Fatal(err)
	}
	var walk func(path string, m map[string]any)
	walk = func(path string, m map[string]any) {
		for key := range m {
			if slices.Contains([]string{"maxLength", "minLength", "maxItems", "minItems", "pattern", "format", "default"}, key) {
				t.Errorf("%s: %s is refused by strict endpoints", path, key)
			}
		}
		if m["type"] == "object" {
			checkStrictObject(t, path, m)
		}
		for key, v := range m {
			if sub, ok := v.(map[string]any); ok {
				walk(path+"/"+key, sub)
			}
		}
	}
	walk("", root)
	for _, f := range fields {
		if root["properties"].(map[string]any)[f.name] == nil {
			t.Errorf("%s is read but not in the schema", f.name)
		}
	}
	if got := len(root["required"].([]any)); got != len(fields) {
		t.Errorf("%d properties are required, %d are read", got, len(fields))
	}
}

func checkStrictObject(t *testing.T, path string, m map[string]any) {
	t.Helper()
	if m["additionalProperties"] != false {
		t.Errorf("%s: additionalProperties is not false", path)
	}
	var required []string
	for _, r := range m["required"].([]any) {
		required = append(required, r.(string))
	}
	for name := range m["properties"].(map[string]any) {
		if !slices.Contains(required, name) {
			t.Errorf("%s: %s is not required", path, name)
		}
	}
	if len(required) != len(m["properties"].(map[string]any)) {
		t.Errorf("%s: requires what is not there", path)
	}
}

func hostileTexts(t testing.TB) []string {
	t.Helper()
	f, err := os.Open("testdata/hostile.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []string
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		var s string
		if err := json.Unmarshal(sc.Bytes(), &s); err != nil {
			t.Fatalf("%s: %v", sc.Text(), err)
		}
		out = append(out, s)
	}
	return append(out, "bad\xff\xfeutf8", string([]byte{0xed, 0xa0, 0x80}))
}

// hostileCase puts one text wherever a plant can write.
func hostileCase(text string) (edgeagent.Case, []Passage) {
	c := fillerCase()
	c.Line, c.Area = text, text
	a := &c.Alarms[0].Alarm
	a.Text, a.SourceText, a.Code = text, text+" ", text
	a.Values = map[string]edgeagent.Value{"filler.recipe": edgeagent.String(text), text: edgeagent.Int(1)}
	a.LastTime = &edgeagent.Occurrence{At: raised, Cause: text, FixedBy: text}
	ev := c.Alarms[0].Evidence
	ev.Gaps = []string{text}
	ev.Tags = append(ev.Tags, edgeagent.Feature{Tag: "filler." + text, Value: edgeagent.String(text), Text: text, EngUnit: text, Reason: edgeagent.NewNote("x", text)})
	c.Related[0].Text, c.Related[0].Device = text, text
	return c, []Passage{{ID: text, Title: text, Text: text, Exact: true}}
}

// TestHostileTextsStayData runs every text through the real builder: the case
// stays one JSON value of the same shape, and nothing of the plant is outside.
func TestHostileTextsStayData(t *testing.T) {
	texts := hostileTexts(t)
	if len(texts) < 60 {
		t.Fatalf("only %d hostile texts", len(texts))
	}
	want := BuildPrompt(edgeagent.Case{}, nil, PromptOptions{}).System
	for i, text := range texts {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			c, passages := hostileCase(text)
			p := BuildPrompt(c, passages, PromptOptions{})
			if p.System != want {
				t.Error("a text of the plant reached the rules")
			}
			if !utf8.ValidString(p.User) {
				t.Error("not UTF-8")
			}
			m := caseJSON(t, p)
			for key := range m {
				if !knownKeys[key] {
					t.Errorf("a text made a key of its own: %q", key)
				}
			}
			for _, marker := range []string{"<|", "|>", "<s>", "[INST", "[/INST", "<<SYS", "```", "<start_of_turn", "<think", "<tool_call", "\u003cscript"} {
				if strings.Contains(p.User, marker) {
					t.Errorf("marker %q reached the prompt", marker)
				}
			}
			eachText(m, func(s string) {
				checkClean(t, s)
				if n := utf8.RuneCountInString(s); n > maxPassageText {
					t.Errorf("text of %d characters", n)
				}
			})
		})
	}
}

var knownKeys = func() map[string]bool {
	out := map[string]bool{}
	for f := range reflect.TypeFor[view]().Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		out[name] = true
	}
	return out
}()

func eachText(v any, visit func(string)) {
	switch x := v.(type) {
	case string:
		visit(x)
	case []any:
		for _, e := range x {
			eachText(e, visit)
		}
	case map[string]any:
		for k, e := range x {
			visit(k)
			eachText(e, visit)
		}
	}
}

func checkClean(t *testing.T, s string) {
	t.Helper()
	for _, r := range s {
		if unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Co, unicode.Zl, unicode.Zp) || r == utf8.RuneError {
			t.Errorf("%U in %q", r, s)
		}
	}
	if strings.Contains(s, "<|") || strings.Contains(s, "<s>") || strings.Contains(s, "</") {
		t.Errorf("role marker in %q", s)
	}
}

func TestCleanKeepsWhatPeopleWrite(t *testing.T) {
	for in, want := range map[string]string{
		"Level < 80 % or > 20 %":             "Level < 80 % or > 20 %",
		"Füllstand \"hoch\" (Kessel 3) – 5°": "Füllstand \"hoch\" (Kessel 3) – 5°",
		"  two \t spaces\r\nand lines  ":     "two spaces and lines",
		"温度センサー異常":                           "温度センサー異常",
		"a<|im_start|>b":                     "a‹|im_start|>b",
		strings.Repeat("x", 300):             strings.Repeat("x", 199) + "…",
	} {
		if got := Clean(in, 200); got != want {
			t.Errorf("Clean(%q) = %q, want %q", in, got, want)
		}
	}
}

// bigCase has n tags moved, and as many alarms and related ones.
func bigCase(n int) edgeagent.Case {
	c := fillerCase()
	ev := c.Alarms[0].Evidence
	for i := range n {
		ev.Moved = append(ev.Moved, edgeagent.Feature{
			Tag: fmt.Sprintf("filler.tag_%04d", i), Value: edgeagent.Float(float64(i) / 3), EngUnit: "mbar", Quality: edgeagent.QualityGood,
			Min: new(1.0), Max: new(2.0), SlopePerMin: new(0.1), Moved: float64(i%97) / 97,
		})
		a := c.Related[0]
		a.Code = fmt.Sprintf("R%d", i)
		c.Related = append(c.Related, a)
		c.Alarms = append(c.Alarms, edgeagent.CaseAlarm{Alarm: a})
	}
	return c
}

func TestBudgetHolds(t *testing.T) {
	long := []Passage{
		{ID: "runbook/a.md#a", Text: strings.Repeat("word ", 500), Exact: true},
		{ID: "runbook/b.md#b", Text: strings.Repeat("word ", 500)},
		{ID: "runbook/c.md#c", Text: strings.Repeat("word ", 500)},
		{ID: "runbook/d.md#d", Text: "never sent"},
	}
	c := bigCase(5000)
	last := math.MaxInt
	for _, limit := range []int{0, 8000, 3000, 1200, 900, 800} {
		p := BuildPrompt(c, long, PromptOptions{MaxTokens: limit})
		m := caseJSON(t, p)
		if limit > 0 && p.Tokens > limit || !p.Fits {
			t.Errorf("%d tokens with a budget of %d, fits %v", p.Tokens, limit, p.Fits)
		}
		if p.Tokens > last {
			t.Errorf("a smaller budget of %d made a larger prompt: %d after %d", limit, p.Tokens, last)
		}
		last = p.Tokens
		if !reflect.DeepEqual(p, BuildPrompt(c, long, PromptOptions{MaxTokens: limit})) {
			t.Errorf("budget %d: two prompts of one case differ", limit)
		}
		checkBudgeted(t, m, 5004+7)
	}
}

// checkBudgeted: the first alarm is there, and everything adds up.
func checkBudgeted(t *testing.T, m map[string]any, tags int) {
	t.Helper()
	alarms := m["alarms"].([]any)
	if len(alarms) == 0 || alarms[0].(map[string]any)["name"] != "filler/F212" {
		t.Fatalf("the first alarm is gone: %v", alarms)
	}
	left, _ := m["omitted"].(map[string]any)
	for part, want := range map[string]int{"tags": tags, "alarms": 5002, "related": 5001, "passages": 4} {
		shown := len(m[part].([]any))
		if part == "tags" {
			shown += len(m["moved_before"].([]any))
		}
		omitted, _ := left[part].(float64)
		if shown+int(omitted) != want {
			t.Errorf("%d %s shown, %v omitted, want %d together", shown, part, omitted, want)
		}
	}
	if n := len(m["tags"].([]any)) + len(m["moved_before"].([]any)); n > maxTags {
		t.Errorf("%d tags", n)
	}
}

// TestBudgetRefusesRatherThanExceeds: where not even the bare alarm has room the
// prompt says so.
func TestBudgetRefusesRatherThanExceeds(t *testing.T) {
	for limit := 1; limit < 1000; limit += 7 {
		p := BuildPrompt(bigCase(20), fillerPassages(), PromptOptions{MaxTokens: limit})
		if p.Fits != (p.Tokens <= limit) {
			t.Fatalf("budget %d: %d tokens, fits %v", limit, p.Tokens, p.Fits)
		}
		if !p.Fits && len(caseJSON(t, p)["tags"].([]any)) != 0 {
			t.Fatalf("budget %d is exceeded by more than the bare alarm", limit)
		}
	}
}

// TestEveryPartHasItsShare: with far too much of everything no part starves
// another.
func TestEveryPartHasItsShare(t *testing.T) {
	total := 0
	for _, p := range parts {
		total += p.share
	}
	if total != 100 {
		t.Errorf("the shares are %d %%", total)
	}
	c := bigCase(500)
	words := strings.Repeat("word ", 500)
	c.Alarms[0].Alarm.SourceText = "as the panel says it"
	c.Before = []edgeagent.Precedent{{Alarm: "b", At: raised, Cause: "Foam", FixedBy: "wiping", Confirmed: true}}
	for _, limit := range []int{1200, 2000, 8000} {
		m := caseJSON(t, BuildPrompt(c, []Passage{{ID: "a#1", Text: words, Exact: true}, {ID: "a#2", Text: words}}, PromptOptions{MaxTokens: limit}))
		for _, part := range []string{"passages", "before", "tags", "moved_before", "related", "gaps"} {
			if all, _ := m[part].([]any); len(all) == 0 {
				t.Errorf("budget %d: %s is empty", limit, part)
			}
		}
		first := m["alarms"].([]any)[0].(map[string]any)
		if first["last_time"] == nil || first["source_text"] == nil {
			t.Errorf("budget %d: the first alarm is bare: %v", limit, first)
		}
	}
}

// TestBudgetHoldsWhateverThePlantWrites draws cases at random: many tags and
// alarms, texts of any length and script, and never a token too many.
func TestBudgetHoldsWhateverThePlantWrites(t *testing.T) {
	scripts := []string{"Level sensor unstable. ", "Füllstandsfühler gestört, ", "温度センサー異常", "Датчик уровня неисправен ", "🔥🚨⚠️", "4711.0815 ", "ก็ผิดปกติ", "}}]]\"\"\\\\", "𝐛𝐲𝐩𝐚𝐬𝐬", "\u200b\u202e"}
	rng := rand.New(rand.NewPCG(1, 2))
	text := func() string {
		return strings.Repeat(scripts[rng.IntN(len(scripts))], 1+rng.IntN(1+rng.IntN(400)))
	}
	for round := range 6 {
		c, passages := randomCase(rng, text)
		for _, limit := range []int{1200, 8000} {
			p := BuildPrompt(c, passages, PromptOptions{MaxTokens: limit})
			if p.Tokens > limit || !p.Fits {
				t.Fatalf("round %d: %d tokens with a budget of %d, fits %v\n%s", round, p.Tokens, limit, p.Fits, p.User)
			}
			if m := caseJSON(t, p); len(m["alarms"].([]any)) == 0 || m["line"] == nil {
				t.Fatalf("round %d: the alarm is gone", round)
			}
		}
	}
}

func randomCase(rng *rand.Rand, text func() string) (edgeagent.Case, []Passage) {
	feature := func() edgeagent.Feature {
		return edgeagent.Feature{Tag: "d." + text(), Value: edgeagent.String(text()), Text: text(), EngUnit: text(), Reason: edgeagent.NewNote("x", text()), Min: new(rng.NormFloat64() * 1e9)}
	}
	alarm := func() edgeagent.Alarm {
		a := edgeagent.Alarm{ID: edgeagent.ID(fmt.Sprint(rng.Int())), Device: text(), Code: text(), Text: text(), SourceText: text(), RaisedAt: raised, Values: map[string]edgeagent.Value{}}
		for range rng.IntN(20) {
			a.Values[text()] = edgeagent.String(text())
		}
		return a
	}
	c := edgeagent.Case{Line: text(), Area: text()}
	ev := &edgeagent.Evidence{At: raised, WindowS: 600, Mode: text(), Gaps: []string{text(), text()}}
	for range rng.IntN(5000) {
		ev.Tags = append(ev.Tags, edgeagent.Feature{Tag: "d.t", Value: edgeagent.Float(rng.Float64())})
	}
	for range rng.IntN(80) {
		ev.Tags, ev.Moved = append(ev.Tags, feature()), append(ev.Moved, feature())
	}
	for range 1 + rng.IntN(20) {
		c.Alarms = append(c.Alarms, edgeagent.CaseAlarm{Alarm: alarm(), Evidence: ev})
	}
	for range rng.IntN(500) {
		c.Related = append(c.Related, edgeagent.Alarm{Code: "R", Text: "related", RaisedAt: raised})
	}
	for range rng.IntN(5) {
		c.Before = append(c.Before, edgeagent.Precedent{At: raised, Cause: text(), FixedBy: text(), Confirmed: rng.IntN(2) == 0})
		c.Related = append(c.Related, alarm())
	}
	return c, []Passage{{ID: text(), Title: text(), Text: text(), Exact: true}, {ID: text(), Text: text()}}
}

// TestEstimateIsSeldomTooLow compares with what tokenisers made of such texts:
// cl100k, and a vocabulary that takes digits one by one.
func TestEstimateIsSeldomTooLow(t *testing.T) {
	for text, least := range map[string]int{
		"The level sensor is unstable.":    6,
		`{"slope_per_min":12.25,"max":93}`: 15,
		"温度センサー異常":                         8,
		"🔥🚨":                               5,
		"1234567890":                       10,
		"Füllstandsfühler gestört":         7,
	} {
		if got := EstimateTokens(text); got < least || got > 3*least {
			t.Errorf("EstimateTokens(%q) = %d, want %d or somewhat more", text, got, least)
		}
	}
}

// TestSameLineSharesThePrefix: what is the same for a line stands before what
// differs between its cases, so that providers can cache it.
func TestSameLineSharesThePrefix(t *testing.T) {
	other := fillerCase()
	other.Alarms = other.Alarms[1:]
	other.Alarms[0].Evidence = &edgeagent.Evidence{Mode: "cip"}
	a, b := BuildPrompt(fillerCase(), fillerPassages(), PromptOptions{}), BuildPrompt(other, fillerPassages(), PromptOptions{})
	to := strings.Index(a.User, `"passages":`)
	if to < 0 || a.System != b.System || !strings.HasPrefix(b.User, a.User[:to]) {
		t.Errorf("two cases of one line begin\n%s\n%s", a.User[:to], b.User)
	}
	if to = strings.Index(a.User, `"alarms":`); !strings.HasPrefix(b.User, a.User[:strings.Index(a.User, `],"`)]) {
		t.Errorf("with the same passages they begin\n%s\n%s", a.User[:to], b.User)
	}
}

func TestBefore(t *testing.T) {
	at := func(days int) time.Time { return raised.AddDate(0, 0, -days) }
	last := &edgeagent.Occurrence{ID: "x", At: at(1), Cause: "Foam", FixedBy: "wiping"}
	for name, tt := range map[string]struct {
		last   *edgeagent.Occurrence
		before []edgeagent.Precedent
		want   string
	}{
		"confirmed is a fact": {nil, []edgeagent.Precedent{{At: at(2), Cause: "Film", FixedBy: "cleaning", Confirmed: true}},
			`before [{"at":"2026-11-20T11:52:03Z","cause":"Film","fixed_by":"cleaning"}] last null`},
		"unconfirmed is hearsay": {nil, []edgeagent.Precedent{{At: at(2), Cause: "Film", ByPerson: true}},
			`before [] last {"at":"2026-11-20T11:52:03Z","cause":"Film"}`},
		"the last time that the alarm knows itself": {last, nil,
			`before [] last {"at":"2026-11-21T11:52:03Z","cause":"Foam","fixed_by":"wiping"}`},
		"the newest of both": {last, []edgeagent.Precedent{{Alarm: "y", At: at(2), Cause: "Film"}},
			`before [] last {"at":"2026-11-21T11:52:03Z","cause":"Foam","fixed_by":"wiping"}`},
		"one that was confirmed is not told twice": {last, []edgeagent.Precedent{{Alarm: "x", At: at(1), Cause: "Film", FixedBy: "wiping", Confirmed: true}},
			`before [{"at":"2026-11-21T11:52:03Z","cause":"Film","fixed_by":"wiping"}] last null`},
		"a model's cause that was called wrong is not repeated": {last, []edgeagent.Precedent{{Alarm: "x", At: at(1), Cause: "Foam", FixedBy: "new fuse", Verdict: edgeagent.VerdictWrong}},
			`before [] last {"at":"2026-11-21T11:52:03Z","fixed_by":"new fuse"}`},
		"a person's cause beside a wrong diagnosis is": {nil, []edgeagent.Precedent{{At: at(1), Cause: "Fuse", ByPerson: true, Verdict: edgeagent.VerdictWrong}},
			`before [] last {"at":"2026-11-21T11:52:03Z","cause":"Fuse"}`},
		"nothing known is nothing said": {nil, []edgeagent.Precedent{{At: at(1)}, {At: at(2), Confirmed: true}}, `before [] last null`},
		"two at most": {nil, slices.Repeat([]edgeagent.Precedent{{At: at(1), Cause: "Film", Confirmed: true}}, 3),
			`before [{"at":"2026-11-21T11:52:03Z","cause":"Film"},{"at":"2026-11-21T11:52:03Z","cause":"Film"}] last null`},
	} {
		t.Run(name, func(t *testing.T) {
			c := fillerCase()
			c.Before, c.Alarms[0].Alarm.LastTime = tt.before, tt.last
			v := newView(c, nil)
			if got := fmt.Sprintf("before %s last %s", marshal(v.Before), marshal(v.Alarms[0].LastTime)); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestSkew(t *testing.T) {
	good := func(age float64) edgeagent.Feature {
		return edgeagent.Feature{Quality: edgeagent.QualityGood, AgeS: age}
	}
	for name, tt := range map[string]struct {
		tags []edgeagent.Feature
		want float64
	}{
		"none":           {nil, 0},
		"one":            {[]edgeagent.Feature{good(3)}, 0},
		"of one scan":    {[]edgeagent.Feature{good(0.1), good(0.3)}, 0},
		"of two scans":   {[]edgeagent.Feature{good(0.1), good(4.6), good(1)}, 4.5},
		"bad is no part": {[]edgeagent.Feature{good(0.1), {AgeS: 42}}, 0},
		"not a number":   {[]edgeagent.Feature{good(math.NaN()), good(1)}, 0},
	} {
		if got := skew(tt.tags); got != tt.want {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}

func TestPromptSurvivesOddNumbers(t *testing.T) {
	c := fillerCase()
	nan, inf := math.NaN(), math.Inf(1)
	c.Alarms[0].Evidence.Tags[0] = edgeagent.Feature{Tag: "filler.level", Value: edgeagent.Float(nan), Min: &nan, Max: &inf, SlopePerMin: &inf, AgeS: inf, Quality: edgeagent.QualityBad}
	c.Alarms[0].Evidence.WindowS = nan
	c.Alarms[0].Alarm.RaisedAt = time.Time{}
	tags := caseJSON(t, BuildPrompt(c, nil, PromptOptions{}))["tags"].([]any)
	if got := tags[0].(map[string]any)["value"]; got != nil {
		t.Errorf("value = %v, want null", got)
	}
}

func FuzzPrompt(f *testing.F) {
	for _, s := range hostileTexts(f) {
		f.Add(s, 0)
	}
	f.Fuzz(func(t *testing.T, text string, limit int) {
		c, passages := hostileCase(text)
		p := BuildPrompt(c, passages, PromptOptions{MaxTokens: limit})
		caseJSON(t, p)
		if p.System != BuildPrompt(edgeagent.Case{}, nil, PromptOptions{}).System {
			t.Fatal("a text of the plant reached the rules")
		}
	})
}
