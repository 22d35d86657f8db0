package status

import (
	"context"
	"errors"
	"time"

	"edgeagent"
)

// ErrInvalid is wrapped by an [Actions] method that refuses what it was asked
// for as such: a shelving that is too long, a line that does not exist. The
// answer is 422 with the error's text.
var ErrInvalid = errors.New("refused")

// The kinds of changes, as they stand in the type of an event.
const (
	KindTag      = "tag"
	KindDevice   = "device"
	KindAlarm    = "alarm"
	KindJob      = "job"
	KindProvider = "provider"
	KindUpstream = "upstream"
	KindStorage  = "storage"
	KindAgent    = "agent"
)

// Source is what the pages read. Every method is safe from any goroutine and
// answers at once from memory or from the data file; none talks to a device,
// provider or upstream. Before the data file is open the alarms and jobs
// answer an error, and Status says that the file is being checked.
type Source interface {
	Plant
	AlarmSource
	JobSource
	MemorySource
}

// Plant is the part of a [Source] that lives in memory.
type Plant interface {
	// Status returns the state of everything, without the headline.
	Status() edgeagent.Status
	// Readings returns the tags of a device in the order of its configuration.
	Readings(device string) []edgeagent.Reading
	// Trend returns what is remembered of a tag since then, oldest first.
	Trend(device, tag string, since time.Time) []Point
}

// AlarmSource reads alarms. An unknown id is [edgeagent.ErrNotFound].
type AlarmSource interface {
	Alarm(id edgeagent.ID) (edgeagent.Alarm, error)
	// Evidence returns what was frozen when the alarm rose, nil without any.
	Evidence(id edgeagent.ID) (*edgeagent.Evidence, error)
	// Alarms returns up to limit alarms, newest first, that are older than
	// after, and the id to continue from, empty at the end. The state is
	// active (still open), shelved or history.
	Alarms(state string, limit int, after edgeagent.ID) ([]edgeagent.Alarm, edgeagent.ID, error)
}

// JobSource reads jobs. An unknown id is [edgeagent.ErrNotFound].
type JobSource interface {
	Job(id edgeagent.ID) (edgeagent.Job, error)
	// Jobs pages like Alarms; the state is a job's state or empty for all.
	Jobs(state string, limit int, after edgeagent.ID) ([]edgeagent.Job, edgeagent.ID, error)
	// Faulty returns the answers to a job that were of no use, and of each what
	// may be shown beside the machine; none where they are no longer kept.
	Faulty(job edgeagent.ID) ([]edgeagent.FaultyAnswer, error)
	// Exchanges returns what was sent for a job and what came back, word for word.
	Exchanges(job edgeagent.ID) ([]edgeagent.Exchange, error)
}

// MemorySource reads what people said of diagnoses. It outlives jobs and alarms.
type MemorySource interface {
	// Accuracy returns how every provider and model was judged, most judged first.
	Accuracy() ([]edgeagent.Accuracy, error)
	// Memory returns what was said of one alarm, empty when nothing was.
	Memory(device, line, code string) (edgeagent.Memory, error)
	// Memories returns up to limit alarms, those judged most first.
	Memories(limit int) ([]edgeagent.Memory, error)
}

// Point is one step of a trend: all values of a tag between the step before
// and At, in engineering units.
type Point struct {
	At             time.Time
	Min, Max, Last float64
}

// OutsideAlarm is an alarm that another system reports.
type OutsideAlarm struct {
	Device   string                     `json:"device,omitempty"`
	Line     string                     `json:"line"`
	Code     string                     `json:"code"`
	Text     string                     `json:"text"`
	Priority int                        `json:"priority,omitempty"` // 1 highest to 4; 0 leaves it to the agent
	Values   map[string]edgeagent.Value `json:"values,omitempty"`
	By       string                     `json:"-"` // who reported it
}

// Question is one Modbus read for whoever commissions a device: the agent asks
// it, because a second connection can push a panel off a PLC.
type Question struct {
	Unit     int    `json:"unit"` // 0 to 255, also one that no device has
	Area     string `json:"area"` // coil, discrete, holding or input
	Offset   int    `json:"offset"`
	Quantity int    `json:"quantity"`
}

// Reply is what came of a question: the payload in hex as the device sent it,
// the exception with which it refused, or why nothing came.
type Reply struct {
	Data      string `json:"data,omitempty"`
	Exception int    `json:"exception,omitempty"`
	Failure   string `json:"failure,omitempty"` // unreachable, silent or quarantined
	Error     string `json:"error,omitempty"`   // of the failure, in words
}

// Actions is what people may do. Every method answers after the commit. Errors
// are told apart by [edgeagent.ErrNotFound], [edgeagent.ErrConflict],
// [edgeagent.ErrFull] and [ErrInvalid]; by is the name of who asks.
type Actions interface {
	// Raise records an alarm from outside. A key that is known with the same
	// body hash returns the first alarm and false; with another body hash it is
	// [edgeagent.ErrConflict]. Without a key every call is a new alarm.
	Raise(ctx context.Context, o OutsideAlarm, key, bodyHash string) (edgeagent.Alarm, bool, error)
	Acknowledge(ctx context.Context, id edgeagent.ID, by string) (edgeagent.Alarm, error)
	Shelve(ctx context.Context, id edgeagent.ID, by, reason string, d time.Duration) (edgeagent.Alarm, error)
	Unshelve(ctx context.Context, id edgeagent.ID, by string) (edgeagent.Alarm, error)
	// Clear ends an alarm from outside.
	Clear(ctx context.Context, id edgeagent.ID, by string) (edgeagent.Alarm, error)
	// ResumeDevice restarts the retry window of a stopped device. It never
	// writes to the PLC.
	ResumeDevice(ctx context.Context, name, by, reason string) error
	// MaintainDevice leaves a device alone for d, at most 30 days.
	MaintainDevice(ctx context.Context, name, by, reason string, d time.Duration) error
	// AskDevice sends one read over the device's own connection, between scans.
	AskDevice(ctx context.Context, name string, q Question) (Reply, error)
	RetryJob(ctx context.Context, id edgeagent.ID, by string) error
	DiscardJob(ctx context.Context, id edgeagent.ID, by, reason string) error
	Feedback(ctx context.Context, id edgeagent.ID, f edgeagent.Feedback) (edgeagent.Job, error)
	// ConfirmFeedback lets an engineer stand by what was said of a diagnosis.
	ConfirmFeedback(ctx context.Context, id edgeagent.ID, by string) error
	// Reload reads the configuration again and returns what changed, a line
	// each.
	Reload(ctx context.Context) ([]string, error)
}
