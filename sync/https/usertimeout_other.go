//go:build !linux

package https

import "syscall"

// userTimeout sets nothing: the option is Linux's.
func userTimeout(string, string, syscall.RawConn) error { return nil }
