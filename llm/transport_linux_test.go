package llm_test

import (
	"net"
	"syscall"
	"testing"

	"edgeagent/llm"
)

// The kernel must be told all three: how long sent data may stay without an
// acknowledgement, and how an idle connection is watched.
func TestSocketOptions(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	transport, err := llm.NewLine(llm.TransportOptions{}).Transport()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := transport.DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	const userTimeout = 18
	for _, tt := range []struct {
		name         string
		option, want int
	}{
		{"TCP_USER_TIMEOUT", userTimeout, 10_000},
		{"TCP_KEEPIDLE", syscall.TCP_KEEPIDLE, 5},
		{"TCP_KEEPINTVL", syscall.TCP_KEEPINTVL, 2},
		{"TCP_KEEPCNT", syscall.TCP_KEEPCNT, 3},
	} {
		var got int
		var optErr error
		if err := raw.Control(func(fd uintptr) { got, optErr = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, tt.option) }); err != nil || optErr != nil {
			t.Fatalf("%s: %v %v", tt.name, err, optErr)
		}
		if got != tt.want {
			t.Errorf("%s = %d, want %d", tt.name, got, tt.want)
		}
	}
}
