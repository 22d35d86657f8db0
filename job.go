package edgeagent

import "time"

// JobState is the state of a diagnosis job.
type JobState string

// The states of a job; docs/state-machines.md draws the table.
const (
	JobPending   JobState = "pending"
	JobRunning   JobState = "running"
	JobCompleted JobState = "completed"
	JobFailed    JobState = "failed"
	JobDiscarded JobState = "discarded"
)

// JobStates lists the states in the order of the page.
var JobStates = []JobState{JobPending, JobRunning, JobCompleted, JobFailed, JobDiscarded}

// TimelineEntry is one step in the life of a job.
type TimelineEntry struct {
	At     time.Time `json:"at"`
	Event  string    `json:"event"` // opened joined leased released retry completed failed interrupted discarded review superseded feedback confirmed
	Detail *Note     `json:"detail"`
}

// Verdict is a person's judgement of a diagnosis.
type Verdict string

// The verdicts.
const (
	VerdictRight  Verdict = "right"
	VerdictPartly Verdict = "partly"
	VerdictWrong  Verdict = "wrong"
)

// Feedback is what a person says of a diagnosis.
type Feedback struct {
	Verdict Verdict   `json:"verdict"`
	Cause   string    `json:"cause,omitempty"`
	FixedBy string    `json:"fixed_by,omitempty"`
	By      string    `json:"by"`
	At      time.Time `json:"at"`

	// Whose answer it is about. Left empty by who gives it, it is the newest.
	Provider string `json:"provider,omitempty"`
	Model    string `json:"model,omitempty"`

	// An engineer stands by it: only then does it go into later prompts.
	ConfirmedBy string     `json:"confirmed_by,omitempty"`
	ConfirmedAt *time.Time `json:"confirmed_at,omitempty"`
}

// Job is one diagnosis to be made: of one alarm, or of several of one line
// that rose together.
type Job struct {
	ID          ID              `json:"id"`
	State       JobState        `json:"state"`
	Alarms      []ID            `json:"alarms"`
	Line        string          `json:"line"`
	Priority    int             `json:"priority"`
	Attempts    int             `json:"attempts"`   // that ended; one that a power cut ended is an interrupt
	Interrupts  int             `json:"interrupts"` // found running at open
	MaxAttempts int             `json:"max_attempts"`
	NextTryAt   *time.Time      `json:"next_try_at"`
	LastError   *Note           `json:"last_error"`
	CreatedAt   time.Time       `json:"created_at"`
	FinishedAt  *time.Time      `json:"finished_at"`
	Diagnosis   *Diagnosis      `json:"diagnosis"`
	Reviews     []Diagnosis     `json:"reviews"`
	Feedback    *Feedback       `json:"feedback"`
	Timeline    []TimelineEntry `json:"timeline"`
	Calls       []Call          `json:"calls"`
}

// Lease is the right to work on a job. Its token is random, must come with
// every later write, and ends with the process.
type Lease struct {
	Job     ID
	Token   string
	Attempt int // that would be counted if this one ends
	Case    Case
}

// JobCounts counts jobs by state.
type JobCounts struct {
	Pending   int `json:"pending"`
	Running   int `json:"running"`
	Completed int `json:"completed"`
	Failed    int `json:"failed"`
	Discarded int `json:"discarded"`
}
