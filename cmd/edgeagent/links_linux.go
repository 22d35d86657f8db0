package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// Multicast groups of rtnetlink: links, and addresses and routes of IPv4 and
// IPv6.
const linkGroups = 0x1 | 0x10 | 0x40 | 0x100 | 0x400

// watchLinks calls changed when a link, an address or a route changes. It only
// brings probes forward: a black hole shows no event at all, so nobody may
// rest on it. Where netlink is forbidden it waits in silence.
func watchLinks(ctx context.Context, changed func()) error {
	fd, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, syscall.NETLINK_ROUTE)
	if err != nil {
		<-ctx.Done()
		return nil
	}
	f := os.NewFile(uintptr(fd), "netlink")
	defer f.Close()
	if err := syscall.Bind(fd, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK, Groups: linkGroups}); err != nil {
		return fmt.Errorf("watch the links: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = f.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	buf := make([]byte, 16<<10)
	for ctx.Err() == nil {
		// ENOBUFS says that events were lost, which is an event too.
		if _, err := f.Read(buf); err != nil && !errors.Is(err, syscall.ENOBUFS) {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("watch the links: %w", err)
		}
		changed()
	}
	return nil
}
