package queue

import (
	"encoding/json"
	"testing"
	"time"

	"edgeagent"
)

// A job whose header is lost numbers its next record of calls behind those that
// are there, however many calls each holds: none is written over, and only a
// number that is missing counts as lost.
func TestAMendedJobKnowsHowManyRecordsOfCallsThereWere(t *testing.T) {
	at := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	id := edgeagent.NewID(at)
	several := []edgeagent.Call{{Provider: "cloud"}, {Provider: "cloud"}, {Provider: "local"}}
	for name, tt := range map[string]struct {
		calls map[uint16][]edgeagent.Call
		want  int
	}{
		"none":               {nil, 0},
		"several calls":      {map[uint16][]edgeagent.Call{0: several}, 1},
		"records of no call": {map[uint16][]edgeagent.Call{0: {}, 1: {}}, 2},
		"one in between":     {map[uint16][]edgeagent.Call{0: several, 2: several}, 3},
	} {
		bodies := map[string][]byte{part(id, partDiagnosis): bodyOf(t, edgeagent.Diagnosis{Summary: "x"})}
		for n, calls := range tt.calls {
			bodies[numbered(id, partCalls, n)] = bodyOf(t, calls)
		}
		h, ok := object{id, bodies}.mend(nil, header{State: edgeagent.JobPending}, 5)
		if !ok || h.Asks != tt.want {
			t.Errorf("%s: mended %v with %d records, want %d", name, ok, h.Asks, tt.want)
		}
	}
}

func bodyOf(t *testing.T, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return pack(text)
}
