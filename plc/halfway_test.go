package plc

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
)

// TestWhatWasReadBeforeAFailureIsSeenByALateReader: the marks that follow are
// told at once after it, before any reader can have taken it.
func TestWhatWasReadBeforeAFailureIsSeenByALateReader(t *testing.T) {
	measurement := word("level", 100)
	measurement.Scale = 0.1
	for name, tag := range map[string]TagSpec{"a word": word("level", 100), "a measurement": measurement} {
		synctest.Test(t, func(t *testing.T) {
			spec := filler()
			spec.Tags = []TagSpec{tag, word("far", 5000)}
			f := &fakeDriver{answer: func(_ uint8, r Request) error {
				if r.Offset == 5000 {
					return errDead
				}
				return nil
			}}
			r, in := run(t, f, nil, spec), NewInbox()
			r.until(500 * time.Millisecond)
			for _, s := range r.takeScans() {
				in.Put(s)
			}
			first, err := in.Next(t.Context())
			if err != nil || first.Samples[0].Quality != edgeagent.QualityGood {
				t.Fatalf("%s: first %+v, %v; want the value that was read", name, first.Samples, err)
			}
			last, err := in.Next(t.Context())
			if err != nil || last.Samples[0].Quality != edgeagent.QualityUncertain {
				t.Errorf("%s: then %+v, %v; want it marked", name, last.Samples, err)
			}
		})
	}
}

// TestProbeThatIsAnsweredWithAFaultIsNoAnswer: a stopped device that says
// nothing but that it has failed has not come back, and its alarm stands.
func TestProbeThatIsAnsweredWithAFaultIsNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec := filler()
		spec.ResumeEvery = 5 * time.Minute
		r := run(t, &fakeDriver{answer: refusing(4, 100)}, nil, spec)
		r.until(time.Hour)
		if got := r.events("filler"); !slices.Equal(got, []edgeagent.DeviceEventKind{edgeagent.DeviceEventStopped}) {
			t.Errorf("events = %v, want one stop", got)
		}
		if s := r.status("filler"); s.State != edgeagent.DeviceStopped || s.LastOKAt != nil {
			t.Errorf("status = %+v, want stopped and never ok", s)
		}
		r.driver.set(nil)
		r.until(time.Hour + 5*time.Minute)
		if s := r.status("filler"); s.State != edgeagent.DevicePolling || s.Tags.Good != 1 {
			t.Errorf("status = %+v, want polling with a good tag", s)
		}
	})
}
