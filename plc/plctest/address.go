package plctest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// Address returns a TCP address of this machine at which nobody listens, for a
// peer that comes, goes and comes back. Its port is below those that systems hand
// out by themselves: nobody is given it by chance while the peer is gone.
func Address(t testing.TB) string {
	t.Helper()
	var err error
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(12000))
		var l net.Listener
		if l, err = (&net.ListenConfig{}).Listen(t.Context(), "tcp", addr); err == nil {
			_ = l.Close()
			return addr
		}
	}
	t.Fatal(err)
	return ""
}
