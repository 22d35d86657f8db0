//go:build !unix

package modbus

// readNow reads what has come already and hardly waits.
func readNow(s stream, b []byte) (int, error) { return readSoon(s, b) }
