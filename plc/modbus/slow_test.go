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
	if s := scattered(t, l, 40); s.State != edgeagent.DevicePolling || s.Tags.Good != 40 || s.Errors > 0 {
		t.Errorf("answers after %v: %+v, want polling with 40 good tags and no error", delay, s)
	}
}

// scattered scans single registers, a hundred apart, for twenty minutes.
func scattered(t *testing.T, l *Link, registers int) edgeagent.DeviceStatus {
	t.Helper()
	spec := plc.DeviceSpec{
		Name: "d", Unit: 1, Scan: 30 * time.Second, Timeout: patience, Enabled: true, ResumeEvery: 5 * time.Minute,
	}
	for i := range registers {
		spec.Tags = append(spec.Tags, plc.TagSpec{
			Tag:  edgeagent.Tag{Name: fmt.Sprint("t", i), Type: edgeagent.TypeUint16},
			Addr: edgeagent.Address{Area: edgeagent.AreaHolding, Offset: uint16(i * 100), Bit: -1},
		})
	}
	c := plc.NewConnection(l, []plc.DeviceSpec{spec}, plc.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	if err := c.Run(ctx); err != nil {
		t.Error(err)
	}
	return c.Status()[0]
}

// TestGatewayThatSpeaksForASilentDevice: the device answers nothing but what is
// read, and for all else the gateway says that it has not answered. That is no
// answer of the device to confirm it by.
func TestGatewayThatSpeaksForASilentDevice(t *testing.T) {
	for _, registers := range []int{1, 2, 16, 17, 40} {
		synctest.Test(t, func(t *testing.T) {
			l, end := onPipe(func(_ int, request []byte, to io.Writer) {
				if a := int(request[2])<<8 | int(request[3]); request[1] == 3 && request[5] == 1 && a%100 == 0 {
					_, _ = to.Write(rtuTruth(request))
					return
				}
				time.Sleep(patience / 20)
				_, _ = to.Write(rtu(request[0], request[1]|exception, 11))
			})
			defer end()
			if s := scattered(t, l, registers); s.State != edgeagent.DevicePolling || s.Tags.Good != registers {
				t.Errorf("%d registers: %+v, want all good", registers, s)
			}
		})
	}
}
