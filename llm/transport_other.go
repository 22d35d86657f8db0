//go:build !linux

package llm

import "syscall"

// setUserTimeout does nothing where the kernel has no such option: a dead
// connection is found by keep-alive and by HTTP/2 pings there.
func setUserTimeout(_, _ string, _ syscall.RawConn) error { return nil }
