//go:build unix

package opcua

import (
	"net"
	"syscall"
)

// writeAtOnce writes what the connection takes without waiting and returns how
// many bytes those are. Of an error the next write tells.
func writeAtOnce(conn net.Conn, b []byte) (n int) {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return 0
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Write(func(fd uintptr) bool {
		n, _ = syscall.Write(int(fd), b)
		return true
	})
	return max(n, 0)
}
