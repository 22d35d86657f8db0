package llm

import "syscall"

// tcpUserTimeout is TCP_USER_TIMEOUT, which package syscall does not name: how
// long sent data may stay without an acknowledgement. Keep-alive probes are
// not sent while there is such data, so that they alone never end a black hole.
const tcpUserTimeout = 18

func setUserTimeout(_, _ string, c syscall.RawConn) error {
	// An old kernel without the option is no reason not to connect.
	return c.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(userTimeout.Milliseconds()))
	})
}
