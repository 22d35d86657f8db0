package commission

import (
	"fmt"
	"io"
	"strings"
	"unicode"

	"edgeagent"
	"edgeagent/plc"
)

// Report is what a [Doctor] has found.
type Report struct {
	Device      string       `json:"device"`
	Unit        uint8        `json:"unit"`
	Reachable   bool         `json:"reachable"` // something answered at the endpoint, or at least took the connection
	UnitAnswers bool         `json:"unit_answers"`
	Reach       string       `json:"reach"`
	Units       []UnitTry    `json:"units"` // others that were tried because the configured one is silent
	Tags        []TagReport  `json:"tags"`
	Ranking     []Hypothesis `json:"ranking"` // what could explain all tags together, the best first
	Conclusions []string     `json:"conclusions"`
	Requests    int          `json:"requests"`
}

// newReport returns one whose lists are empty, in JSON too, and never null.
func newReport(d Subject) *Report {
	return &Report{Device: d.Device, Unit: d.Unit, Units: []UnitTry{}, Tags: []TagReport{}, Ranking: []Hypothesis{}, Conclusions: []string{}}
}

// UnitTry is another unit id that was asked.
type UnitTry struct {
	Unit    uint8  `json:"unit"`
	Answers bool   `json:"answers"`
	Error   string `json:"error,omitempty"`
}

// TagReport is what was found of one tag.
type TagReport struct {
	Tag       string              `json:"tag"`
	Address   string              `json:"address"`
	Notations string              `json:"notations,omitempty"`
	Type      edgeagent.DataType  `json:"type"`
	Order     edgeagent.ByteOrder `json:"order"` // as configured
	Read      bool                `json:"read"`
	OtherArea bool                `json:"other_area,omitempty"` // its number can be read in the twin area
	Exchanges []Exchange          `json:"exchanges"`
	Readings  []Reading           `json:"readings"` // the configured one first
	Verdict   string              `json:"verdict"`
	Suggest   edgeagent.ByteOrder `json:"suggest,omitempty"` // the order that alone makes sense
	Error     string              `json:"error,omitempty"`

	refusedShifts []int // neighbours that the device does not have
}

// Exchange is one request and its answer as they go over the line, in
// hexadecimal. Of Modbus TCP the transaction number, which changes with every
// request, is left open (..).
type Exchange struct {
	Unit    uint8  `json:"unit"`
	Request string `json:"request"` // in words
	Sent    string `json:"sent"`
	Heard   string `json:"heard,omitempty"`
	Error   string `json:"error,omitempty"`
}

// frame writes the frame of a request.
func frame(unit uint8, r plc.Request, serial bool) string {
	return wire([]byte{unit, r.Area.Function(), byte(r.Offset >> 8), byte(r.Offset), byte(r.Quantity >> 8), byte(r.Quantity)}, serial)
}

// heardFrame writes the frame of an answer: of the payload, or of the exception.
// Of anything else nothing valid was heard.
func heardFrame(unit uint8, r plc.Request, a reply, serial bool) string {
	if e := exception(a.err); e != nil {
		return wire([]byte{unit, r.Area.Function() | 0x80, e.Code}, serial)
	}
	if a.err != nil {
		return ""
	}
	return wire(append([]byte{unit, r.Area.Function(), byte(len(a.data))}, a.data...), serial)
}

// wire puts unit and PDU into the frame of the line: a checksum behind it on a
// serial line, the MBAP header before it on TCP.
func wire(body []byte, serial bool) string {
	if serial {
		sum := crc(body)
		return fmt.Sprintf("% X", append(body, byte(sum), byte(sum>>8)))
	}
	return fmt.Sprintf(".. .. 00 00 %02X %02X % X", len(body)>>8, len(body)&0xff, body)
}

// crc is the checksum of Modbus RTU.
func crc(data []byte) uint16 {
	sum := uint16(0xffff)
	for _, b := range data {
		sum ^= uint16(b)
		for range 8 {
			low := sum & 1
			if sum >>= 1; low == 1 {
				sum ^= 0xa001
			}
		}
	}
	return sum
}

// Print writes the report for people. An error is the writer's.
func (r *Report) Print(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", r.Device, r.Reach)
	for _, u := range r.Units {
		if u.Answers {
			fmt.Fprintf(&b, "  unit %d answers: set unit = %d if that is the device\n", u.Unit, u.Unit)
			continue
		}
		fmt.Fprintf(&b, "  unit %d does not answer: %s\n", u.Unit, u.Error)
	}
	for i := range r.Tags {
		r.Tags[i].print(&b)
	}
	for _, c := range r.Conclusions {
		fmt.Fprintf(&b, "\n%s\n", c)
	}
	fmt.Fprintf(&b, "\n%d requests sent\n", r.Requests)
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("print report of %q: %w", r.Device, err)
	}
	return nil
}

func (t *TagReport) print(b *strings.Builder) {
	where := t.Notations
	if where == "" {
		where = t.Address
	}
	fmt.Fprintf(b, "\n%s  %s  %s %s\n", t.Tag, where, t.Type, t.Order)
	for _, e := range t.Exchanges {
		fmt.Fprintf(b, "  > %s   %s\n", e.Sent, e.Request)
		if e.Heard != "" {
			fmt.Fprintf(b, "  < %s\n", e.Heard)
		}
		if e.Error != "" {
			fmt.Fprintf(b, "  ! %s\n", e.Error)
		}
	}
	for _, x := range t.Readings {
		mark := " "
		if x.Configured {
			mark = "*"
		}
		fmt.Fprintf(b, "  %s %-14s %-4s %-14s %s: %s\n", mark, x.Address, x.Order, oneLine(x.Text), x.Plausibility, oneLine(x.Why))
	}
	fmt.Fprintf(b, "  = %s\n", oneLine(t.Verdict))
}

// oneLine keeps a device's text from steering a terminal.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}
