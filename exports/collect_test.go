package exports

import (
	"strings"
	"testing"

	"edgeagent"
)

// What was found in a server gets names of its own, and bad addresses are said.
func TestCollect(t *testing.T) {
	r := Collect([]Tag{
		{Source: "Line1/Level", Address: "ns=1;s=Line1.Level", Type: edgeagent.TypeFloat64},
		{Source: "Line1.Level", Address: "ns=1;s=Other", Type: edgeagent.TypeFloat64},
		{Source: "Nowhere", Address: "holding", Type: edgeagent.TypeUint16},
	})
	var names []string
	for _, tag := range r.Tags {
		names = append(names, tag.Name)
	}
	if got := strings.Join(names, " "); got != "line1_level line1_level_2" {
		t.Errorf("names: %s", got)
	}
	if len(r.Skipped) != 1 || r.Skipped[0].Line != 3 {
		t.Errorf("skipped: %+v", r.Skipped)
	}
}
