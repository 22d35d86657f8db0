package opcua

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// slowLog is a log whose disk stalls.
type slowLog struct {
	slog.Handler
	on func(string)
}

func (s slowLog) Handle(ctx context.Context, r slog.Record) error {
	s.on(r.Message)
	return s.Handler.Handle(ctx, r)
}

// What was held back is told before anything newer, whatever else takes time:
// an end that comes first would leave the alarm for ever.
func TestAnEndIsNotToldBeforeItsBeginning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, log := newRig(), &bytes.Buffer{}
		p.refresh = retained(false)
		o := withEvents(log)
		o.Log = slog.New(slowLog{slog.NewTextHandler(log, nil), func(m string) {
			if strings.Contains(m, "what ended while") {
				time.Sleep(2 * time.Second) // a journal that stalls
			}
		}})
		go func() {
			time.Sleep(6500 * time.Millisecond)
			p.do(func() {
				p.event(eventOf(told{fieldActive: false, fieldAcked: true, fieldRetain: false, fieldTime: noon.Add(2 * time.Second)})...)
			})
		}()
		r := start(t, p, o)
		settle(9 * time.Second)
		if told := r.told(); !strings.Contains(told, "LevelAlarm") || strings.HasSuffix(told, "[LevelAlarm!]") && strings.Contains(told, "x]") {
			t.Errorf("told %q: the end before the beginning", told)
		}
		r.finish(t)
	})
}
