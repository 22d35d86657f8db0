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
