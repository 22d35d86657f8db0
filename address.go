package edgeagent

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Area is one of the four address spaces of Modbus.
type Area uint8

// The areas, by the function code that reads them.
const (
	AreaCoil     Area = 1
	AreaDiscrete Area = 2
	AreaHolding  Area = 3
	AreaInput    Area = 4
)

var areaNames = map[Area]string{AreaCoil: "coil", AreaDiscrete: "discrete", AreaHolding: "holding", AreaInput: "input"}

// modiconDigit is the first digit of the one-based notation.
var modiconDigit = map[Area]int{AreaCoil: 0, AreaDiscrete: 1, AreaInput: 3, AreaHolding: 4}

// String returns coil, discrete, holding or input.
func (a Area) String() string { return areaNames[a] }

// Function returns the Modbus function code that reads the area: 1 to 4.
func (a Area) Function() byte { return byte(a) }

// Bits reports whether the area holds bits, not registers.
func (a Area) Bits() bool { return a == AreaCoil || a == AreaDiscrete }

// Address is a place in a Modbus device.
type Address struct {
	Area   Area
	Offset uint16 // zero-based, as on the wire
	Bit    int    // of the register (0 least significant, after order), -1 for none
}

// ErrAddress is wrapped by every error of [ParseAddress].
var ErrAddress = errors.New("bad address")

// ParseAddress reads the notations of the field: coil:N discrete:N input:N
// holding:N zero-based, decimal or 0x; 40101 400101 30101 10101 00101
// one-based; %MW100; each with an optional .BIT. holding:40101 is refused
// unless raw, because it is a one-based address in a zero-based notation nine
// times of ten.
func ParseAddress(s string, raw bool) (Address, error) {
	body, bit, err := cutBit(strings.TrimSpace(s))
	if err != nil {
		return Address{}, err
	}
	a, err := parseBody(s, body, raw)
	if err != nil {
		return Address{}, err
	}
	a.Bit = bit
	if a.Area.Bits() && bit >= 0 {
		return Address{}, fmt.Errorf("%w %q: a %s is one bit already", ErrAddress, s, a.Area)
	}
	return a, nil
}

func cutBit(s string) (string, int, error) {
	body, bit, found := strings.Cut(s, ".")
	if !found {
		return s, -1, nil
	}
	n, err := strconv.Atoi(bit)
	if err != nil || n < 0 || n > 31 {
		return "", 0, fmt.Errorf("%w %q: a bit is a number from 0 to 31", ErrAddress, s)
	}
	return body, n, nil
}

func parseBody(s, body string, raw bool) (Address, error) {
	if name, number, found := strings.Cut(body, ":"); found {
		return parseZeroBased(s, name, number, raw)
	}
	if number, found := strings.CutPrefix(strings.ToUpper(body), "%MW"); found {
		n, err := strconv.ParseUint(number, 10, 16)
		if err != nil {
			return Address{}, fmt.Errorf("%w %q: %%MW takes a number from 0 to 65535", ErrAddress, s)
		}
		return Address{Area: AreaHolding, Offset: uint16(n)}, nil
	}
	return parseModicon(s, body)
}

func parseZeroBased(s, name, number string, raw bool) (Address, error) {
	area, err := parseArea(s, name)
	if err != nil {
		return Address{}, err
	}
	n, err := parseNumber(number)
	if err != nil {
		return Address{}, fmt.Errorf("%w %q: %s takes a number from 0 to 65535", ErrAddress, s, area)
	}
	if d := modiconDigit[area]; !raw && d > 0 && n > uint64(d)*10000 && n <= uint64(d)*10000+9999 {
		return Address{}, fmt.Errorf("%w %q: looks one-based; write %q for the manual's %d, or set raw_address = true",
			ErrAddress, s, fmt.Sprintf("%s:%d", area, n-uint64(d)*10000-1), n)
	}
	return Address{Area: area, Offset: uint16(n)}, nil
}

// parseNumber reads decimal or 0x. A leading zero is no octal number here:
// manuals write 0100 for the hundredth register.
func parseNumber(s string) (uint64, error) {
	if digits, hex := strings.CutPrefix(strings.ToLower(s), "0x"); hex {
		return strconv.ParseUint(digits, 16, 16)
	}
	return strconv.ParseUint(s, 10, 16)
}

func parseArea(s, name string) (Area, error) {
	for area, known := range areaNames {
		if strings.EqualFold(name, known) {
			return area, nil
		}
	}
	return 0, fmt.Errorf("%w %q: want coil:N, discrete:N, input:N, holding:N, 40001, 400001 or %%MW0", ErrAddress, s)
}

// parseModicon reads five digits (to 9999) or six (to 65536), one-based.
func parseModicon(s, body string) (Address, error) {
	n, err := strconv.ParseUint(body, 10, 32)
	if err != nil || len(body) != 5 && len(body) != 6 {
		_, err := parseArea(s, "")
		return Address{}, err
	}
	limit := uint64(9999)
	if len(body) == 6 {
		limit = 65536
	}
	for area, digit := range modiconDigit {
		if int(body[0]-'0') != digit {
			continue
		}
		for range len(body) - 1 {
			digit *= 10
		}
		if n -= uint64(digit); n < 1 || n > limit {
			break
		}
		return Address{Area: area, Offset: uint16(n - 1)}, nil
	}
	return Address{}, fmt.Errorf("%w %q: one-based addresses are 00001, 10001, 30001 or 40001 to +9998, or six digits to +65535", ErrAddress, s)
}

// String returns the zero-based notation: holding:100 or holding:100.3.
func (a Address) String() string {
	s := fmt.Sprintf("%s:%d", a.Area, a.Offset)
	if a.Bit >= 0 {
		s += "." + strconv.Itoa(a.Bit)
	}
	return s
}

// Notations returns the address in all its notations, for the person who has
// the PLC's manual open: "holding:100 = 40101 = wire 0x0064".
func (a Address) Notations() string {
	digits, n := 4, int(a.Offset)+1
	if n > 9999 {
		digits = 5
	}
	bit := ""
	if a.Bit >= 0 {
		bit = "." + strconv.Itoa(a.Bit)
	}
	return fmt.Sprintf("%s = %d%0*d%s = wire 0x%04X", a, modiconDigit[a.Area], digits, n, bit, a.Offset)
}

// DataType is how the registers of a tag become a value.
type DataType string

// The data types of a tag.
const (
	TypeBool    DataType = "bool"
	TypeInt8H   DataType = "int8h"
	TypeInt8L   DataType = "int8l"
	TypeUint8H  DataType = "uint8h"
	TypeUint8L  DataType = "uint8l"
	TypeInt16   DataType = "int16"
	TypeUint16  DataType = "uint16"
	TypeInt32   DataType = "int32"
	TypeUint32  DataType = "uint32"
	TypeInt64   DataType = "int64"
	TypeUint64  DataType = "uint64"
	TypeFloat16 DataType = "float16"
	TypeFloat32 DataType = "float32"
	TypeFloat64 DataType = "float64"
	TypeBCD16   DataType = "bcd16"
	TypeBCD32   DataType = "bcd32"
	TypeString  DataType = "string"
)

// DataTypes lists every data type, in the order of the documentation.
var DataTypes = []DataType{
	TypeBool, TypeInt8H, TypeInt8L, TypeUint8H, TypeUint8L, TypeInt16, TypeUint16, TypeInt32, TypeUint32,
	TypeInt64, TypeUint64, TypeFloat16, TypeFloat32, TypeFloat64, TypeBCD16, TypeBCD32, TypeString,
}

// Registers returns how many 16-bit registers a value of the type takes; 0 for
// a string, whose length is configured, and for an unknown type.
func (t DataType) Registers() int {
	switch t {
	case TypeBool, TypeInt8H, TypeInt8L, TypeUint8H, TypeUint8L, TypeInt16, TypeUint16, TypeFloat16, TypeBCD16:
		return 1
	case TypeInt32, TypeUint32, TypeFloat32, TypeBCD32:
		return 2
	case TypeInt64, TypeUint64, TypeFloat64:
		return 4
	default:
		return 0
	}
}

// ByteOrder is the order in which a device sends the bytes of a value; A is
// the most significant. On 64 bits CDAB is GHEFCDAB and BADC is BADCFEHG.
type ByteOrder string

// The byte orders; the zero value means ABCD.
const (
	OrderABCD ByteOrder = "ABCD"
	OrderCDAB ByteOrder = "CDAB"
	OrderBADC ByteOrder = "BADC"
	OrderDCBA ByteOrder = "DCBA"
)
