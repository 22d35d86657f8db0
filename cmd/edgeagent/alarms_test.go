package main

import (
	"fmt"
	"strings"
	"testing"
)

// The one that matters in a flood rose first, and may be the hundredth from the
// end.
func TestAlarmsListHidesNoneOfAFlood(t *testing.T) {
	r := newRig(t).start()
	cl := clientOn(r.load().Agent.Socket)
	const many = 120
	for i := range many {
		body := map[string]any{"line": "Filler-2", "code": fmt.Sprint("X", i), "text": "something"}
		if err := cl.post(t.Context(), "/api/v1/alarms", body, nil); err != nil {
			t.Fatal(err)
		}
	}
	out, errOut, code := r.run("alarms", "list")
	if n := strings.Count(out, "\n") - 1; code != exitOK || n != many || errOut != "" {
		t.Errorf("exit %d, %d of %d alarms; %s", code, n, many, errOut)
	}
	if _, errOut, _ := r.run("alarms", "list", "--state", "history"); !strings.Contains(errOut, "the newest 100") {
		t.Errorf("that there are older ones is not said: %q", errOut)
	}
}
