package modbus_test

import (
	"testing"
	"time"

	"edgeagent/plc/plctest"
	"edgeagent/plc/sim"
)

// knowing is an oracle that can have some faults only.
type knowing struct {
	*sim.Oracle
	kinds []string
}

func (k knowing) Kinds() []string { return k.kinds }

// TestSingleRegistersAfterAFreeze has a device stop for so long that every size
// it could be asked for is owed, and all that it was asked is lost with the
// connections. It must be read again as soon as any other.
func TestSingleRegistersAfterAFreeze(t *testing.T) {
	for _, how := range transports(t) {
		if !how.name.Serial() {
			continue
		}
		t.Run(string(how.name), func(t *testing.T) {
			t.Parallel()
			p := start(t, how, sim.OracleUnits(1))
			oracle := knowing{sim.NewOracle(p.server, haste, 1), []string{string(sim.Freeze)}}
			begin := time.Now()
			n, err := plctest.Hunt(t.Context(), p.link(t, haste), oracle, plctest.FaultOptions{Values: 100, Quantity: 1, Timeout: haste, Pairs: true})
			t.Logf("%v\n%v", time.Since(begin), n)
			if err != nil {
				t.Error(err)
			}
		})
	}
}
