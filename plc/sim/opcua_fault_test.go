package sim

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/gopcua/opcua"
	"github.com/gopcua/opcua/ua"
)

// read reads one value, for as long as a test's patience.
func read(c *opcua.Client, node string, patience time.Duration) (*ua.DataValue, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	res, err := c.Read(ctx, &ua.ReadRequest{NodesToRead: []*ua.ReadValueID{{NodeID: ua.MustParseNodeID(node), AttributeID: ua.AttributeIDValue}}})
	if err != nil {
		return nil, err
	}
	return res.Results[0], nil
}

const shown = "ns=1;s=Oracle.a"

func TestOPCUAShowsAndDeletes(t *testing.T) {
	s := serveUA(t, plant(t))
	c := uaClient(t, s)
	for _, step := range []struct {
		name string
		do   func() error
		want ua.StatusCode
	}{
		{"not there yet", func() error { return nil }, ua.StatusBadNodeIDUnknown},
		{"shown", func() error { return s.Show(shown, uint32(7), ua.StatusOK) }, ua.StatusOK},
		{"spoilt", func() error { return s.Show(shown, uint32(7), ua.StatusBadSensorFailure) }, ua.StatusBadSensorFailure},
		{"well again", func() error { return s.Show(shown, uint32(7), ua.StatusOK) }, ua.StatusOK},
		{"deleted", func() error { return s.Delete(shown) }, ua.StatusBadNodeIDUnknown},
		{"deleted twice", func() error { return s.Delete(shown) }, ua.StatusBadNodeIDUnknown},
	} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		dv, err := read(c, shown, 5*time.Second)
		if err != nil || dv.Status != step.want || dv.Status == ua.StatusOK && dv.Value.Value() != uint32(7) {
			t.Errorf("%s: %+v, %v; want %v", step.name, dv, err, step.want)
		}
	}
	if err := s.Show("ns=x;i=1", 1, ua.StatusOK); err == nil {
		t.Error("a value was shown nowhere")
	}
	if n := s.Requests()["ReadRequest"]; n < 6 {
		t.Errorf("%d reads counted, want 6 and the library's own", n)
	}
}

// TestOPCUAFaultsAreAsTheySay looks with a client that knows nothing of them, at
// the connection that stood before and at one that is made in it.
func TestOPCUAFaultsAreAsTheySay(t *testing.T) {
	tests := []struct {
		fault           OPCUAFault
		old, fresh      bool // is answered
		oldAfter, halts bool
	}{
		{OPCUAHealthy, true, true, true, false},
		{OPCUAFreeze, false, false, true, false},
		{OPCUAHalfOpen, false, true, false, false},
		{OPCUAMute, true, true, true, false},
		{OPCUASlow, true, true, true, false},
		{OPCUAHalt, true, true, true, true},
	}
	for _, tt := range tests {
		t.Run("fault "+string(tt.fault), func(t *testing.T) {
			t.Parallel()
			s := serveUA(t, plant(t))
			old := uaClient(t, s)
			s.Behave(tt.fault)
			patience := 10 * time.Second
			if !tt.old {
				patience = 300 * time.Millisecond
			}
			dv, err := read(old, "i=2259", patience)
			if (err == nil) != tt.old {
				t.Errorf("on the old connection: %v", err)
			}
			if err == nil && (dv.Value.Value() != int32(0)) != tt.halts {
				t.Errorf("its state is %v", dv.Value.Value())
			}
			if got := connects(s, tt.fresh); got != tt.fresh {
				t.Errorf("a new connection is served: %v", got)
			}
			s.Behave(OPCUAHealthy)
			if _, err := read(old, "i=2259", 10*time.Second); (err == nil) != tt.oldAfter {
				t.Errorf("on the old connection, afterwards: %v", err)
			}
			if !connects(s, true) {
				t.Error("afterwards nobody is served")
			}
		})
	}
}

// connects reports whether a new client gets a session.
func connects(s *OPCUAServer, wanted bool) bool {
	patience := 10 * time.Second
	if !wanted {
		patience = 300 * time.Millisecond
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := opcua.NewClient(s.URL(), opcua.AutoReconnect(false), opcua.RequestTimeout(patience))
	if err != nil || c.Connect(ctx) != nil {
		return false
	}
	return c.Close(ctx) == nil
}

// TestAFrozenOPCUAServerCloses: whoever waits in it does not keep it.
func TestAFrozenOPCUAServerCloses(t *testing.T) {
	s, err := ListenOPCUA("127.0.0.1:0", plant(t))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- s.Run(context.Background()) }()
	c := uaClient(t, s)
	s.Behave(OPCUAFreeze)
	if _, err := read(c, "i=2259", 100*time.Millisecond); err == nil {
		t.Error("a frozen server was read")
	}
	if err := errors.Join(s.Close(), <-done); err != nil {
		t.Error(err)
	}
}
