package exports

import (
	"bytes"
	"encoding/binary"
	"unicode/utf16"
	"unicode/utf8"
)

// windows1252 are the characters of 0x80 to 0x9F; the rest is Latin-1. The five
// that are not assigned stay control characters.
var windows1252 = [32]rune{
	'€', 0x81, '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', 0x8d, 'Ž', 0x8f,
	0x90, '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', 0x9d, 'ž', 'Ÿ',
}

// decode returns the text of an export as UTF-8 and the name of its encoding:
// by its byte order mark, by the zero bytes of UTF-16 without one, and else
// UTF-8 if it is valid and Windows-1252 if it is not.
func decode(data []byte) ([]byte, string) {
	switch {
	case bytes.HasPrefix(data, []byte{0xef, 0xbb, 0xbf}):
		return bytes.ToValidUTF8(data[3:], []byte("\uFFFD")), "UTF-8"
	case bytes.HasPrefix(data, []byte{0xff, 0xfe}):
		return fromUTF16(data[2:], binary.LittleEndian), "UTF-16 LE"
	case bytes.HasPrefix(data, []byte{0xfe, 0xff}):
		return fromUTF16(data[2:], binary.BigEndian), "UTF-16 BE"
	case len(data) >= 4 && data[1] == 0 && data[3] == 0 && data[0] != 0:
		return fromUTF16(data, binary.LittleEndian), "UTF-16 LE"
	case len(data) >= 4 && data[0] == 0 && data[2] == 0 && data[1] != 0:
		return fromUTF16(data, binary.BigEndian), "UTF-16 BE"
	case utf8.Valid(data):
		return data, "UTF-8"
	default:
		return from1252(data), "Windows-1252"
	}
}

func fromUTF16(data []byte, order binary.ByteOrder) []byte {
	units := make([]uint16, len(data)/2)
	for i := range units {
		units[i] = order.Uint16(data[2*i:])
	}
	return []byte(string(utf16.Decode(units)))
}

func from1252(data []byte) []byte {
	out := make([]byte, 0, len(data)+len(data)/8)
	for _, c := range data {
		r := rune(c)
		if c >= 0x80 && c <= 0x9f {
			r = windows1252[c-0x80]
		}
		out = utf8.AppendRune(out, r)
	}
	return out
}
