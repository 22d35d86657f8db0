package exports

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"edgeagent"
)

// ignitionAlarm is one alarm of a tag. What may be bound to an expression is
// kept as it stands; a bound value is none that is known here.
type ignitionAlarm struct {
	Name       string          `json:"name"`
	Enabled    json.RawMessage `json:"enabled"`
	Mode       json.RawMessage `json:"mode"`
	Priority   json.RawMessage `json:"priority"`
	SetpointA  json.RawMessage `json:"setpointA"`
	SetpointB  json.RawMessage `json:"setpointB"`
	InclusiveA json.RawMessage `json:"inclusiveA"`
	InclusiveB json.RawMessage `json:"inclusiveB"`
	Bit        json.RawMessage `json:"bitPosition"`
	OnZero     json.RawMessage `json:"bitOnZero"`
	Label      json.RawMessage `json:"label"`
	Deadband   json.RawMessage `json:"deadband"`
	OnDelay    json.RawMessage `json:"timeOnDelaySeconds"`
	OffDelay   json.RawMessage `json:"timeOffDelaySeconds"`
}

// ignitionPriority are our priorities; an alarm that names none is low.
var ignitionPriority = map[string]int{"Critical": 1, "High": 2, "Medium": 3, "Low": 4, "": 4}

func (t *ignition) takeAlarms(s *source, tag *Tag) {
	for i, raw := range s.alarms {
		var a ignitionAlarm
		what := fmt.Sprintf("alarm %d of %s", i+1, s.path)
		if json.Unmarshal(raw, &a) != nil {
			t.skip(s.line, what, "it is no alarm")
			continue
		}
		if a.Name != "" {
			what = fmt.Sprintf("alarm %s of %s", a.Name, s.path)
		}
		if why := t.takeAlarm(s, tag, &a); why != "" {
			t.skip(s.line, what, "%s", why)
		}
	}
}

func (t *ignition) takeAlarm(s *source, tag *Tag, a *ignitionAlarm) string {
	var priority string
	if !plain(a.Priority, &priority) {
		return "its priority is bound to an expression"
	}
	enabled := true
	if !plain(a.Enabled, &enabled) || !enabled {
		return "it is not enabled, or only under a condition"
	}
	rank, known := ignitionPriority[priority]
	if !known {
		return fmt.Sprintf("priority %s is no alarm's", oneLine(priority, 40))
	}
	bit, when, why := a.condition(tag)
	if why != "" {
		return why
	}
	name, ok := t.codes.claim(code(tag.Name + "." + a.Name))
	if !ok {
		return "another alarm has its name"
	}
	texts := map[string]string{t.options.Language: a.text()}
	on, okOn := seconds(a.OnDelay)
	off, okOff := seconds(a.OffDelay)
	if !okOn || !okOff || when == "" && on+off != "" { // the rows of a word have the word's delays
		t.delays++
	}
	if when == "" {
		t.result.Texts[tag.Name] = append(t.result.Texts[tag.Name],
			Text{Line: s.line, Key: KeyBit, Number: int64(bit), Code: name, Priority: rank, Texts: texts})
		return ""
	}
	if d := finite(a.Deadband); d != nil && *d != 0 {
		t.deadband++
	}
	t.result.Alarms = append(t.result.Alarms, Alarm{
		Line: s.line, Tag: tag.Name, Code: name, When: when, Priority: rank,
		OnDelay: on, OffDelay: off, Texts: texts,
	})
	return ""
}

func (a *ignitionAlarm) text() string {
	var label string
	if plain(a.Label, &label) && label != "" {
		return oneLine(label, maxText)
	}
	return oneLine(a.Name, maxText)
}

// condition returns the bit of an alarm on a bit, or the expression of another.
func (a *ignitionAlarm) condition(tag *Tag) (bit int, when, why string) {
	mode, onZero := "Equality", false
	if !plain(a.Mode, &mode) || !plain(a.OnZero, &onZero) {
		return 0, "", "its mode is bound to an expression"
	}
	if mode == "Bit" {
		if !plain(a.Bit, &bit) || onZero || bit < 0 || tag.Scaling != nil || bit >= 16*tag.Type.Registers() || bit > highestBit {
			return 0, "", "it is on a bit that cannot be taken: bound, on zero, of a scaled value or beyond it"
		}
		return bit, "", ""
	}
	low, okA := setpoint(a.SetpointA)
	high, okB := setpoint(a.SetpointB)
	switch {
	case !okA || !okB:
		return 0, "", "a setpoint is bound to another tag or an expression"
	case tag.Type == edgeagent.TypeString:
		return 0, "", "it is on a text"
	case tag.Type == edgeagent.TypeBool:
		when, why = boolean(tag.Name, mode, low)
	default:
		when, why = a.limit(tag.Name, mode, low, high)
	}
	return 0, when, why
}

func boolean(name, mode string, at float64) (string, string) {
	switch {
	case mode != "Equality" && mode != "Inequality":
		return "", fmt.Sprintf("mode %s is none of a bit", oneLine(mode, 40))
	case (at != 0) == (mode == "Equality"):
		return name, ""
	default:
		return "not " + name, ""
	}
}

// limit writes the condition of a number. A setpoint belongs to its side unless
// the alarm says otherwise.
func (a *ignitionAlarm) limit(name, mode string, low, high float64) (string, string) {
	inA, inB := true, true
	if !plain(a.InclusiveA, &inA) || !plain(a.InclusiveB, &inB) {
		return "", "whether its setpoints are included is bound to an expression"
	}
	equal := func(in bool) string {
		if in {
			return "="
		}
		return ""
	}
	a1, b1 := decimal(low), decimal(high)
	switch mode {
	case "Equality":
		return name + " == " + a1, ""
	case "Inequality":
		return name + " != " + a1, ""
	case "AboveValue":
		return name + " >" + equal(inA) + " " + a1, ""
	case "BelowValue":
		return name + " <" + equal(inA) + " " + a1, ""
	case "BetweenValues":
		return fmt.Sprintf("%s >%s %s and %s <%s %s", name, equal(inA), a1, name, equal(inB), b1), ""
	default:
		return "", fmt.Sprintf("mode %s has no counterpart", oneLine(mode, 40))
	}
}

func decimal(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

// plain reads a value that is not bound; what is absent leaves it as it is.
func plain[T any](raw json.RawMessage, into *T) bool {
	return len(raw) == 0 || json.Unmarshal(raw, into) == nil
}

// setpoint reads a number, a truth value, or a number in quotes; absent is 0.
func setpoint(raw json.RawMessage) (float64, bool) {
	if len(raw) == 0 {
		return 0, true
	}
	if f := finite(raw); f != nil {
		return *f, true
	}
	var truth bool
	if json.Unmarshal(raw, &truth) == nil {
		if truth {
			return 1, true
		}
		return 0, true
	}
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return 0, false
	}
	f := finite(json.RawMessage(strings.TrimSpace(s)))
	if f == nil {
		return 0, false
	}
	return *f, true
}

// seconds writes a delay as a duration, empty for none, and reports whether it
// could: it may be bound, or longer than a day.
func seconds(raw json.RawMessage) (string, bool) {
	var f float64
	if !plain(raw, &f) || f > 86400 {
		return "", false
	}
	if f <= 0 {
		return "", true
	}
	return decimal(f) + "s", true
}
