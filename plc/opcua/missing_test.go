package opcua

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gopcua/opcua/id"
	"github.com/gopcua/opcua/ua"

	"edgeagent"
	"edgeagent/plc"
)

// namespaces tells which namespaces the rig's server has by now.
func (p *rig) namespaces(uris ...string) {
	p.do(func() {
		p.values[ua.NewNumericNodeID(0, id.Server_NamespaceArray).String()] = &ua.DataValue{Value: ua.MustVariant(uris)}
	})
}

// TestANamespaceThatComesLater: servers listen before they have loaded all of
// their address space.
func TestANamespaceThatComesLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newRig()
		p.namespaces(namespaceZero, "urn:plant")
		tag := node("a", edgeagent.TypeInt16)
		tag.Node = "nsu=urn:late;s=a"
		r := start(t, p, Options{Tags: []plc.TagSpec{tag}})
		settle(5 * time.Minute)
		if s := r.last("a"); len(r.end) > 0 || s.Reason.Params["code"] != "BadNodeIdInvalid" {
			t.Fatalf("without its namespace: %v %+v", len(r.end), s)
		}
		p.namespaces(namespaceZero, "urn:plant", "urn:late")
		settle(2 * time.Minute)
		if len(r.end) == 0 {
			t.Error("the namespace is there, and its tags stay bad")
			r.stop()
		}
		wants(t, <-r.end, plc.ErrSilent, "namespace")
	})
}

// TestConditionsAreFollowedOnceTheServerHasRoom: it keeps the subscriptions of a
// connection that was cut for a while, and may give no others until then.
func TestConditionsAreFollowedOnceTheServerHasRoom(t *testing.T) {
	for name, full := range map[string]func(p *rig, yes bool){
		"for a subscription": func(p *rig, yes bool) { p.noSubs = yes },
		"for an item": func(p *rig, yes bool) {
			if p.noEvents = 0; yes {
				p.noEvents = ua.StatusBadTooManyMonitoredItems
			}
		},
		"for its source": func(p *rig, yes bool) {
			uris := []string{namespaceZero, "urn:plant", "urn:late"}
			if yes {
				uris = uris[:2]
			}
			p.values[ua.NewNumericNodeID(0, id.Server_NamespaceArray).String()] = &ua.DataValue{Value: ua.MustVariant(uris)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, log := newRig(), &bytes.Buffer{}
				p.refresh = retained(true)
				p.set("ns=1;s=a", int16(1))
				full(p, true)
				o := withEvents(log)
				o.Tags = []plc.TagSpec{node("a", edgeagent.TypeInt16)}
				if name == "for its source" {
					o.Events.Source = "nsu=urn:late;s=alarms"
				}
				r := start(t, p, o)
				settle(5 * time.Minute)
				if len(r.end) > 0 || r.told() != "" {
					t.Fatalf("ended %d, told %q", len(r.end), r.told())
				}
				said := log.String()
				p.do(func() { full(p, false) })
				settle(2 * time.Minute)
				if name == "for its source" { // the rig's sessions have two namespaces
					if len(r.end) == 0 {
						t.Error("the source is there, and its conditions are not followed")
						r.stop()
					}
					wants(t, <-r.end, plc.ErrSilent, "namespaces")
					return
				}
				if got := r.told(); got != "complete[LevelAlarm!]" {
					t.Errorf("the server has room, told is %q", got)
				}
				p.do(func() { p.event(eventOf(told{fieldAcked: true, fieldTime: noon.Add(time.Second)})...) })
				settle(time.Second)
				if got := r.told(); got != "complete[LevelAlarm!] [LevelAlarm+]" {
					t.Errorf("live: %q", got)
				}
				if strings.Count(log.String(), "\n") != strings.Count(said, "\n") {
					t.Errorf("said again: %s", log)
				}
				r.finish(t)
			})
		})
	}
}
