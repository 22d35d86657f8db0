//go:build !linux

package modbus

import (
	"syscall"
	"time"
)

// limitUnacknowledged has no equal elsewhere; the deadline of each request
// finds a dead peer all the same.
func limitUnacknowledged(time.Duration) func(network, address string, c syscall.RawConn) error {
	return nil
}
