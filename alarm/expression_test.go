package alarm

import (
	"strings"
	"testing"
	"time"

	"edgeagent"
)

func tagsOf(pairs ...string) []edgeagent.Tag {
	var out []edgeagent.Tag
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, edgeagent.Tag{Device: "d", Name: pairs[i], Type: edgeagent.DataType(pairs[i+1])})
	}
	return out
}

var machineTags = tagsOf("level", "float32", "flow", "float32", "state", "uint16", "run", "bool", "recipe", "string",
	"count", "uint32", "rate", "int16", "max", "int16", "t_level", "int16", "now", "bool")

func TestCheckRefuses(t *testing.T) {
	tests := []struct{ expression, message string }{
		{"", "column 1: the expression ends where a value should stand; write a comparison such as level > 80"},
		{"level >", "column 8: the expression ends where a value should stand; write a comparison such as level > 80"},
		{"level > 80 )", "column 12: ) closes nothing; remove it"},
		{"(level > 80", "column 1: this parenthesis is not closed; write ) where it ends"},
		{"max(level, flow", "column 4: this parenthesis is not closed"},
		{"(level, flow) > 3", "column 7: a comma stands between the values of a function alone; remove it"},
		{"level > , 3", "column 9: , stands where a value should; write a comparison such as level > 80"},
		{"level > > 3", "column 9: > stands where a value should"},
		{"max(, level) > 3", "column 5: , stands where a value should"},
		{"level > 80 flow", "column 12: a value stands behind another; put an operator between them, such as and"},
		{"level = 80", "column 7: operator = is not for conditions; write == to compare"},
		{"not level > 80", "column 5: this is a number, but not takes true or false"},
		{"level > 80C", "column 9: 80C is no number; write it as 80, 0.5, 1e3 or 0x50"},
		{"level > 1e", "column 9: 1e is no number"},
		{"level > 1e999", "column 9: 1e999 is no number"},
		{"level > 9223372036854775808", "column 9: 9223372036854775808 is no number"},
		{"level > 1.5.2", "column 12: a value stands behind another"},
		{"level > 0b12", "column 9: 0b12 is no number"},
		{"level ~ 3", "column 7: character '~' is not for conditions; allowed are comparison"},
		{"recipe == 'PILS", "column 11: this text has no end; close it with '"},
		{"recipe == `PILS", "column 11: this text has no end; close it with a backtick"},
		{`recipe == "a\qb"`, "column 11: this text has an escape that means nothing; write \\\\ for a backslash"},
		{"run /* why", "column 5: this comment has no end; close it with */"},
		{"größe > 3 and ½ > 2", "column 15: character '½' is not for conditions"},
		{"level | abs() > 3", "column 7: operator | is not for conditions"},
		{"1 < level < run", "column 13: this is true or false, but < takes a number"},
		{"run == now == 1", "column 12: == compares true or false with a number"},
		{"levl > 80", `column 1: unknown tag "levl"; did you mean "level"?`},
		{"80 < leve", `column 6: unknown tag "leve"; did you mean "level"?`},
		{"pressure > 80", `column 1: unknown tag "pressure"; this device has level, flow, state, run, recipe, count, rate, max, …`},
		{"level", "the expression is a number, not true or false; compare it, as in level > 80"},
		{"level + 3", "the expression is a number, not true or false"},
		{"recipe", "the expression is a text, not true or false"},
		{"1 < 2", "the expression uses no tag, so that it never changes; name one of level"},
		{"true", "the expression uses no tag"},
		{"run == 1", "column 5: == compares true or false with a number; a tag that is true or false stands alone: running, not running"},
		{"recipe == 1", "column 8: == compares a text with a number; both sides must be of one kind"},
		{"recipe > 'A'", "column 1: this is a text, but > takes a number"},
		{"recipe + 'A' == 'BA'", "column 1: this is a text, but + takes a number"},
		{"run > 0", "column 1: this is true or false, but > takes a number"},
		{"level and run", "column 1: this is a number, but and takes true or false"},
		{"not level", "column 5: this is a number, but not takes true or false"},
		{"-run > 1", "column 2: this is true or false, but - takes a number"},
		{"level % 2 == 0", "operator % is not for conditions; allowed are comparison, + - * /"},
		{"level ** 2 > 4", "operator ** is not for conditions"},
		{"state in [1, 2]", "operator in is not for conditions"},
		{"recipe matches '.*'", "operator matches is not for conditions"},
		{"recipe contains 'A'", "operator contains is not for conditions"},
		{"filler.level > 80", "a point or bracket reaches into a value; name a tag of this device alone, without the device"},
		{"recipe[0] == 'A'", "a point or bracket reaches into a value"},
		{"level > 80 ? run : run", "this is no part of a condition"},
		{"let x = level; x > 3", "this is no part of a condition"},
		{"run; run", "this is no part of a condition"},
		{"run == nil", "this is no part of a condition"},
		{"[level] == [1]", "this is no part of a condition"},
		{"{'a': level} == {}", "this is no part of a condition"},
		{"any([1], level > #)", "function any is not for conditions"},
		{"len(recipe) > 3", "function len is not for conditions"},
		{"now() > 3", "function now is not for conditions"},
		{"Divide(level, flow) > 3", "function Divide is not for conditions"},
		{"Tlevel > 3", `unknown tag "Tlevel"; did you mean "level"?`},
		{"$env.level > 3", "a point or bracket reaches into a value"},
		{"rate(level, 5) > 3", "rate takes the name of one tag, as in rate(level)"},
		{"rate(level + 1) > 3", "rate takes the name of one tag"},
		{"rate(run) > 3", "column 6: this is true or false, but rate takes a number"},
		{"rate(levle) > 3", `column 6: unknown tag "levle"; did you mean "level"?`},
		{"abs(level, flow) > 3", "abs takes one number"},
		{"max(level) > 3", "max takes two numbers or more"},
		{"min() > 3", ""},
		{"min(recipe, 3) > 3", "column 5: this is a text, but min takes a number"},
		{"level | abs > 3 | max", ""},
		{"level > 80" + strings.Repeat(" or run", 200), "at most 1000 can be checked by a person"},
		{strings.Repeat("(", 900) + "level", ""},
		{"level > '\xff'", ""},
		{"level\x00 > 3", ""},
	}
	for _, tt := range tests {
		t.Run(tt.expression[:min(len(tt.expression), 30)], func(t *testing.T) {
			err := Check(tt.expression, machineTags)
			if err == nil {
				t.Fatalf("%q was accepted", tt.expression)
			}
			if !strings.Contains(err.Error(), tt.message) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%q, want %q on one line", err, tt.message)
			}
		})
	}
}

func TestConditions(t *testing.T) {
	env := map[string]edgeagent.Value{
		"level": edgeagent.Float(82.5), "flow": edgeagent.Float(-4), "state": edgeagent.Uint(6), "run": edgeagent.Bool(true),
		"recipe": edgeagent.String("PILS"), "count": edgeagent.Uint(1 << 40), "rate": edgeagent.Int(-3), "max": edgeagent.Int(2),
		"t_level": edgeagent.Int(1), "now": edgeagent.Bool(false),
	}
	tests := map[string]bool{
		"level > 80":                        true,
		"level > 80 and state == 6":         true,
		"level > 80 && !(state != 6)":       true,
		"level > 90 or run":                 true,
		"not run or now":                    false,
		"run != now":                        true,
		"80 < level < 90":                   true,
		"80 < level + flow < 90":            false,
		"0x10 < level":                      true,
		"recipe == 'PILS'":                  true,
		`recipe != "PILS"`:                  false,
		"abs(flow) == 4":                    true,
		"max(level, flow, 3) == 82.5":       true,
		"min(level, flow) < 0":              true,
		"level / 2 == 41.25":                true,
		"level / flow < -20":                true,
		"state / 4 == 1.5":                  true,
		"7 / 2 == state - 2.5":              true,
		"-flow + 2 * 3 == 10":               true,
		"(level - 80) * 2 == 5":             true,
		"count > 1000000000000":             true,
		"rate == -3 and max == 2":           true,
		"t_level == 1 and level != 1":       true,
		"rate(level) > 1.5":                 true,
		"rate(level) == 2 and level > 3":    true,
		"abs(rate(flow)) < 1":               true,
		"max(rate(level), rate(flow)) > 1":  true,
		"run":                               true,
		"run == true":                       true,
		"run == not now":                    true,
		"not (run and now) != false":        true,
		"100 > level > 50 > flow >= -4":     true,
		"100 > level == run":                true,
		"level > 8e1 and level < .9e+2":     true,
		"0b11 < 0o17 < 1_0e-0 + 8 - flow":   true,
		"level - 80 - 2 == .5":              true,
		"16 / 4 / 2 * 3 == state":           true,
		"- -flow == +flow":                  true,
		"-flow * 2 == 8":                    true,
		"now and level / (flow + 4) > 1":    false,
		"run or level / (flow + 4) > 1":     true,
		"max(flow, -5,) == -4":              true,
		"'PILS' == recipe":                  true,
		"recipe == `PILS` and recipe!=''":   true,
		`recipe != 'it\'s' and "\x41"=="A"`: true,
		"level > 80 // nearly full":         true,
		"level /* %, of\nthe tank */ > 80":  true,
	}
	for expression, want := range tests {
		t.Run(expression, func(t *testing.T) {
			c, err := newScope(machineTags).compile(expression)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range c.signals {
				s.set(env[s.tag.Name])
				s.rate = map[string]float64{"level": 2}[s.tag.Name]
			}
			if got, known := c.holds(); !known || got != want {
				t.Errorf("%v, known %v; want %v", got, known, want)
			}
		})
	}
}

func TestNewNamesTheAlarm(t *testing.T) {
	rule := high()
	rule.Clear = "levl < 75"
	_, err := New([]Rule{rule}, defs(), Options{})
	if err == nil || !strings.HasPrefix(err.Error(), `alarm filler/F212: clear: "levl < 75": column 1: unknown tag`) {
		t.Errorf("New = %v", err)
	}
	rule.When = "level >"
	if _, err = New([]Rule{rule}, defs(), Options{}); err == nil || !strings.Contains(err.Error(), "F212: when:") {
		t.Errorf("New = %v", err)
	}
}

func TestQuietEvaluationAllocatesNothing(t *testing.T) {
	rule := high()
	rule.When = "level > 80 and state == 6 and abs(flow) < 3 or rate(level) > 4"
	p := start(t, rule)
	for range 3 {
		p.now = p.now.Add(time.Second)
		p.scan("level", 70.5, "state", 6, "flow", 140.25)
	}
	r := p.engine.rules[0].question.(comparison)
	n := testing.AllocsPerRun(100, func() {
		if _, known := r.when.holds(); !known {
			t.Fatal("not known")
		}
	})
	if n > 0 {
		t.Errorf("%v allocations an evaluation", n)
	}
}

// FuzzCheck holds what Check promises: whatever it accepts can be evaluated to
// true or false over good values, and whatever it refuses is one line.
func FuzzCheck(f *testing.F) {
	for _, s := range []string{
		"level > 80", "rate(level) > 3 and not run", "abs(min(level, flow)) / 2 < 1e9", "recipe == 'a' or 1 < state <= 3", "level / 0 > 1",
		"any([1], true)", "a.b > 1", "((((level))))>1", "-(-level) > +1", "level ?? 3 > 1", "`x` == recipe", "Tlevel > 1", "rate(rate) > 1",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if err := Check(s, machineTags); err != nil {
			if strings.Contains(err.Error(), "\n") && !strings.Contains(s, "\n") {
				t.Errorf("%q: the error has several lines: %q", s, err)
			}
			return
		}
		c, err := newScope(machineTags).compile(s)
		if err != nil {
			t.Fatalf("%q: Check accepts what the engine refuses: %v", s, err)
		}
		if holds, known := c.holds(); holds && !known || !known && !strings.Contains(s, "/") {
			t.Errorf("%q: holds %v, known %v", s, holds, known)
		}
	})
}
