package https

import (
	"fmt"
	"syscall"
	"time"
)

// Keep-alive probes are not sent while data waits for its acknowledgement;
// TCP_USER_TIMEOUT is what ends such a connection. The constant is not in
// package syscall for every architecture.
const (
	tcpUserTimeout = 18
	unacknowledged = 10 * time.Second
)

func userTimeout(_, _ string, c syscall.RawConn) error {
	var err error
	if cerr := c.Control(func(fd uintptr) {
		err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(unacknowledged/time.Millisecond))
	}); cerr != nil {
		return fmt.Errorf("set TCP_USER_TIMEOUT: %w", cerr)
	}
	if err != nil {
		return fmt.Errorf("set TCP_USER_TIMEOUT: %w", err)
	}
	return nil
}
