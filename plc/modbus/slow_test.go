package modbus

import (
	"context"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
	"edgeagent/plc"
)

// TestSlowDeviceWithManyEqualRequests takes a good part of the timeout for each
// answer, and more requests of one size follow each other than are sent without
// a confirmation: those behind it must be read, too.
func TestSlowDeviceWithManyEqualRequests(t *testing.T) {
	for _, share := range []float64{0.3, 0.4, 0.7} {
		synctest.Test(t, func(t *testing.T) { slowly(t, time.Duration(share*float64(patience))) })
	}
}

func slowly(t *testing.T, delay time.Duration) {
	l, end := onPipe(func(_ int, request []byte, to io.Writer) {
		time.Sleep(delay)
		_, _ = to.Write(rtuTruth(request))
	})
	defer end()
	spec := plc.DeviceSpec{Name: "d", Unit: 1, Scan: 30 * time.Second, Timeout: patience, Enabled: true}
	for i := range 40 {
		spec.Tags = append(spec.Tags, plc.TagSpec{
			Tag:  edgeagent.Tag{Name: fmt.Sprint("t", i), Type: edgeagent.TypeUint16},
			Addr: edgeagent.Address{Area: edgeagent.AreaHolding, Offset: uint16(i * 100), Bit: -1},
		})
	}
	c := plc.NewConnection(l, []plc.DeviceSpec{spec}, plc.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	if err := c.Run(ctx); err != nil {
		t.Error(err)
	}
	if s := c.Status()[0]; s.State != edgeagent.DevicePolling || s.Tags.Good != 40 || s.Errors > 0 {
		t.Errorf("answers after %v: %+v, want polling with 40 good tags and no error", delay, s)
	}
}
