package edgeagent

import "testing"

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
	s := FormatSequence(10)
	if s != "00000000000000000010" {
		t.Fatalf("FormatSequence = %q", s)
	}
	if n, err := ParseSequence(s); err != nil || n != 10 {
		t.Errorf("ParseSequence = %d, %v; want 10 (a leading zero is no octal)", n, err)
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
