package exports

// Text is one row of a text table: what a bit of an alarm word, or a value of
// an alarm code, means.
type Text struct {
	Line     int               `json:"line"`
	Key      string            `json:"key"` // KeyBit or KeyValue
	Number   int64             `json:"number"`
	Code     string            `json:"code"`
	Priority int               `json:"priority,omitempty"` // 1 highest to 4; 0: the table's default
	Texts    map[string]string `json:"texts"`              // by language
}

// The first column of a text table.
const (
	KeyBit   = "bit"
	KeyValue = "value"
)

// Alarm is an alarm of the export that has a condition of its own, ready for a
// [[device.alarm]] block.
type Alarm struct {
	Line     int               `json:"line"`
	Tag      string            `json:"tag"`
	Code     string            `json:"code"`
	When     string            `json:"when"`
	Priority int               `json:"priority,omitempty"`
	OnDelay  string            `json:"on_delay,omitempty"`
	OffDelay string            `json:"off_delay,omitempty"`
	Texts    map[string]string `json:"texts"`
}
