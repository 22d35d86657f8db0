package modbus_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"edgeagent"
	"edgeagent/internal/retry"
	"edgeagent/plc"
	"edgeagent/plc/plctest"
	"edgeagent/plc/sim"
)

// ample is a timeout that a busy machine keeps to, so that every failure is
// the fault's.
const ample = 200 * time.Millisecond

// TestScansGetOverEveryFault reads through the whole room above the link, whose
// deadlines bound quiet time, confirmation and request together.
func TestScansGetOverEveryFault(t *testing.T) {
	for _, how := range transports(t) {
		for _, kind := range sim.FaultKinds(how.name) {
			t.Run(fmt.Sprintf("%s/%s", how.name, kind), func(t *testing.T) {
				t.Parallel()
				if err := plctest.Proven(func() error { return scanned(t, how).getOver(t, kind) }); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// getOver plays a fault to two requests.
func (s *scans) getOver(t *testing.T, kind sim.FaultKind) error {
	t.Helper()
	if err := s.healthy(t, "at first"); err != nil {
		return err
	}
	asked, count := s.peer.server.RequestCount(), 2
	if kind == sim.Freeze {
		count = 1
		time.AfterFunc(3*ample, s.peer.server.Resume)
	}
	s.peer.server.Fault(sim.Fault{Kind: kind, Delay: ample + 20*time.Millisecond, Count: count})
	for s.peer.server.RequestCount() < asked+count {
		if _, err := s.next(t); err != nil {
			return err
		}
	}
	s.peer.server.ClearFaults()
	if err := s.healthy(t, "in the end"); err != nil {
		return err
	}
	if got := s.conn.Status()[0]; got.State != edgeagent.DevicePolling {
		return fmt.Errorf("status = %+v, want polling", got)
	}
	return nil
}

// scans are what a connection delivers of two units with 20 tags each.
type scans struct {
	peer  *peer
	inbox *plc.Inbox
	conn  *plc.Connection
}

func scanned(t *testing.T, how transport) *scans {
	t.Helper()
	s := &scans{peer: start(t, how, sim.OracleUnits(2)), inbox: plc.NewInbox()}
	var specs []plc.DeviceSpec
	for unit := range uint8(2) {
		spec := plc.DeviceSpec{
			Name: fmt.Sprint("u", unit+1), Unit: unit + 1, Scan: 10 * time.Millisecond, Timeout: ample, Enabled: true, MaxGap: 16,
			Retry: retry.Backoff{First: 2 * ample, Max: 64 * ample},
		}
		for i := range uint16(20) {
			spec.Tags = append(spec.Tags, word(1000*i))
		}
		specs = append(specs, spec)
	}
	s.conn = plc.NewConnection(s.peer.link(t, ample), specs, plc.Options{Deliver: s.inbox.Put})
	runs(t, s.conn)
	return s
}

// next returns the next scan, after it has held every good sample against the
// oracle.
func (s *scans) next(t *testing.T) (edgeagent.Scan, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 80*ample) // the longest pause, and more
	defer cancel()
	scan, err := s.inbox.Next(ctx)
	if err != nil {
		return scan, fmt.Errorf("no scan: %w: %+v", err, s.conn.Status())
	}
	for _, sample := range scan.Samples {
		var unit uint8
		var a uint16
		if _, err := fmt.Sscanf(scan.Device+sample.Tag, "u%dt%d", &unit, &a); err != nil {
			t.Fatal(err)
		}
		want := edgeagent.Uint(uint64(sim.OracleValue(unit, edgeagent.AreaHolding, a)))
		if sample.Quality == edgeagent.QualityGood && !sample.Value.Equal(want) {
			t.Fatalf("%s.%s = %v with quality good, want %v", scan.Device, sample.Tag, sample.Value, want)
		}
	}
	return scan, nil
}

// healthy waits until both units have delivered a scan without an error.
func (s *scans) healthy(t *testing.T, when string) error {
	t.Helper()
	well := map[string]bool{}
	for range 2000 {
		scan, err := s.next(t)
		if err != nil {
			return fmt.Errorf("%s: %w", when, err)
		}
		if scan.Err != nil {
			clear(well)
		} else if len(scan.Samples) == 20 {
			well[scan.Device] = true
		}
		if len(well) == 2 {
			return nil
		}
	}
	return fmt.Errorf("%s: not healthy after 2000 scans: %+v", when, s.conn.Status())
}
