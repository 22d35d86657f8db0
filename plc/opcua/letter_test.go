package opcua

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gopcua/opcua/ua"

	"edgeagent"
	"edgeagent/plc"
)

func TestATagIsOnceInAMessage(t *testing.T) {
	sample := func(tag string, v edgeagent.Value) edgeagent.Sample { return edgeagent.Sample{Tag: tag, Value: v} }
	bit, level := edgeagent.Bool, edgeagent.Float
	counted := make([]edgeagent.Sample, 1000)
	for i := range counted {
		counted[i] = sample("n", edgeagent.Int(int64(i)))
	}
	cases := []struct {
		name string
		in   []edgeagent.Sample
		want string
	}{
		{"once each", []edgeagent.Sample{sample("a", bit(true)), sample("b", bit(true))}, "a=true b=true"},
		{"a bit that went and came back", []edgeagent.Sample{sample("a", bit(true)), sample("b", bit(true)), sample("a", bit(false)), sample("a", bit(true))},
			"a=true b=true|a=false|a=true"},
		{"of a measurement the last", []edgeagent.Sample{sample("l", level(1)), sample("a", bit(true)), sample("l", level(2))}, "l=2 a=true"},
		{"a measurement that was lost between", []edgeagent.Sample{sample("l", level(1)), sample("l", edgeagent.Value{}), sample("l", level(3))}, "l=1|l=3"},
		{"a server without measure", counted, "n=0|n=1|n=2|n=3|n=4|n=5|n=6|n=7|n=8|n=999"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			l := letter{at: time.Unix(1, 0), samples: c.in, twice: true, gap: true, confirmed: []string{"z"}, sets: make([]edgeagent.ConditionSet, 1)}
			heard := l.messages()
			var told []string
			for i, h := range heard {
				var one []string
				for _, s := range h.Samples {
					one = append(one, fmt.Sprintf("%s=%s", s.Tag, s.Value))
				}
				told = append(told, strings.Join(one, " "))
				last := i == len(heard)-1
				if h.Gap != (i == 0) || (len(h.Confirmed) == 1) != last || (len(h.Conditions) == 1) != last || !h.At.Equal(l.at) {
					t.Errorf("message %d of %d: gap %v, confirmed %v, conditions %v, at %v", i, len(heard), h.Gap, h.Confirmed, h.Conditions, h.At)
				}
			}
			if got := strings.Join(told, "|"); got != c.want {
				t.Errorf("told %s, want %s", got, c.want)
			}
		})
	}
}

// TestABitThatWentAndCameBackWithinOneNotification was an alarm: both changes are told.
func TestABitThatWentAndCameBackWithinOneNotification(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newRig()
		p.set("ns=1;s=bit", false)
		r := start(t, p, Options{Tags: []plc.TagSpec{node("bit", edgeagent.TypeBool)}})
		settle(time.Second)
		r.forget()
		p.do(func() {
			var both []*ua.MonitoredItemNotification
			for _, v := range []bool{true, false} {
				both = append(both, &ua.MonitoredItemNotification{ClientHandle: 1, Value: &ua.DataValue{Value: ua.MustVariant(v)}})
			}
			p.subs[1].add(&ua.DataChangeNotification{MonitoredItems: both})
		})
		settle(time.Second)
		got := r.values("bit")
		if !slices.EqualFunc(got, []bool{true, false}, func(s edgeagent.Sample, v bool) bool { return s.Value.Equal(edgeagent.Bool(v)) }) {
			t.Errorf("told %v", got)
		}
		for _, h := range r.heard {
			if len(h.Samples) > 1 {
				t.Errorf("%d samples of one tag in one message", len(h.Samples))
			}
		}
		r.finish(t)
	})
}

// TestNothingIsHeardOfAServerThatSaysNothing: when it was heard last is where the
// gap begins.
func TestNothingIsHeardOfAServerThatSaysNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newRig()
		p.set("ns=1;s=a", int16(0))
		r := start(t, p, Options{Tags: []plc.TagSpec{node("a", edgeagent.TypeInt16)}})
		settle(58 * time.Second) // an audit falls into the silence
		p.do(func() { p.frozen, p.mute = true, true })
		synctest.Wait()
		r.forget()
		if err := <-r.end; err == nil {
			t.Error("a silent server was believed")
		}
		if n := len(r.heard); n > 0 {
			t.Errorf("heard %d times: %+v", n, r.heard)
		}
	})
}

// TestWhatStandsBeforeTheEndIsTold: a server that ends a subscription may tell its
// last values in the same notification. A bit in it may be the cause of the end.
func TestWhatStandsBeforeTheEndIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newRig()
		p.set("ns=1;s=bit", false)
		r := start(t, p, Options{Tags: []plc.TagSpec{node("bit", edgeagent.TypeBool)}})
		settle(time.Second)
		r.forget()
		p.do(func() {
			p.subs[1].add(&ua.DataChangeNotification{MonitoredItems: []*ua.MonitoredItemNotification{{ClientHandle: 1, Value: &ua.DataValue{Value: ua.MustVariant(true)}}}})
			p.subs[1].add(&ua.StatusChangeNotification{Status: ua.StatusBadShutdown})
		})
		if err := <-r.end; !errors.Is(err, plc.ErrSilent) {
			t.Errorf("ended with %v", err)
		}
		if got := r.values("bit"); len(got) != 1 || !got[0].Value.Equal(edgeagent.Bool(true)) {
			t.Errorf("told %v, want the last value", got)
		}
		if n := r.count(func(h plc.Heard) bool { return len(h.Confirmed) > 0 }); n > 0 {
			t.Errorf("the end confirmed values %d times", n)
		}
	})
}
