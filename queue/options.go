package queue

import (
	"context"
	"log/slog"
	"os"
	"strings"
	"time"

	"edgeagent"
)

// Destination is an upstream that events are kept for.
type Destination struct {
	Name     string
	Required bool          // events are kept until it has confirmed them
	Keep     time.Duration // and at least so long
}

// Options are what a data file needs to know. Path, Site, Agent, MaxSize,
// CrashCostUSD, Check, Hardware, BootID, Log and OnCommit count at open; everything else
// may change while the file is open, by [DB.Configure].
type Options struct {
	Path        string
	Site, Agent string // of the events' source
	MaxSize     int64  // bytes in use from which new alarms are refused; 0 is 256 MiB

	MaxAttempts int           // ended attempts after which a job has failed; 0 is 8
	GroupWindow time.Duration // alarms of one line that rise within it share a job
	FloodWindow time.Duration // more than 10 alarms of a line within it share one job of it; 0: a flood is only said
	Retain      time.Duration // how long finished jobs and closed alarms stay; 0 is 30 days

	Location     *time.Location // of the day that the cap counts by; nil is the machine's
	DailyCapUSD  float64        // over every provider; 0 is none
	CrashCostUSD float64        // booked for each job found running at open: its calls are unknown

	// Destinations of the outbox. Without any, no event is written and no
	// sequence number is used.
	Destinations []Destination
	// Minimal leaves prompt and raw answer out of events. Events are frozen
	// once for all destinations, so the strictest of them decides.
	Minimal bool

	Language string                 // of the diagnosis
	Outside  func(line string) bool // may cases of the line leave the site; nil: no
	Area     func(line string) string

	// Check reads a whole file and reports its damage. It should run
	// [CheckFile] in another process, because bbolt can end its own on a
	// damaged tree. Nil checks in this process. Not called after a clean shutdown.
	Check func(ctx context.Context, path string) error

	// Hardware is the machine: a file that comes from another begins a new epoch.
	// Nil looks at no hardware; see [ReadHardware].
	Hardware *Hardware

	BootID   string // of the kernel; empty reads it from /proc
	Log      *slog.Logger
	OnCommit func(took time.Duration, ops int) // called by the committer: must be quick, and must not ask the DB anything
}

// withDefaults returns o with every zero that has a meaning of its own filled in.
func (o Options) withDefaults() Options {
	if o.MaxSize <= 0 {
		o.MaxSize = 256 << 20
	}
	if o.MaxAttempts <= 0 {
		o.MaxAttempts = 8
	}
	if o.Retain <= 0 {
		o.Retain = 30 * 24 * time.Hour
	}
	if o.Location == nil {
		o.Location = time.Local
	}
	if o.Outside == nil {
		o.Outside = func(string) bool { return false }
	}
	if o.Area == nil {
		o.Area = func(string) string { return "" }
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.BootID == "" {
		o.BootID = bootID()
	}
	if o.OnCommit == nil {
		o.OnCommit = func(time.Duration, int) {}
	}
	return o
}

// source returns the CloudEvents source of the agent.
func (o Options) source() string { return edgeagent.Source(o.Site, o.Agent) }

// keep returns how long an event stays even when everybody has it. Without any
// destination it waits for one to be configured again.
func (o Options) keep() time.Duration {
	if len(o.Destinations) == 0 {
		return o.Retain
	}
	var longest time.Duration
	for _, d := range o.Destinations {
		longest = max(longest, d.Keep)
	}
	return longest
}

// bootID returns the kernel's id of this boot, or empty where there is none:
// every start then counts as a boot of its own.
func bootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}
