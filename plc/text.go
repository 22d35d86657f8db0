package plc

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"edgeagent"
)

// textHeaders are the forms in which devices keep a text. Each returns the
// characters, whole or cut by the length that stands before them, and false
// when that length cannot be.
var textHeaders = map[string]func(text []byte, order edgeagent.ByteOrder) ([]byte, bool){
	"":      plainText,
	"none":  plainText,
	"s7":    s7Text,
	"logix": logixText,
}

// decodeText takes the registers as sent. The order of the registers of a text
// is always the text's own; only their bytes may be swapped.
func decodeText(s edgeagent.Sample, t *TagSpec, raw []byte) edgeagent.Sample {
	text := slices.Clone(raw)
	if t.Order == edgeagent.OrderBADC || t.Order == edgeagent.OrderDCBA {
		for i := 0; i+1 < len(text); i += 2 {
			text[i], text[i+1] = text[i+1], text[i]
		}
	}
	header, known := textHeaders[t.Header]
	if !known {
		return bad(s, edgeagent.ReasonMalformed, fmt.Sprintf("unknown header %q of a text", t.Header))
	}
	chars, ok := header(text, t.Order)
	if !ok {
		return bad(s, edgeagent.ReasonMalformed, fmt.Sprintf("the %s header tells a length beyond the tag's %d registers", t.Header, t.Length))
	}
	s.Value = edgeagent.String(clean(trim(characters(chars, t.Encoding), t.Pad)))
	return s
}

func plainText(text []byte, _ edgeagent.ByteOrder) ([]byte, bool) { return text, true }

// s7Text reads a STRING of a Siemens controller: the size, the length, then
// the characters. A size of 0 is a string that was never written.
func s7Text(text []byte, _ edgeagent.ByteOrder) ([]byte, bool) {
	size, length := int(text[0]), int(text[1])
	if length > size || length > len(text)-2 {
		return nil, false
	}
	return text[2 : 2+length], true
}

// logixText reads a STRING of a Logix controller: a 32-bit length in the tag's
// order, then the characters.
func logixText(text []byte, order edgeagent.ByteOrder) ([]byte, bool) {
	if len(text) < 4 {
		return nil, false
	}
	high, low := binary.BigEndian.Uint16(text), binary.BigEndian.Uint16(text[2:])
	if order == edgeagent.OrderCDAB || order == edgeagent.OrderDCBA {
		high, low = low, high
	}
	length := uint64(high)<<16 | uint64(low)
	if length > uint64(len(text)-4) {
		return nil, false
	}
	return text[4 : 4+length], true
}

// characters decodes chars; what the encoding does not know becomes U+FFFD.
func characters(chars []byte, encoding string) string {
	switch encoding {
	case "utf8", "utf-8":
		return strings.ToValidUTF8(string(chars), string(utf8.RuneError))
	case "utf16", "utf-16":
		return string(utf16.Decode(registers(chars)))
	default:
		runes := make([]rune, len(chars))
		for i, c := range chars {
			runes[i] = rune(c)
			if encoding == "ascii" && c > unicode.MaxASCII {
				runes[i] = utf8.RuneError
			}
		}
		return string(runes)
	}
}

// trim ends the text at the first NUL, and at its last character that is no
// space where spaces are the padding.
func trim(s, pad string) string {
	s, _, _ = strings.Cut(s, "\x00")
	if pad == "space" {
		s = strings.TrimRight(s, " ")
	}
	return s
}

// clean keeps a device's text from steering a terminal: control characters
// become U+FFFD.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return utf8.RuneError
		}
		return r
	}, s)
}
