package edgeagent

import (
	"encoding/json"
	"strings"
	"testing"
)

// A receiver that walks a list must find one: null is for what is one thing.
func TestListsAreNeverNull(t *testing.T) {
	data, err := json.Marshal([]Diagnosis{{Causes: []Cause{{Cause: "foam"}}}, {}})
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"causes", "evidence", "sources", "checks", "missing", "filtered"} {
		if !strings.Contains(string(data), `"`+key+`":[`) || strings.Contains(string(data), `"`+key+`":null`) {
			t.Errorf("%s is not always a list in %s", key, data)
		}
	}
}
