package opcua

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gopcua/opcua/id"
	"github.com/gopcua/opcua/ua"

	"edgeagent"
	"edgeagent/plc"
)

// withEvents are the options of a device whose conditions are followed.
func withEvents(log *bytes.Buffer) Options {
	return Options{Events: testEvents(), Log: slog.New(slog.NewTextHandler(log, nil))}
}

// retained makes a refresh tell one alarm, or leave its end out.
func retained(end bool) func(*rig) ua.StatusCode {
	return func(p *rig) ua.StatusCode {
		p.event(system(id.RefreshStartEventType)...)
		p.event(eventOf(told{})...)
		if end {
			p.event(system(id.RefreshEndEventType)...)
		}
		return ua.StatusOK
	}
}

func (r *running) told() string { return written(r.sets()) }

func TestConditionsAreRefreshedAndFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, log := newRig(), &bytes.Buffer{}
		p.set("ns=1;s=a", int16(1))
		p.refresh = retained(true)
		o := withEvents(log)
		o.Tags = []plc.TagSpec{node("a", edgeagent.TypeInt16)}
		r := start(t, p, o)
		settle(time.Second)
		if got := r.told(); got != "complete[LevelAlarm!]" {
			t.Fatalf("after connecting: %q", got)
		}
		p.do(func() { p.event(eventOf(told{fieldAcked: true, fieldTime: noon.Add(time.Second)})...) })
		settle(time.Second)
		p.do(func() {
			p.event(eventOf(told{fieldActive: false, fieldAcked: true, fieldRetain: false, fieldTime: noon.Add(2 * time.Second)})...)
			p.event(eventOf(told{fieldConditionID: ua.NewStringNodeID(1, "b")})...)
		})
		settle(time.Second)
		if got := r.told(); got != "complete[LevelAlarm!] [LevelAlarm+] [LevelAlarmx b!]" {
			t.Errorf("live: %q", got)
		}
		p.do(func() { p.event(system(id.RefreshRequiredEventType)...) })
		settle(time.Minute)
		if got := r.told(); !strings.HasSuffix(got, "b!] complete[LevelAlarm!]") {
			t.Errorf("refreshed on demand: %q", got)
		}
		if s := log.String(); s != "" {
			t.Errorf("said in health: %s", s)
		}
		r.finish(t)
	})
}

func TestAServerThatWantsRefreshesAllTheTimeGetsSome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, log, calls := newRig(), &bytes.Buffer{}, 0
		p.refresh = func(p *rig) ua.StatusCode {
			calls++
			p.event(system(id.RefreshStartEventType)...)
			p.event(system(id.RefreshEndEventType)...)
			p.event(system(id.RefreshRequiredEventType)...)
			return ua.StatusOK
		}
		r := start(t, p, withEvents(log))
		settle(time.Minute)
		r.finish(t)
		if calls < 3 || calls > 7 {
			t.Errorf("%d refreshes in a minute", calls)
		}
	})
}

func TestARefreshWithoutAnEndClosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, log := newRig(), &bytes.Buffer{}
		p.refresh = retained(false)
		r := start(t, p, withEvents(log))
		settle(20 * time.Second)
		if got := r.told(); got != "[LevelAlarm!]" {
			t.Errorf("told %q", got)
		}
		if !strings.Contains(log.String(), "did not end within") {
			t.Errorf("not said: %s", log)
		}
		r.finish(t)
	})
}

// TestARefreshThatIsCutIsToldAsFarAsItCame: the server may be away for long.
func TestARefreshThatIsCutIsToldAsFarAsItCame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, log := newRig(), &bytes.Buffer{}
		p.refresh = retained(false)
		r := start(t, p, withEvents(log))
		settle(time.Second)
		if got := r.told(); got != "" {
			t.Errorf("amid the refresh: %q", got)
		}
		close(p.dead)
		<-r.end
		if got := r.told(); got != "[LevelAlarm!]" {
			t.Errorf("told %q", got)
		}
	})
}

// TestALateRefreshThatIsAskedForAgainIsToldAsFarAsItCame: it began long after it
// was given up, and the server's queue is too short for it.
func TestALateRefreshThatIsAskedForAgainIsToldAsFarAsItCame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, log := newRig(), &bytes.Buffer{}
		p.refresh = func(*rig) ua.StatusCode { return ua.StatusOK }
		r := start(t, p, withEvents(log))
		settle(15 * time.Second)
		p.do(func() {
			p.event(system(id.RefreshStartEventType)...)
			p.event(eventOf(told{})...)
			p.event(system(id.EventQueueOverflowEventType)...)
		})
		settle(time.Minute)
		if got := r.told(); got != "[LevelAlarm!]" {
			t.Errorf("told %q", got)
		}
		r.finish(t)
	})
}

func TestLostEventsAreAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, log := newRig(), &bytes.Buffer{}
		p.refresh = retained(true)
		r := start(t, p, withEvents(log))
		settle(20 * time.Second)
		r.forget()
		p.do(func() {
			for _, s := range p.subs {
				s.skip = 1
			}
			p.event(eventOf(told{fieldConditionID: ua.NewStringNodeID(1, "b")})...)
		})
		settle(20 * time.Second)
		if got := r.told(); got != "[b!] complete[LevelAlarm!]" && got != "complete[LevelAlarm! b!]" {
			t.Errorf("told %q", got)
		}
		if n := r.count(func(h plc.Heard) bool { return h.Gap }); n != 1 {
			t.Errorf("%d gaps", n)
		}
		r.finish(t)
	})
}

func TestAServerWithoutConditionsIsReadAllTheSame(t *testing.T) {
	cases := []struct {
		name string
		plan func(*rig)
		says string
	}{
		{"no ConditionRefresh", func(p *rig) { p.refresh = nil }, "BadMethodInvalid"},
		{"no events", func(p *rig) { p.noEvents = ua.StatusBadAttributeIDInvalid }, "BadAttributeIdInvalid"},
		{"no subscription", func(p *rig) { p.noSubs = true }, "BadServiceUnsupported"},
		{"a source that is not there", func(*rig) {}, "source cannot be resolved"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, log := newRig(), &bytes.Buffer{}
				p.refresh = retained(true)
				c.plan(p)
				p.set("ns=1;s=a", int16(1))
				o := withEvents(log)
				o.Tags = []plc.TagSpec{node("a", edgeagent.TypeInt16)}
				if strings.HasPrefix(c.says, "source") {
					o.Events.Source = "nsu=urn:elsewhere;s=x"
				}
				client := New(o)
				client.connect = p.client
				for range 3 {
					r := startClient(t, client)
					settle(time.Minute)
					if s := r.last("a"); s.Quality != edgeagent.QualityGood || len(r.end) > 0 {
						t.Fatalf("a is %s %v", s.Quality, s.Reason)
					}
					r.finish(t)
				}
				lines := strings.Split(strings.TrimSpace(log.String()), "\n")
				seen := make(map[string]bool)
				for _, l := range lines {
					_, l, _ = strings.Cut(l, "level=")
					if seen[l] {
						t.Errorf("said again: %s", l)
					}
					seen[l] = true
				}
				if !strings.Contains(log.String(), c.says) {
					t.Errorf("not said: %s", log)
				}
			})
		})
	}
}

func TestAServerThatFiltersBadlyIsFilteredHere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, log := newRig(), &bytes.Buffer{}
		p.noWhere, p.refresh = true, retained(true)
		r := start(t, p, withEvents(log))
		settle(time.Second)
		p.do(func() {
			p.event(eventOf(told{fieldConditionID: nil, fieldConditionName: nil})...) // an audit event
			p.event(eventOf(told{fieldConditionID: ua.NewStringNodeID(1, "mild"), fieldSeverity: uint16(10)})...)
		})
		settle(time.Second)
		if got := r.told(); got != "complete[LevelAlarm!]" {
			t.Errorf("told %q", got)
		}
		r.finish(t)
	})
}
