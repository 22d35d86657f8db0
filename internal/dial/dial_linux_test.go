package dial

import (
	"context"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func socketOptions(t *testing.T, dial func(ctx context.Context, network, addr string) (net.Conn, error)) map[string]int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		if c, err := l.Accept(); err == nil {
			_, _ = io.Copy(io.Discard, c)
			c.Close()
		}
	}()
	c, err := dial(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	rc, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	options := map[string]int{"user timeout": tcpUserTimeout, "idle": syscall.TCP_KEEPIDLE, "interval": syscall.TCP_KEEPINTVL, "count": syscall.TCP_KEEPCNT}
	if err := rc.Control(func(fd uintptr) {
		for name, opt := range options {
			got[name], _ = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, opt)
		}
	}); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestSilenceIsNoticed(t *testing.T) {
	tr := Transport(nil)
	if tr.HTTP2.SendPingTimeout != 5*time.Second || tr.HTTP2.PingTimeout != 3*time.Second || !tr.ForceAttemptHTTP2 {
		t.Errorf("HTTP/2 pings = %+v", tr.HTTP2)
	}
	want := map[string]int{"user timeout": 10_000, "idle": 5, "interval": 2, "count": 3}
	if got := socketOptions(t, tr.DialContext); !maps.Equal(got, want) {
		t.Errorf("socket options = %v, want %v", got, want)
	}
	d := Dialer(10*time.Second, 5*time.Second, 30*time.Second)
	want = map[string]int{"user timeout": 30_000, "idle": 10, "interval": 5, "count": 3}
	if got := socketOptions(t, d.DialContext); !maps.Equal(got, want) {
		t.Errorf("socket options = %v, want %v", got, want)
	}
}

func TestAuthorities(t *testing.T) {
	garbage := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(garbage, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{garbage, filepath.Join(t.TempDir(), "absent.pem")} {
		if _, err := TLS(file); err == nil || !strings.Contains(err.Error(), "ca_file") {
			t.Errorf("TLS(%s) = %v, want an error that names ca_file", filepath.Base(file), err)
		}
	}
	if conf, err := TLS(""); err != nil || conf.RootCAs != nil {
		t.Errorf("TLS(\"\") = %v, %v; want the system's authorities", conf, err)
	}
}
