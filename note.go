package edgeagent

import "errors"

// Note is a reason, an error or a timeline detail as it is stored: a code and
// its parameters, so that it can be shown in another language later, and the
// English sentence of the moment it was written.
type Note struct {
	Code   string            `json:"code"`
	Params map[string]string `json:"params,omitempty"`
	Text   string            `json:"text"`
}

// NewNote returns a note; params are pairs of key and value.
func NewNote(code, text string, params ...string) *Note {
	n := &Note{Code: code, Text: text}
	for i := 0; i+1 < len(params); i += 2 {
		if n.Params == nil {
			n.Params = make(map[string]string, len(params)/2)
		}
		n.Params[params[i]] = params[i+1]
	}
	return n
}

// String returns the sentence; a nil note is empty.
func (n *Note) String() string {
	if n == nil {
		return ""
	}
	return n.Text
}

// Is reports whether n is a note of that code.
func (n *Note) Is(code string) bool { return n != nil && n.Code == code }

// States that more than one room speaks of. Everything else is an error of the
// room that returns it.
var (
	// ErrNotFound is returned for an id or a name that is not there.
	ErrNotFound = errors.New("not found")
	// ErrConflict is returned when the state of the object does not allow the
	// action: acknowledging a normal alarm, retrying a completed job, an
	// idempotency key that was used with another body.
	ErrConflict = errors.New("conflict")
	// ErrLeaseLost is returned when a lease's token is no longer the job's:
	// the work was done for nothing and must not be written.
	ErrLeaseLost = errors.New("lease lost")
	// ErrFull is returned when the data file does not accept new work.
	ErrFull = errors.New("data file full")
)
