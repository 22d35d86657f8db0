package sim

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"testing"
)

// FuzzRequest sends any bytes: what is read as a request gets an answer that is
// a whole frame for whoever asked, and only the four reading functions succeed.
func FuzzRequest(f *testing.F) {
	f.Add([]byte{0, 1, 0, 0, 0, 6, 1, 3, 0, 10, 0, 2})
	f.Add([]byte{0, 1, 0, 0, 0, 2, 1, 0x80})
	f.Add([]byte{0, 1, 0, 0, 0, 6, 1, 16, 0, 10, 0, 2})
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	s := &Server{transport: TCP, units: map[uint8]*Device{1: NewDevice()}}
	f.Fuzz(func(t *testing.T, raw []byte) {
		req, err := mbap{}.read(bufio.NewReader(bytes.NewReader(raw)))
		if err != nil {
			return
		}
		s.record(req)
		pdu := s.reply(req)
		answer := mbap{}.answer(req, pdu)
		if len(pdu) < 2 || len(answer) > headerSize+maxLength-1 || int(binary.BigEndian.Uint16(answer[4:])) != len(pdu)+1 {
			t.Fatalf("answer %x to %x", answer, raw)
		}
		if pdu[0]&0x80 == 0 && (pdu[0] < 1 || pdu[0] > 4 || pdu[0] != raw[7]) {
			t.Fatalf("function %d was answered with success %x", raw[7], pdu)
		}
		if short, long := resize(pdu, -1), resize(pdu, +1); pdu[0]&0x80 == 0 && (int(short[1]) != len(short)-2 || len(long) <= len(pdu)) {
			t.Fatalf("resized to %x and %x", short, long)
		}
	})
}
