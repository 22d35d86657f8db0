//go:build !linux

package modbus

import "errors"

func openPort(string, Serial) (stream, error) {
	return nil, errors.New("serial ports are read on Linux only")
}
