package opcua

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gopcua/opcua/ua"

	"edgeagent/plc"
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

// TestConditionsKeepTheirOrder: a refresh may be refused or given up while a
// notification is read; what it held must not overtake what stands before it.
func TestConditionsKeepTheirOrder(t *testing.T) {
	events := testEvents()
	e := newEpisode(New(Options{Events: events}), &client{})
	var last time.Time
	e.tell = func(h plc.Heard) {
		for _, set := range h.Conditions {
			for _, c := range set.Conditions {
				if c.At.Before(last) {
					t.Errorf("%v is told after %v", c.At, last)
				}
				last = c.At
			}
		}
	}
	s := &subscription{id: 1, next: 1, pause: time.Hour, heard: time.Now()}
	e.subs = []*subscription{s}
	e.events.Store(s)
	e.c.conditions.reconnected(plantSpaces)
	read, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-read:
				return
			default:
			}
			e.mu.Lock()
			e.c.conditions.begin(time.Now())
			e.mu.Unlock()
			e.tellHeld()
		}
	}()
	for n := range uint32(20) {
		list := &ua.EventNotificationList{}
		for i := range 500 {
			list.Events = append(list.Events, &ua.EventFieldList{ClientHandle: eventsHandle, EventFields: eventOf(told{
				fieldTime: noon.Add(time.Duration(500*int(n)+i) * time.Second), fieldActive: i%2 == 0,
			})})
		}
		message := &ua.NotificationMessage{SequenceNumber: n + 1, NotificationData: []*ua.ExtensionObject{ua.NewExtensionObject(list)}}
		if _, err := e.take(&ua.PublishResponse{SubscriptionID: 1, NotificationMessage: message}, time.Now()); err != nil {
			t.Fatal(err)
		}
		if t.Failed() {
			break
		}
	}
	close(read)
	<-ended
}
