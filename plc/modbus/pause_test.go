package modbus

import (
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"
)

// TestPauseBeforeEveryRequest is a gateway that drops what comes too soon after
// its last answer. A confirmation is a request as any other: without a pause
// behind it the read that it is for would be lost each time.
func TestPauseBeforeEveryRequest(t *testing.T) {
	for _, pause := range []time.Duration{50 * time.Millisecond, 2 * patience} {
		synctest.Test(t, func(t *testing.T) { pauses(t, pause) })
	}
}

func pauses(t *testing.T, pause time.Duration) {
	var answered time.Time
	dropped := 0
	l, end := onPipe(func(_ int, request []byte, to io.Writer) {
		if !answered.IsZero() && time.Since(answered) < pause {
			dropped++
			return
		}
		_, _ = to.Write(rtuTruth(request))
		answered = time.Now()
	})
	defer end()
	l.o.Pause = pause
	for a := range uint16(40) {
		ctx, cancel := context.WithTimeout(t.Context(), patience+2*pause)
		_, err := l.Read(ctx, 1, holding(a*100, 10))
		cancel()
		if err != nil {
			t.Errorf("read %d: %v", a, err)
		}
	}
	if dropped > 0 {
		t.Errorf("%d requests came within the pause of %v", dropped, pause)
	}
}
