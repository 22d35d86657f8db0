package edgeagent

import (
	"math"
	"testing"
)

// The id is a promise to every receiver: sha256("ea1|/plant-a/line-3-gw|
// edgeagent.alarm.raised.v1|01ARZ3NDEKTSV4RRFFQ69G5FAV|1"), its first 16 bytes,
// computed with sha256sum.
func TestEventIDIsStable(t *testing.T) {
	got := EventID(Source("plant-a", "line-3-gw"), EventAlarmRaised, "01ARZ3NDEKTSV4RRFFQ69G5FAV", 1)
	if want := "e95f6774f55cd6ef5da22c065f719b94"; got != want {
		t.Errorf("EventID = %s, want %s", got, want)
	}
}

func TestSequenceIsDecimalWithLeadingZeros(t *testing.T) {
	for n, want := range map[uint64]string{1: "00000000000000000001", 10: "00000000000000000010", math.MaxUint64: "18446744073709551615"} {
		if got := FormatSequence(n); got != want {
			t.Errorf("FormatSequence(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestEveryTypeHasItsStream(t *testing.T) {
	want := map[EventType]Stream{
		EventAlarmRaised: StreamAlarm, EventAlarmCleared: StreamAlarm, EventAlarmAcked: StreamAlarm, EventAlarmShelved: StreamAlarm,
		EventDiagnosisCompleted: StreamDiagnosis, EventDiagnosisSuperseded: StreamDiagnosis, EventJobFailed: StreamDiagnosis,
		EventFeedbackGiven: StreamDiagnosis, EventDeviceStopped: StreamEvent, EventDeviceResumed: StreamEvent,
		EventAgentStarted: StreamEvent, EventGap: StreamEvent,
	}
	for typ, stream := range want {
		if typ.Stream() != stream {
			t.Errorf("%s goes into %s, want %s", typ, typ.Stream(), stream)
		}
	}
}
