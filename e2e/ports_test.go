package e2e

import (
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// ports are those that were given away, one after the other.
var ports struct {
	sync.Mutex
	next int
}

// freePort returns a port of its own that nobody listens on. It lies below those
// that the kernel gives to connections: while a peer is down, none of them can
// take the port to which it comes back.
func freePort(t *testing.T) string {
	t.Helper()
	ports.Lock()
	defer ports.Unlock()
	const from, many = 16_000, 10_000
	if ports.next == 0 {
		ports.next = 100 * (os.Getpid() % 100) // two runs at a time begin apart
	}
	first := min(from, firstOfConnections()-many)
	for range many {
		port := strconv.Itoa(first + ports.next%many)
		ports.next++
		if l, err := net.Listen("tcp", "127.0.0.1:"+port); err == nil {
			l.Close()
			return port
		}
	}
	t.Fatalf("none of %d ports from %d is free", many, first)
	return ""
}

// firstOfConnections is the lowest port that the kernel gives to a connection.
func firstOfConnections() int {
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if fields := strings.Fields(string(text)); err == nil && len(fields) == 2 {
		if n, err := strconv.Atoi(fields[0]); err == nil && n > 12_000 {
			return n
		}
	}
	return 32_768
}
