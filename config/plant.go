package config

import (
	"time"

	"edgeagent"
)

// Device is one PLC, or one unit behind a gateway.
type Device struct {
	Name     string
	Line     string // its own name unless configured
	Template string // it was made of; empty for none
	URL      string // as configured
	Protocol string // modbus-tcp, modbus-tls, modbus-rtu-tcp, modbus-rtu or opcua
	Host     string // HOST:PORT of the URL with the port filled in, or the path of the serial port
	Serial   *Serial

	// Of modbus-tls.
	CAFile, ClientCertFile, ClientKeyFile string
	ServerName                            string // in the server's certificate; empty: the host

	Unit           int
	Scan           time.Duration
	Timeout        time.Duration // of one request
	Pause          time.Duration // between requests on the connection
	ConnectDelay   time.Duration // between connecting and the first request
	CloseAfterScan bool          // for devices with one connection slot
	Order          edgeagent.ByteOrder
	MaxRegisters   int // per request
	MaxBits        int // per request
	MaxGap         int // registers read in vain to save a request
	NeverRead      []Span
	StaleAfter     time.Duration
	Retry          Retry
	Resume         time.Duration // one probe a period after a stop; 0: only a person resumes it
	Enabled        bool
	Sim            bool       // served by the simulated plant
	Heartbeat      *Heartbeat // nil: none
	OPCUA          *OPCUA     // of opc.tcp alone
	Events         *Events    // of opc.tcp; nil: the server's alarms are not asked for
	Tags           []Tag
	Alarms         []Alarm
	Words          []AlarmWord
	Codes          []AlarmCode
}

// Serial is how a serial line is spoken.
type Serial struct {
	Baud           int
	Parity         string // none, even or odd
	DataBits, Stop int    // data bits are 8 with Modbus RTU
}

// Heartbeat is a tag that changes while the PLC's program runs.
type Heartbeat struct {
	Tag    string
	Within time.Duration // without a change for so long the device is frozen
}

// OPCUA is how a session with an OPC UA server is secured.
type OPCUA struct {
	Security       string // None, Basic256Sha256, Aes128_Sha256_RsaOaep or Aes256_Sha256_RsaPss
	Mode           string // None, Sign or SignAndEncrypt
	ServerCertFile string // the one certificate that is trusted; empty with None
	ClientCertFile string // made at first start if absent; empty with None
	ClientKeyFile  string
	User           string // empty: anonymous, or a certificate
	Password       Secret
	UserCertFile   string // a user who signs in with a certificate
	UserKeyFile    string
	Watchdog       time.Duration // a server that answers nothing for so long is given up
}

// Events is which alarms of an OPC UA server are taken over.
type Events struct {
	Source      string // node that tells them
	MinSeverity int
	Priorities  [4]int // lowest severity of priority 1 to 4; 0: no severity is that priority
	CodeFrom    string // field that names the alarm
	Diagnose    bool
}

// Span is a run of addresses of one area, both ends included.
type Span struct {
	Area        edgeagent.Area
	First, Last uint16
}

// Tag is a tag with what its driver needs to fetch and decode it.
type Tag struct {
	edgeagent.Tag
	Addr    edgeagent.Address // of Modbus
	Node    string            // of OPC UA, as configured; empty for Modbus
	Index   *int              // element of an OPC UA array; nil: the whole value
	Order   edgeagent.ByteOrder
	Length  int // registers of a string
	String  StringFormat
	Scale   float64 // engineering value = raw × Scale + Offset, unless Scaling is set
	Offset  float64
	Scaling *Scaling
	Scan    time.Duration
}

// Registers returns how many registers or bits the tag takes.
func (t Tag) Registers() int {
	if t.Type == edgeagent.TypeString {
		return t.Length
	}
	return t.Type.Registers()
}

// Seen returns the tag as alarms see it: a bit that is picked from a register
// is a bool, whatever the type of the register.
func (t Tag) Seen() edgeagent.Tag {
	seen := t.Tag
	if t.Addr.Bit >= 0 {
		seen.Type = edgeagent.TypeBool
	}
	return seen
}

// StringFormat is how a PLC writes a text into registers.
type StringFormat struct {
	Encoding string // latin1, utf8, ascii or utf16
	Header   string // none, s7 or logix
	Pad      string // zero or space
}

// Scaling maps Raw to Eng along a straight line.
type Scaling struct {
	Raw, Eng [2]float64
	Clamp    bool // values outside Raw are held at the ends of Eng
}

// Alarm is the definition of an alarm of a device.
type Alarm struct {
	Device, Line, Area string
	Code               string
	When               string // expression over the device's tags
	Clear              string // empty: not When
	OnDelay, OffDelay  time.Duration
	Priority           int    // 1 highest to 4
	Text               string // in the configured language; the code when there is none
	Context            []string
	InhibitedBy        []string
	ActiveIn           []string      // modes of the line; empty: all
	Settle             time.Duration // muted so long after such a mode began
	Diagnose           bool
}

// AlarmWord is an integer in which each bit is an alarm.
type AlarmWord struct {
	Tag               string
	FirstBit          int    // the manual's number of the least significant bit
	Swap              string // none, bytes or words; before the bits are numbered
	Rows              []AlarmText
	Priority          int // of bits without a row
	Diagnose          bool
	OnDelay, OffDelay time.Duration
	Context           []string
}

// AlarmCode is an integer that holds the number of the present fault.
type AlarmCode struct {
	Tag      string
	None     []int64 // values that mean no fault
	Rows     []AlarmText
	Priority int // of values without a row
	Diagnose bool
	Context  []string
}

// AlarmText is a row of an alarm text list.
type AlarmText struct {
	Number   int64 // the manual's number of the bit, or the value of the code
	Code     string
	Priority int
	ActiveIn []string
	Text     string // in the configured language; the code when there is none
}
