package modbus_test

import (
	"sync"
	"testing"

	"edgeagent/plc/plctest"
	"edgeagent/plc/sim"
)

// knowing is an oracle that can have some faults only.
type knowing struct {
	*sim.Oracle
	kinds []string
}

func (k knowing) Kinds() []string { return k.kinds }

// TestSingleRegisters is the oracle for a plan in which no request has another
// size, and so nothing smaller can be asked for. A device that was stopped for
// long then owes every size that it can be asked for, and all of that is lost
// with the connections: it must be read again as soon as any other.
// All run at once, for most of it is waiting.
func TestSingleRegisters(t *testing.T) {
	var hunting sync.WaitGroup
	for _, how := range transports(t) {
		for _, kinds := range [][]sim.FaultKind{{sim.Freeze}, {sim.Freeze, sim.Silent}, sim.FaultKinds(how.name)} {
			p, o := start(t, how, sim.OracleUnits(1)), plctest.FaultOptions{Values: 250, Quantity: 1, Timeout: how.slower * haste, Pairs: true}
			oracle, link := knowing{sim.NewOracle(p.server, o.Timeout, 1), nil}, p.link(t, o.Timeout)
			for _, k := range kinds {
				oracle.kinds = append(oracle.kinds, string(k))
			}
			hunting.Go(func() {
				n, err := plctest.Hunt(t.Context(), link, oracle, o)
				t.Logf("%s, of kinds %d:\n%v", how.name, len(oracle.kinds), n)
				if err != nil || n.Values < o.Values {
					t.Errorf("%s: %v", how.name, err)
				}
			})
		}
	}
	hunting.Wait()
}
