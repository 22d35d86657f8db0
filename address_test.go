package edgeagent

import (
	"errors"
	"strings"
	"testing"
)

func TestParseAddress(t *testing.T) {
	cases := []struct {
		in   string
		want Address
		text string
	}{
		{"holding:100", Address{AreaHolding, 100, -1}, "holding:100 = 40101 = wire 0x0064"},
		{"holding:0x64", Address{AreaHolding, 100, -1}, "holding:100 = 40101 = wire 0x0064"},
		{"holding:0100", Address{AreaHolding, 100, -1}, "holding:100 = 40101 = wire 0x0064"}, // no octal number
		{"input:0XFFFF", Address{AreaInput, 65535, -1}, "input:65535 = 365536 = wire 0xFFFF"},
		{"40101", Address{AreaHolding, 100, -1}, "holding:100 = 40101 = wire 0x0064"},
		{"400101", Address{AreaHolding, 100, -1}, "holding:100 = 40101 = wire 0x0064"},
		{"465536", Address{AreaHolding, 65535, -1}, "holding:65535 = 465536 = wire 0xFFFF"},
		{"%MW100", Address{AreaHolding, 100, -1}, "holding:100 = 40101 = wire 0x0064"},
		{"%mw7.3", Address{AreaHolding, 7, 3}, "holding:7.3 = 40008.3 = wire 0x0007"},
		{"30001", Address{AreaInput, 0, -1}, "input:0 = 30001 = wire 0x0000"},
		{"10101", Address{AreaDiscrete, 100, -1}, "discrete:100 = 10101 = wire 0x0064"},
		{"00101", Address{AreaCoil, 100, -1}, "coil:100 = 00101 = wire 0x0064"},
		{"coil:9999", Address{AreaCoil, 9999, -1}, "coil:9999 = 010000 = wire 0x270F"},
		{"holding:2.31", Address{AreaHolding, 2, 31}, "holding:2.31 = 40003.31 = wire 0x0002"},
		{"input:40001", Address{AreaInput, 40001, -1}, "input:40001 = 340002 = wire 0x9C41"},
	}
	for _, c := range cases {
		t.Run(c.in, func(t *testing.T) {
			got, err := ParseAddress(c.in, false)
			if err != nil || got != c.want {
				t.Fatalf("ParseAddress = %+v, %v; want %+v", got, err, c.want)
			}
			if got.Notations() != c.text {
				t.Errorf("Notations = %q, want %q", got.Notations(), c.text)
			}
		})
	}
}

func TestParseAddressRefuses(t *testing.T) {
	for _, in := range []string{
		"", "holding", "holding:", "holding:-1", "holding:65536", "holding:1.32", "coil:1.0", "40000", "50001", "1", "4000101",
		"%MW65536", "%MX1", "register:1", "ns=2;s=x", "holding:1.x", "00000", "20001",
		"holding:0b1", "holding:0o17", "holding:1_0", "holding:0x", "holding:0x10000",
	} {
		if a, err := ParseAddress(in, false); !errors.Is(err, ErrAddress) {
			t.Errorf("ParseAddress(%q) = %+v, %v; want ErrAddress", in, a, err)
		}
	}
}

func TestOneBasedAddressInZeroBasedNotation(t *testing.T) {
	_, err := ParseAddress("holding:40101", false)
	if err == nil || !strings.Contains(err.Error(), `"holding:100"`) {
		t.Errorf("error %v must name holding:100", err)
	}
	if a, err := ParseAddress("holding:40101", true); err != nil || a.Offset != 40101 {
		t.Errorf("raw: %+v, %v", a, err)
	}
}

func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{"holding:100", "400001", "%MW1.2", "00101", "coil:0x1f"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseAddress(s, true)
		if err != nil {
			return
		}
		if back, err := ParseAddress(a.String(), true); err != nil || back != a {
			t.Errorf("%q -> %v -> %v, %v", s, a, back, err)
		}
	})
}
