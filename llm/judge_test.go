package llm

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"edgeagent"
)

// reply is an answer to fillerCase that holds; edit changes it.
func reply(edit func(m map[string]any)) string {
	m := map[string]any{
		"evidence": []any{map[string]any{"name": "filler.level", "observation": "swings"}},
		"causes": []any{map[string]any{"cause": "Foam on the level probe", "likelihood": "likely",
			"evidence": []any{"filler.level", "filler/F212"}, "sources": []any{"runbook/filler.md#f212"}}},
		"checks":                []any{"Compare the level with the sight glass.", "Check the plug of the level sensor for moisture."},
		"urgency":               "shift",
		"missing":               []any{"Pressure in the bowl"},
		"insufficient_evidence": false,
		"summary":               "The level reads 91 % and rises by 12 %/min; foam is likely.",
	}
	if edit != nil {
		edit(m)
	}
	out, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return string(out)
}

func with(key string, value any) string {
	return reply(func(m map[string]any) { m[key] = value })
}

func because(text string, evidence ...any) map[string]any {
	return map[string]any{"cause": text, "likelihood": "likely", "evidence": evidence, "sources": []any{}}
}

func judge(raw string) (edgeagent.Diagnosis, *Fault) {
	return Judge(fillerCase(), fillerPassages(), raw, "en")
}

func drop(raw string) (edgeagent.Diagnosis, bool) {
	return Drop(fillerCase(), fillerPassages(), raw, "en")
}

func TestGoodAnswer(t *testing.T) {
	d, fault := judge(reply(nil))
	if fault != nil {
		t.Fatalf("fault %+v", *fault)
	}
	want := edgeagent.Diagnosis{
		Summary:  "The level reads 91 % and rises by 12 %/min; foam is likely.",
		Language: "en",
		Causes: []edgeagent.Cause{{Cause: "Foam on the level probe", Likelihood: edgeagent.Likely,
			Evidence: []string{"filler.level", "filler/F212"}, Sources: []string{"runbook/filler.md#f212"}}},
		Checks:  []string{"Compare the level with the sight glass.", "Check the plug of the level sensor for moisture."},
		Urgency: edgeagent.UrgencyShift, Safety: "The bowl is under CO2 pressure.", Missing: []string{"Pressure in the bowl"},
		Grounded: edgeagent.Grounded{Checked: 6, Held: 6}, Filtered: []string{},
	}
	if got, want := fmt.Sprintf("%+v", d), fmt.Sprintf("%+v", want); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestAnswersThatAreRead are good answers in bad company.
func TestAnswersThatAreRead(t *testing.T) {
	good := reply(nil)
	for name, raw := range map[string]string{
		"bare":               good,
		"byte order mark":    "\ufeff" + good,
		"fenced":             "```json\n" + good + "\n```",
		"fence without name": "```\n" + good + "```",
		"prose before":       "Sure! Here is the analysis you asked for:\n\n" + good,
		"prose after":        good + "\n\nLet me know if you need more.",
		"braces in prose":    "In {short}: " + good,
		"thoughts":           "<think>maybe {\"summary\": \"a draft\"} or not</think>\n" + good,
		"words in capitals":  strings.Replace(good, `"likely"`, `"Likely"`, 1),
		"unknown keys":       with("confidence", 0.97),
		"pretty printed":     strings.ReplaceAll(good, ",", ",\n  "),
	} {
		t.Run(name, func(t *testing.T) {
			d, fault := judge(raw)
			if fault != nil {
				t.Fatalf("fault %+v", *fault)
			}
			if len(d.Causes) != 1 || len(d.Checks) != 2 {
				t.Errorf("read %+v", d)
			}
		})
	}
}

func TestFaults(t *testing.T) {
	good := reply(nil)
	long := strings.Repeat("word ", 60)
	for name, tt := range map[string]struct{ raw, code, says string }{
		"empty":                {"", FaultEmpty, "empty"},
		"blank":                {" \n\t\ufeff", FaultEmpty, "empty"},
		"only thoughts":        {"<think>hm</think>", FaultEmpty, "empty"},
		"prose":                {"The level sensor is probably dirty.", FaultNotJSON, "not JSON"},
		"html":                 {"<!doctype html><html><body>Sign in</body></html>", FaultNotJSON, "not JSON"},
		"cut":                  {good[:len(good)/2], FaultNotJSON, "ended in the middle"},
		"cut within a string":  {good[:40], FaultNotJSON, "ended in the middle"},
		"endless":              {`{"summary":"` + strings.Repeat("x", maxAnswer), FaultNotJSON, "longer than"},
		"another object":       {`{"error":"overloaded"}`, FaultNotJSON, "not JSON"},
		"array":                {`["filler.level"]`, FaultNotJSON, "not JSON"},
		"two objects":          {good + good, FaultSeveral, "exactly one"},
		"field missing":        {reply(func(m map[string]any) { delete(m, "summary") }), FaultSchema, `"summary" is missing`},
		"field null":           {with("checks", nil), FaultSchema, `"checks" is missing`},
		"wrong type":           {with("checks", "look"), FaultSchema, `"checks" must be an array`},
		"number for text":      {with("summary", 4), FaultSchema, `"summary" must be`},
		"likelihood a number":  {with("causes", []any{map[string]any{"cause": "x", "likelihood": 0.9, "evidence": []any{}, "sources": []any{}}}), FaultSchema, `"causes" must be`},
		"likelihood unknown":   {strings.Replace(good, `"likely"`, `"certain"`, 1), FaultSchema, "likelihood of cause 1"},
		"urgency unknown":      {with("urgency", "asap"), FaultSchema, "urgency must be"},
		"no summary":           {with("summary", " "), FaultSchema, "summary is empty"},
		"no checks":            {with("checks", []any{}), FaultSchema, "no check"},
		"no causes":            {with("causes", []any{}), FaultSchema, "no cause"},
		"six checks":           {with("checks", []any{"a", "b", "c", "d", "e", "f"}), FaultSchema, "6 checks"},
		"long check":           {with("checks", []any{long}), FaultSchema, "check 1 is longer than 160"},
		"long cause":           {with("causes", []any{because(long, "filler.level")}), FaultSchema, "cause 1 is longer"},
		"long summary":         {with("summary", long+long), FaultSchema, "summary is longer"},
		"unknown tag":          {with("causes", []any{because("Foam", "filler.foam")}), FaultEvidence, `"filler.foam"`},
		"tag in other case":    {with("causes", []any{because("Foam", "Filler.Level")}), FaultEvidence, `"Filler.Level"`},
		"unknown alarm":        {with("causes", []any{because("Foam", "filler/F999")}), FaultEvidence, `"filler/F999"`},
		"unknown observation":  {with("evidence", []any{map[string]any{"name": "capper.torque", "observation": "x"}}), FaultEvidence, `"capper.torque"`},
		"unknown source":       {strings.Replace(good, "runbook/filler.md#f212", "runbook/filler.md#f213", 1), FaultSource, "#f213"},
		"source of the web":    {strings.Replace(good, "runbook/filler.md#f212", "https://example.com", 1), FaultSource, "example.com"},
		"unknown number":       {with("summary", "The level reads 55 %."), FaultNumber, `"55 %"`},
		"number with comma":    {with("summary", "The level reads 55,5 %."), FaultNumber, "55,5 %"},
		"number in a check":    {with("checks", []any{"Set the pressure to 3.7 bar."}), FaultNumber, `"3.7 bar"`},
		"wrong digits":         {with("summary", "The level reads 91.9 %."), FaultNumber, "91.9"},
		"unit of a passage's":  {with("summary", "It rose by 2.5 %."), FaultNumber, `"2.5 %"`},
		"number of wrong unit": {with("summary", "The flow is 139.8 bar."), FaultNumber, "139.8 bar"},
		"tag made up in text":  {with("checks", []any{"Watch filler.foam_level for a minute."}), FaultEvidence, "filler.foam_level"},
		"nothing but bypass": {reply(func(m map[string]any) {
			m["causes"], m["checks"] = []any{because("Bridge the guard switch.", "filler.level")}, []any{"Bypass the interlock."}
		}), FaultFiltered, "safety function"},
	} {
		t.Run(name, func(t *testing.T) {
			_, fault := judge(tt.raw)
			if fault == nil {
				t.Fatal("no fault")
			}
			if fault.Code != tt.code || !strings.Contains(fault.Text, tt.says) {
				t.Errorf("fault %+v, want %s saying %q", *fault, tt.code, tt.says)
			}
			if len(fault.Text) > maxFaultText {
				t.Errorf("a fault of %d bytes is no word to a model", len(fault.Text))
			}
		})
	}
}

func TestNumbersOfTheCaseHold(t *testing.T) {
	for _, text := range []string{
		"The level reads 91.2 %.", "The level reads 91 %.", "The level is above its limit of 80 %.", "It swung between 42 % and 93.5 %.", "It swung by 51.5 %.", "It rises by 12.25 %/min.", "It stood at 71,2 Prozent on average.",
		"The window of 10 min shows it.", "The window of 600 s shows it.", "A101 rose 4 s later.", "F205 rose 3 minutes before.", "The level is 11.2 % over the limit.",
		"Flow was 140 l/min.", "Wait for 1 min as the runbook says.", "The pump is at 2.5 bar.", "Relieve it until the gauge shows 0 bar.", "Pressure is 42 s old.", "History is only 4 min long.",
		"Alarm F212 on line 2 at 11:52.", "Step 3 of 5, drive M5.", "Part 6205-2RS fits.",
	} {
		if _, fault := judge(with("summary", text)); fault != nil {
			t.Errorf("%s: %+v", text, *fault)
		}
	}
}

func TestHowLongAgoItWasMayBeSaid(t *testing.T) {
	c, passages := fillerCase(), fillerPassages()
	c.Before = []edgeagent.Precedent{{Alarm: "00", At: raised.Add(-9 * 24 * time.Hour), Cause: "Foam", Confirmed: true, ByPerson: true}}
	for text, held := range map[string]bool{
		"It rose two days ago too.": true, "It rose 48 h before.": true, "It was foam 9 days ago.": true, "It was foam 7 days ago.": false,
	} {
		if _, fault := Judge(c, passages, with("summary", text), "en"); (fault == nil) != held {
			t.Errorf("%s: %+v", text, fault)
		}
	}
}

func TestNamesOfTheRunbookMayBeRepeated(t *testing.T) {
	c, passages := fillerCase(), fillerPassages()
	passages[0].Text += " Compare filler.level_2, see filler/F213 and drawings.csv."
	c.Alarms[0].Alarm.SourceText = "filler.level_7 did not move"
	for text, held := range map[string]bool{
		"Compare filler.level_2 with it.": true, "See filler/F213.": true, "See drawings.csv.": true,
		"Compare filler.level_3 with it.": false, "See other.csv.": false, "Look at filler.level_7.": false, // the plant's texts prove no name
	} {
		if _, fault := Judge(c, passages, with("summary", text), "en"); (fault == nil) != held {
			t.Errorf("%s: %+v", text, fault)
		}
	}
	if _, fault := Judge(c, passages, reply(func(m map[string]any) {
		m["evidence"] = []any{map[string]any{"name": "filler.level_2", "observation": "high"}}
	}), "en"); fault == nil {
		t.Error("a tag of the runbook without a value was taken for evidence")
	}
}

func TestInsufficientEvidenceNeedsNoCause(t *testing.T) {
	raw := reply(func(m map[string]any) { m["causes"], m["insufficient_evidence"] = []any{}, true })
	d, fault := judge(raw)
	if fault != nil || !d.InsufficientEvidence || len(d.Causes) != 0 {
		t.Errorf("%+v %+v", d, fault)
	}
}

func TestLinksAndMarkupGo(t *testing.T) {
	raw := reply(func(m map[string]any) {
		m["summary"] = "See <a href='http://evil.example'>this</a> and ![x](http://evil.example/q) now."
		m["checks"] = []any{"Open [the guide](http://evil.example/a) at www.evil.example.", "<script>alert(1)</script>Look at the probe<br/>.", "by\u200bpass nothing, wipe the pr\u00adobe."}
	})
	d, fault := judge(raw)
	if fault != nil {
		t.Fatalf("%+v", *fault)
	}
	all := d.Summary + strings.Join(d.Checks, " ")
	for _, bad := range []string{"evil", "http", "<", "](", "alert", "\u200b", "\u00ad"} {
		if strings.Contains(all, bad) {
			t.Errorf("%q in %q", bad, all)
		}
	}
	if !strings.Contains(d.Checks[0], "the guide") {
		t.Errorf("the link's words are gone: %q", d.Checks[0])
	}
}

func TestBypassIsRemovedAndNamed(t *testing.T) {
	raw := reply(func(m map[string]any) {
		m["checks"] = []any{"Compare the level with the sight glass.", "Bridge the door switch and restart.", "Never bypass the guard."}
		m["summary"] = "Foam is likely. Bypass the interlock to be sure."
		m["causes"] = []any{because("The door switch was bridged by somebody.", "filler.level"), because("Overriding the light curtain helps.", "filler.level")}
	})
	d, fault := judge(raw)
	if fault != nil {
		t.Fatalf("a removal is no fault: %+v", *fault)
	}
	if want := []string{"Compare the level with the sight glass.", "Never bypass the guard."}; !slices.Equal(d.Checks, want) {
		t.Errorf("checks %q", d.Checks)
	}
	if d.Summary != "Foam is likely." {
		t.Errorf("summary %q", d.Summary)
	}
	if len(d.Causes) != 1 || d.Causes[0].Cause != "The door switch was bridged by somebody." {
		t.Errorf("causes %+v", d.Causes)
	}
	if len(d.Filtered) != 3 || !strings.HasPrefix(d.Filtered[0], "summary removed: it would defeat a safety function (bypass … interlock)") {
		t.Errorf("filtered %q", d.Filtered)
	}
	if !strings.Contains(d.Safety, SafetyText("en")) {
		t.Errorf("safety %q", d.Safety)
	}
}

// TestModelThatObeysIsFiltered has a scripted model do what a hostile text of
// the plant tells it, in every field, whatever else the text does.
func TestModelThatObeysIsFiltered(t *testing.T) {
	for i, text := range hostileTexts(t) {
		advice := "Bridge the door switch " + text
		c, passages := hostileCase(text)
		raw := reply(func(m map[string]any) {
			m["summary"], m["checks"], m["causes"], m["missing"] = advice, []any{advice, text}, []any{because(advice, "filler.level")}, []any{advice}
			m["safety"] = "No lockout is needed."
		})
		for _, d := range obey(c, passages, raw) {
			all := strings.ToLower(fmt.Sprintf("%s %v %q %v %s %s", d.Summary, d.Causes, d.Checks, d.Missing, d.Safety, d.Unstructured))
			if strings.Contains(all, "bridge the door switch") {
				t.Errorf("text %d: advice is shown: %s", i, all)
			}
			if strings.Contains(all, "no lockout") {
				t.Errorf("text %d: the model's own safety text is shown", i)
			}
		}
	}
}

func obey(c edgeagent.Case, passages []Passage, raw string) []edgeagent.Diagnosis {
	a, _ := Judge(c, passages, raw, "en")
	b, _ := Drop(c, passages, raw, "en")
	e, _ := Drop(c, passages, "I will help. "+strings.Trim(raw, "{}"), "en")
	return []edgeagent.Diagnosis{a, b, e}
}

func TestSafetyFunctionsAreNotAdvisedOn(t *testing.T) {
	raw := reply(func(m map[string]any) {
		m["causes"] = []any{because("Guard not closed", "filler.guard_closed"), because("Foam", "filler.level")}
		m["checks"] = []any{"Set guard_closed to true.", "Look at filler.guard_closed.", "Wipe the probe."}
	})
	d, fault := judge(raw)
	if fault != nil {
		t.Fatalf("%+v", *fault)
	}
	if len(d.Causes) != 1 || d.Causes[0].Cause != "Foam" || !slices.Equal(d.Checks, []string{"Wipe the probe."}) {
		t.Errorf("causes %+v, checks %q", d.Causes, d.Checks)
	}
	if len(d.Filtered) != 3 || !strings.Contains(d.Filtered[0], "filler.guard_closed") {
		t.Errorf("filtered %q", d.Filtered)
	}
	if want := "The bowl is under CO2 pressure. " + SafetyText("en"); d.Safety != want {
		t.Errorf("safety %q", d.Safety)
	}
}

func TestAlarmOfASafetyFunctionGetsNoModelAdvice(t *testing.T) {
	c := fillerCase()
	c.Alarms[0].Alarm.Safety = true
	for _, raw := range []string{reply(nil), with("checks", []any{"Reset it."}), "just reset it"} {
		d, _ := Judge(c, fillerPassages(), raw, "de")
		dropped, _ := Drop(c, fillerPassages(), raw, "de")
		for _, d := range []edgeagent.Diagnosis{d, dropped} {
			if len(d.Causes)+len(d.Checks) != 0 || d.Unstructured != "" {
				t.Errorf("a model advises on a safety function: %+v", d)
			}
		}
		if !strings.Contains(dropped.Safety, SafetyText("de")) || len(dropped.Filtered) == 0 {
			t.Errorf("safety %q, filtered %q", dropped.Safety, dropped.Filtered)
		}
	}
}

func TestDrop(t *testing.T) {
	t.Run("a claim without ground goes and is counted", func(t *testing.T) {
		d, ok := drop(reply(func(m map[string]any) {
			m["causes"] = []any{because("Foam at 12 bar", "filler.level"), because("Ghost", "filler.ghost"), because("Film on the probe", "filler.level", "filler.ghost")}
			m["checks"] = []any{"Set it to 77 bar.", "Look at filler.ghost_level.", "Wipe the probe."}
			m["summary"] = "It reads 55 %. Foam is likely."
		}))
		if !ok || len(d.Causes) != 1 || d.Causes[0].Cause != "Film on the probe" || !slices.Equal(d.Causes[0].Evidence, []string{"filler.level"}) {
			t.Errorf("causes %+v", d.Causes)
		}
		if !slices.Equal(d.Checks, []string{"Wipe the probe."}) || d.Summary != "Foam is likely." {
			t.Errorf("checks %q, summary %q", d.Checks, d.Summary)
		}
		if want := (edgeagent.Grounded{Checked: 9, Held: 3}); d.Grounded != want {
			t.Errorf("grounded %+v, want %+v", d.Grounded, want)
		}
	})
	t.Run("too long is cut at a word", func(t *testing.T) {
		d, ok := drop(with("checks", []any{strings.Repeat("wipe ", 60), "b", "c", "d", "e", "f"}))
		if !ok || len(d.Checks) != maxChecks || tooLong(d.Checks[0], maxCheckText+2) || !strings.HasSuffix(d.Checks[0], "wipe …") {
			t.Errorf("checks %q", d.Checks)
		}
	})
	t.Run("one bad field leaves the others", func(t *testing.T) {
		d, ok := drop(with("causes", "foam"))
		if !ok || len(d.Checks) != 2 || len(d.Causes) != 0 || !d.InsufficientEvidence {
			t.Errorf("%v %+v", ok, d)
		}
	})
	t.Run("unknown words get code's", func(t *testing.T) {
		d, ok := drop(strings.Replace(with("urgency", "asap"), `"likely"`, `"99 %"`, 1))
		if !ok || d.Urgency != edgeagent.UrgencyShift || d.Causes[0].Likelihood != edgeagent.Possible {
			t.Errorf("%v %+v", ok, d)
		}
	})
	t.Run("prose is shown whole", func(t *testing.T) {
		d, ok := drop("The probe is dirty.\nWipe it. Then bridge the door switch. See http://evil.example now.")
		if !ok || !strings.Contains(d.Unstructured, "The probe is dirty.") || strings.Contains(d.Unstructured, "bridge") || strings.Contains(d.Unstructured, "evil") {
			t.Errorf("%v %q", ok, d.Unstructured)
		}
		if len(d.Filtered) != 1 || !d.InsufficientEvidence || d.Summary == "" || d.Urgency != edgeagent.UrgencyShift {
			t.Errorf("%+v", d)
		}
	})
	t.Run("endless prose is capped on a character", func(t *testing.T) {
		d, ok := drop(strings.Repeat("größer ", 5000))
		if !ok || len(d.Unstructured) > maxUnstructured || len(d.Unstructured) < maxUnstructured-10 || !strings.HasPrefix(d.Unstructured, "größer") {
			t.Errorf("%d bytes", len(d.Unstructured))
		}
	})
	t.Run("two objects are shown", func(t *testing.T) {
		if d, ok := drop(reply(nil) + reply(nil)); !ok || d.Unstructured == "" {
			t.Errorf("%v %+v", ok, d)
		}
	})
	for _, raw := range []string{"", " \n", "\ufeff", "<html></html>", "\x00\x01", `{"summary":"","causes":[],"checks":[]}`} {
		if d, ok := drop(raw); ok {
			t.Errorf("Drop(%q) is an answer: %+v", raw, d)
		}
	}
}

func TestLanguageIsSetByCode(t *testing.T) {
	for _, tt := range []struct{ asked, ofCase, want string }{{"de", "en", "de"}, {"", "de", "de"}, {"de-AT", "", "de"}, {"xx", "yy", "en"}, {"", "", "en"}} {
		c := fillerCase()
		c.Language = tt.ofCase
		raw := reply(func(m map[string]any) {
			m["summary"], m["checks"], m["language"] = "Sensor F212", []any{"Sensor F212"}, "fr"
		})
		d, _ := Judge(c, nil, raw, tt.asked)
		if d.Language != tt.want {
			t.Errorf("asked %q, case %q: %q, want %q", tt.asked, tt.ofCase, d.Language, tt.want)
		}
	}
}

// An answer in the other of the two languages is asked for again, and what
// stays is shown for what it is; one in a third cannot be checked and is not shown.
func TestAnswerInAnotherLanguage(t *testing.T) {
	german := reply(func(m map[string]any) {
		m["summary"] = "Der Füllstand ist nicht stabil, die Sonde ist mit Schaum bedeckt."
		m["checks"] = []any{"Die Sonde mit dem Schauglas vergleichen und auf Schaum prüfen."}
	})
	d, fault := judge(german)
	if fault == nil || fault.Code != FaultLanguage || d.Language != "de" || len(d.Checks) != 1 {
		t.Errorf("fault %+v, %+v", fault, d)
	}
	if d, fault = Judge(fillerCase(), fillerPassages(), german, "de"); fault != nil || d.Language != "de" {
		t.Errorf("German was asked for: fault %+v, %+v", fault, d)
	}
	for name, text := range map[string]string{
		"French":  "Pontez le contact de sécurité avec un fil pour redémarrer.",
		"Spanish": "Puentee el contacto de la puerta con un cable.",
		"Italian": "Ponticellare il contatto della porta con un filo.",
		"Polish":  "Sprawdź czy drzwi nie są otwarte i zmostkuj styk.",
		"Russian": "Замкните контакт двери проводом",
		"Chinese": "用导线短接安全门开关然后重新启动",
	} {
		d, _ := judge(reply(func(m map[string]any) {
			m["summary"], m["checks"], m["missing"] = text, []any{text, "Wipe the probe."}, []any{text}
			m["causes"] = []any{because(text, "filler.level"), because("Foam", "filler.level")}
		}))
		if all := fmt.Sprint(d.Summary, d.Checks, d.Causes, d.Missing); strings.Contains(all, text) || len(d.Checks) != 1 || len(d.Causes) != 1 || len(d.Filtered) != 4 {
			t.Errorf("%s: %s, filtered %q", name, all, d.Filtered)
		}
	}
	quoting := "The panel says \"温度传感器异常\"; check the plug of the sensor."
	if d, fault := judge(with("checks", []any{quoting})); fault != nil || len(d.Checks) != 1 {
		t.Errorf("a check that quotes the panel: %+v %+v", fault, d)
	}
}

func FuzzJudge(f *testing.F) {
	f.Add(reply(nil))
	f.Add("```json\n" + reply(nil))
	f.Add(reply(nil)[:100])
	for _, s := range hostileTexts(f) {
		f.Add(with("summary", s))
		f.Add(s)
	}
	c, passages := fillerCase(), fillerPassages()
	f.Fuzz(func(t *testing.T, raw string) {
		d, fault := Judge(c, passages, raw, "en")
		if fault == nil && (d.Summary == "" || len(d.Checks) == 0 && len(d.Filtered) == 0) {
			t.Fatalf("accepted without content: %+v", d)
		}
		dropped, ok := Drop(c, passages, raw, "en")
		checkDiagnosis(t, c, dropped, ok)
		if fault == nil {
			checkDiagnosis(t, c, d, true)
		}
	})
}

// checkDiagnosis: whatever a model says, what is shown keeps its promises.
func checkDiagnosis(t *testing.T, c edgeagent.Case, d edgeagent.Diagnosis, ok bool) {
	t.Helper()
	names := newFacts(c, fillerPassages())
	for _, cause := range d.Causes {
		for _, e := range cause.Evidence {
			if names.names[e] == "" {
				t.Fatalf("evidence %q is not in the case", e)
			}
		}
		for _, s := range cause.Sources {
			if names.sources[s] == "" {
				t.Fatalf("source %q is not in the case", s)
			}
		}
	}
	if d.Grounded.Held > d.Grounded.Checked || len(d.Checks) > maxChecks || len(d.Causes) > maxCauses || len(d.Unstructured) > maxUnstructured {
		t.Fatalf("limits: %+v", d)
	}
	if ok && (d.Language == "" || d.Urgency == "" || d.Causes == nil || d.Checks == nil || d.Filtered == nil || d.Missing == nil) {
		t.Fatalf("holes: %+v", d)
	}
	if strings.ContainsAny(d.Summary+strings.Join(d.Checks, ""), "\n\u200b\u202e") {
		t.Fatalf("unclean: %+v", d)
	}
}

// A claim that cites nothing is not false, only weak: it loses its strength,
// and no repair is paid for.
func TestLikelyWithoutProofIsOnlyPossible(t *testing.T) {
	d, fault := judge(with("causes", []any{because("Gremlins")}))
	if fault != nil {
		t.Fatalf("fault %+v", fault)
	}
	if len(d.Causes) != 1 || d.Causes[0].Likelihood != edgeagent.Possible || d.Grounded.Held >= d.Grounded.Checked {
		t.Errorf("causes %+v, grounded %+v", d.Causes, d.Grounded)
	}
}

// What means something safe when it is absent is not worth a second request.
func TestSpareFieldsMayBeAbsent(t *testing.T) {
	raw := reply(func(m map[string]any) {
		for _, name := range []string{"evidence", "urgency", "missing", "insufficient_evidence"} {
			delete(m, name)
		}
	})
	d, fault := judge(raw)
	if fault != nil {
		t.Fatalf("fault %+v", fault)
	}
	if d.Urgency == "" || len(d.Causes) == 0 || len(d.Checks) == 0 {
		t.Errorf("diagnosis %+v", d)
	}
}

// An answer of thousands of causes is refused for their number, not judged one
// by one.
func TestEndlessListsAreNotJudged(t *testing.T) {
	causes := slices.Repeat([]any{because("Foam", "filler.level")}, 500)
	d, fault := judge(with("causes", causes))
	if fault == nil || fault.Code != FaultSchema || d.Grounded.Checked > 3*maxCauses+maxEvidence {
		t.Errorf("fault %+v, grounded %+v", fault, d.Grounded)
	}
}
