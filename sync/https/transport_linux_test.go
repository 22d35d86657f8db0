package https

import (
	"io"
	"maps"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestSilenceIsNoticed(t *testing.T) {
	tr := transport(nil)
	if tr.HTTP2.SendPingTimeout != 5*time.Second || tr.HTTP2.PingTimeout != 3*time.Second || !tr.ForceAttemptHTTP2 {
		t.Errorf("HTTP/2 pings = %+v", tr.HTTP2)
	}
	c, err := tr.DialContext(t.Context(), "tcp", strings.TrimPrefix(raw(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	rc, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	if err := rc.Control(func(fd uintptr) {
		for name, opt := range map[string]int{"user timeout": 18, "idle": syscall.TCP_KEEPIDLE, "interval": syscall.TCP_KEEPINTVL, "count": syscall.TCP_KEEPCNT} {
			got[name], _ = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, opt)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if want := map[string]int{"user timeout": 10_000, "idle": 5, "interval": 2, "count": 3}; !maps.Equal(got, want) {
		t.Errorf("socket options = %v, want %v", got, want)
	}
}
