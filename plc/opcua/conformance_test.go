package opcua_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gopcua/opcua/ua"

	"edgeagent"
	"edgeagent/plc"
	"edgeagent/plc/opcua"
	"edgeagent/plc/plctest"
	"edgeagent/plc/sim"
)

// speaker is the simulated plant's server, with faults.
type speaker struct {
	t     *testing.T
	plant *sim.Plant
	addr  string

	mu      sync.Mutex
	server  *sim.OPCUAServer
	running sync.WaitGroup
	values  map[string]uint32
	lost    map[string]bool // spoilt or deleted
	sent    map[string]int  // to servers that are gone
}

// watchdog is a third of the product's: eight losses of nine seconds would take their time.
const (
	watchdog = time.Second
	patience = 3 * time.Second // with one request
)

func startSpeaker(t *testing.T) *speaker {
	t.Helper()
	plant, err := sim.NewPlant("filler")
	if err != nil {
		t.Fatal(err)
	}
	s := &speaker{t: t, plant: plant, addr: plctest.Address(t), values: map[string]uint32{}, lost: map[string]bool{}, sent: map[string]int{}}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.up()
	t.Cleanup(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.down()
	})
	return s
}

// up and down hold mu.
func (s *speaker) up() {
	server, err := sim.ListenOPCUA(s.addr, s.plant)
	if err != nil {
		s.t.Fatal(err)
	}
	s.server, s.addr = server, server.Addr()
	s.show()
	s.running.Go(func() {
		if err := server.Run(context.Background()); err != nil {
			s.t.Error(err)
		}
	})
}

func (s *speaker) down() {
	if s.server == nil {
		return
	}
	_ = s.server.Close()
	s.running.Wait()
	for name, n := range s.server.Requests() {
		s.sent[name] += n
	}
	s.server = nil
}

func (s *speaker) show() {
	for tag, v := range s.values {
		if !s.lost[tag] {
			s.check(s.server.Show(nodeOf(tag), v, ua.StatusOK))
		}
	}
}

func (s *speaker) check(err error) {
	if err != nil {
		s.t.Error(err)
	}
}

func nodeOf(tag string) string { return "ns=1;s=Oracle." + tag }

var behaviours = map[plctest.Behaviour]sim.OPCUAFault{
	plctest.Healthy: sim.OPCUAHealthy, plctest.Frozen: sim.OPCUAFreeze, plctest.HalfOpen: sim.OPCUAHalfOpen,
	plctest.Flapping: sim.OPCUAFlap, plctest.Mute: sim.OPCUAMute, plctest.Slow: sim.OPCUASlow,
	plctest.Halted: sim.OPCUAHalt, plctest.Losing: sim.OPCUALose, plctest.Ending: sim.OPCUAEnd,
}

func (s *speaker) Behave(b plctest.Behaviour) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch b {
	case plctest.Gone:
		s.down()
		return true
	case plctest.HangingUp:
		s.server.Disconnect()
		return true
	default:
	}
	if s.server == nil {
		s.up()
	}
	fault, known := behaviours[b]
	s.server.Behave(fault)
	return known
}

func (s *speaker) Tags() []plc.TagSpec {
	var tags []plc.TagSpec
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		tags = append(tags, plc.TagSpec{Tag: edgeagent.Tag{Name: name, Type: edgeagent.TypeUint32}, Node: nodeOf(name), Scan: 200 * time.Millisecond})
	}
	return tags
}

func (s *speaker) Say(value func(tag string) uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.Tags() {
		s.values[t.Name] = value(t.Name)
	}
	if s.server != nil {
		s.show()
	}
}

func (s *speaker) Spoil(tag string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost[tag] = true
	s.check(s.server.Show(nodeOf(tag), uint32(0), ua.StatusBadSensorFailure))
}

func (s *speaker) Delete(tag string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost[tag] = true
	s.check(s.server.Delete(nodeOf(tag)))
}

// readings are the requests of who only reads.
var readings = []string{
	"GetEndpointsRequest", "CreateSessionRequest", "ActivateSessionRequest", "CloseSessionRequest",
	"ReadRequest", "CreateSubscriptionRequest", "CreateMonitoredItemsRequest", "PublishRequest",
}

func (s *speaker) Foreign() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	sent := maps.Clone(s.sent)
	if s.server != nil {
		maps.Copy(sent, s.server.Requests())
	}
	maps.DeleteFunc(sent, func(name string, _ int) bool { return slices.Contains(readings, name) })
	return slices.Sorted(maps.Keys(sent))
}

func listener(s *speaker) *opcua.Client {
	return opcua.New(opcua.Options{Endpoint: "opc.tcp://" + s.addr, Timeout: patience, Watchdog: watchdog, Tags: s.Tags()})
}

// TestSubscriber holds the client to what is true of every subscriber.
func TestSubscriber(t *testing.T) {
	plctest.RunSubscriber(t, func(t *testing.T) (plc.Subscriber, plctest.Speaker) {
		s := startSpeaker(t)
		return listener(s), s
	}, plctest.SubscriberOptions{Timeout: patience, Step: 200 * time.Millisecond})
}

// writer sends what no reader sends.
type writer struct {
	*opcua.Client
	s *speaker
}

func (w writer) Episode(ctx context.Context, tell func(plc.Heard)) error {
	w.s.mu.Lock()
	w.s.sent["WriteRequest"]++
	w.s.mu.Unlock()
	return w.Client.Episode(ctx, tell)
}

// blind is the client, made careless: what the suite is told of it must be found
// over a socket, too, and not only where nothing takes any time.
type blind struct {
	plc.Subscriber
	change func(plc.Heard) (plc.Heard, bool)
}

func (b blind) Episode(ctx context.Context, tell func(plc.Heard)) error {
	return b.Subscriber.Episode(ctx, func(h plc.Heard) {
		if h, told := b.change(h); told {
			tell(h)
		}
	})
}

func TestTheSuiteFindsACarelessClient(t *testing.T) {
	tests := []struct {
		name, by, says string
		wrong          func(*speaker) plc.Subscriber
	}{
		{"says nothing of what is lost", "what the server lost", "the gap is told", func(s *speaker) plc.Subscriber {
			return blind{listener(s), func(h plc.Heard) (plc.Heard, bool) { h.Gap = false; return h, true }}
		}},
		{"takes bad for good", "a bad status", "is bad", func(s *speaker) plc.Subscriber {
			return blind{listener(s), func(h plc.Heard) (plc.Heard, bool) {
				for i := range h.Samples {
					h.Samples[i].Quality = edgeagent.QualityGood
				}
				return h, true
			}}
		}},
		{"takes one tag for another", "every change", "wrong value", func(s *speaker) plc.Subscriber {
			return blind{listener(s), func(h plc.Heard) (plc.Heard, bool) {
				for i := range h.Samples {
					h.Samples[i].Tag = map[string]string{"a": "b", "b": "a", "c": "c", "d": "d", "e": "e"}[h.Samples[i].Tag]
				}
				return h, true
			}}
		}},
		{"drops what changes back", "every change", "is missing", func(s *speaker) plc.Subscriber {
			changes := 0
			return blind{listener(s), func(h plc.Heard) (plc.Heard, bool) {
				if len(h.Samples) > 0 && !h.Up {
					changes++
				}
				return h, changes != 4 // neither the first round nor the last
			}}
		}},
		{"writes", "every change", "WriteRequest", func(s *speaker) plc.Subscriber { return writer{listener(s), s} }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			i := slices.IndexFunc(plctest.SubscriberChecks(), func(c plctest.SubscriberCheck) bool { return strings.HasPrefix(c.Name, tt.by) })
			o := plctest.SubscriberOptions{Timeout: patience, Step: 200 * time.Millisecond, Notice: 3 * time.Second}
			err := plctest.Proven(func() error {
				s := startSpeaker(t)
				err := plctest.SubscriberChecks()[i].Run(t.Context(), tt.wrong(s), s, o)
				if err == nil || !strings.Contains(err.Error(), tt.says) {
					return fmt.Errorf("found %w, want %q", err, tt.says)
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}
