package status

import (
	"strings"
	"testing"
	"time"
)

// An alarm of another system is a row that a person reads, follows and types.
func TestOutsideAlarmHasNamesThatCanBeShown(t *testing.T) {
	p := newPlant(time.Now())
	client, base, _ := serve(t, newServer(p), "unix")
	for _, body := range []string{
		`{"line":"a","code":" ","text":"c"}`,
		`{"line":" a","code":"b","text":"c"}`,
		`{"line":"a","code":"b","text":" \n"}`,
		`{"line":"a","code":"b","text":"\u200b\u2800"}`,
		`{"line":"a\u001b[2J","code":"b","text":"c"}`,
		`{"line":"a","code":"b\u202e","text":"c"}`,
		`{"line":"` + strings.Repeat("L", 64) + `","code":"b","text":"c"}`,
		`{"line":"a","code":"` + strings.Repeat("b", 65) + `","text":"c"}`,
	} {
		if status, answer := post(t, client, base+"/api/v1/alarms", body); status != 400 {
			t.Errorf("%.60s: %d %s", body, status, answer)
		}
	}
	if got := p.deeds(); len(got) > 0 {
		t.Errorf("raised %v", got)
	}
	body := `{"line":"` + strings.Repeat("Ü", 63) + `","code":"Pumpe 7/läuft trocken","text":"zwei\nZeilen"}`
	if status, answer := post(t, client, base+"/api/v1/alarms", body); status != 201 {
		t.Errorf("what can be shown: %d %s", status, answer)
	}
}

// An override turns the text of an alarm round, numbers too, and the number that
// somebody acts on at night is another.
func TestOutsideAlarmReadsAsItWasMeant(t *testing.T) {
	p := newPlant(time.Now())
	client, base, _ := serve(t, newServer(p), "unix")
	for text, want := range map[string]string{
		`\u202epressure 12.5 bar`:               "pressure 12.5 bar",
		`pump\u0000 7\r\n\tlauft \u200btrocken`: "pump 7 lauft trocken",
		`Füllstand über 80 %`:                   "Füllstand über 80 %",
	} {
		status, answer := post(t, client, base+"/api/v1/alarms", `{"line":"a","code":"b","text":"`+text+`"}`)
		if status != 201 || !strings.Contains(answer, `"text":"`+want+`"`) {
			t.Errorf("%q: %d %s, want the text %q", text, status, answer, want)
		}
	}
	// So do the values that stand beside it.
	status, answer := post(t, client, base+"/api/v1/alarms", `{"line":"a","code":"b","text":"c","values":{"oil\u202e":"\u202e12.5 bar","n":9007199254740993}}`)
	if status != 201 || !strings.Contains(answer, `"values":{"n":"9007199254740993","oil":"12.5 bar"}`) {
		t.Errorf("values: %d %s", status, answer)
	}
}
