package status

import (
	"net"
	"syscall"
)

// peerName asks the kernel who is at the other end of a Unix socket.
func peerName(c net.Conn) string {
	unix, ok := c.(*net.UnixConn)
	if !ok {
		return "unknown"
	}
	raw, err := unix.SyscallConn()
	if err != nil {
		return "unknown"
	}
	name := "unknown"
	err = raw.Control(func(fd uintptr) {
		if cred, err := syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED); err == nil {
			name = userName(cred.Uid)
		}
	})
	if err != nil {
		return "unknown"
	}
	return name
}

// tcpUserTimeout is TCP_USER_TIMEOUT, which package syscall does not name.
const tcpUserTimeout = 18

// dropDeadPeers ends a connection whose peer has left without a word: a phone
// out of reach would otherwise hold its event stream for a quarter of an hour,
// because small writes vanish into the socket's buffer without an error.
func dropDeadPeers(c net.Conn) {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return
	}
	// A kernel without the option keeps its own, longer patience.
	_ = raw.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, 15_000)
	})
}
