package modbus

import (
	"encoding/binary"
	"time"
)

const (
	checksumSize  = 2
	smallestRTU   = 5 // unit, function, exception or count, checksum
	requestRTU    = 8 // unit, function, address, quantity, checksum
	charBits      = 11
	fastSilence   = 1750 * time.Microsecond // above 19200 baud, and where no baud rate is known
	fastBaud      = 19200
	silenceChars2 = 7 // twice the 3.5 characters that part two frames
)

// crcTable is that of CRC-16/MODBUS, a byte at a time: a scan of noise tries a
// checksum at many places.
var crcTable = func() (table [256]uint16) {
	for i := range table {
		crc := uint16(i)
		for range 8 {
			if crc&1 == 1 {
				crc = crc>>1 ^ 0xa001
			} else {
				crc >>= 1
			}
		}
		table[i] = crc
	}
	return table
}()

// checksum returns the CRC-16 of Modbus; it is sent low byte first.
func checksum(b []byte) uint16 {
	crc := uint16(0xffff)
	for _, c := range b {
		crc = crc>>8 ^ crcTable[byte(crc)^c]
	}
	return crc
}

// summed reports whether a frame ends with its checksum.
func summed(frame []byte) bool {
	end := len(frame) - checksumSize
	return binary.LittleEndian.Uint16(frame[end:]) == checksum(frame[:end])
}

// silence returns what has to be heard between two frames: nothing for 3.5
// characters, or 1.75 ms on fast lines and where the baud rate is a gateway's.
func silence(baud int) time.Duration {
	if baud <= 0 || baud > fastBaud {
		return fastSilence
	}
	return silenceChars2 * charBits * time.Second / time.Duration(2*baud)
}

// wireTime returns how long request and answer take on a line.
func wireTime(baud, data int) time.Duration {
	if baud <= 0 {
		baud = 9600 // what a gateway's line has, if nobody says
	}
	return time.Duration(requestRTU+smallestRTU+data) * charBits * time.Second / time.Duration(baud)
}

// signature is all by which an RTU answer with values can be told from another
// of the same unit: its function and its size. There is nothing else in it.
type signature struct {
	function byte
	size     int // bytes of data; 0 is a refusal
}

// answerAt returns the whole and sound answer that b begins with, nil if there
// is none. An answer to a write has the shape of its request.
func answerAt(b []byte) []byte {
	if len(b) < smallestRTU {
		return nil
	}
	n := requestRTU
	switch function := b[1]; {
	case function&exception != 0:
		n = smallestRTU
	case function >= 1 && function <= 4:
		n = smallestRTU + int(b[2])
	}
	halfRegister := n != requestRTU && b[1]&exception == 0 && b[1] >= 3 && b[2]&1 == 1
	if len(b) < n || halfRegister || !summed(b[:n]) {
		return nil
	}
	return b[:n]
}

// requestAt returns the request to read that b begins with, nil if there is none.
func requestAt(b []byte) []byte {
	if len(b) < requestRTU || b[1] < 1 || b[1] > 4 || !summed(b[:requestRTU]) {
		return nil
	}
	return b[:requestRTU]
}

// signed returns the signature of an answer.
func signed(answer []byte) signature {
	if function := answer[1]; function&exception != 0 {
		return signature{function: function &^ exception}
	}
	return signature{answer[1], int(answer[2])}
}

// wanted returns the signature of the answer to a request.
func wanted(request []byte) signature {
	return signature{request[1], dataSize(request[1], int(binary.BigEndian.Uint16(request[4:])))}
}

// piece is what stands next in the bytes that came.
type piece uint8

const (
	pieceNone    piece = iota // nothing whole any more
	pieceAnswer               // of the unit that was asked
	pieceEcho                 // of our own request: some adapters hear themselves
	pieceRequest              // another master's, to the unit that was asked
	pieceForeign              // another unit's, or another master's to another unit
)

// next returns the first frame in b that is whole and sound, and what follows
// it. Bytes before it are noise. An answer of the right kind that has begun but
// is not whole yet hides what stands in its data.
func next(b, request []byte) (kind piece, frame, rest []byte) {
	for ; len(b) >= smallestRTU; b = b[1:] {
		if len(b) >= requestRTU && [requestRTU]byte(b) == [requestRTU]byte(request) {
			return pieceEcho, b[:requestRTU], b[requestRTU:]
		}
		if a := answerAt(b); a != nil {
			if a[0] != request[0] {
				return pieceForeign, a, b[len(a):]
			}
			return pieceAnswer, a, b[len(a):]
		}
		if r := requestAt(b); r != nil {
			if r[0] != request[0] {
				return pieceForeign, r, b[requestRTU:]
			}
			return pieceRequest, r, b[requestRTU:]
		}
		if want := wanted(request); b[0] == request[0] && b[1] == want.function && int(b[2]) == want.size && len(b) < smallestRTU+want.size {
			break
		}
	}
	return pieceNone, nil, b
}
