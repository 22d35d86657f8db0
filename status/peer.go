package status

import (
	"context"
	"net"
	"net/http"
	"os/user"
	"strconv"
)

type peerKey struct{}

// withPeer notes who opened a connection of the Unix socket.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	if capped, ok := c.(*cappedConn); ok {
		c = capped.Conn
	}
	return context.WithValue(ctx, peerKey{}, peerName(c))
}

// actor returns the name of who asks; false for a request that came over TCP.
func actor(r *http.Request) (string, bool) {
	name, ok := r.Context().Value(peerKey{}).(string)
	return name, ok
}

// userName returns the account's name, or its number where the machine has no
// name for it, as in a container.
func userName(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil && u.Username != "" {
		return u.Username
	}
	return "uid " + id
}
