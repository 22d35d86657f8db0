package modbus

import (
	"net"
	"time"
)

// dialer notices a peer that is gone without a word: keep-alives while nothing
// is asked, and a limit to what stays unacknowledged while something is.
func dialer(timeout time.Duration) *net.Dialer {
	return &net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3},
		Control:         limitUnacknowledged(max(timeout, 10*time.Second)),
	}
}
