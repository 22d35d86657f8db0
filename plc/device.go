package plc

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"edgeagent"
	"edgeagent/internal/retry"
)

const (
	steadyAfter  = 60 * time.Second // good scans for so long forget the failures
	suspectAfter = 3                // scans in a row in which the device doubts itself
	// gaveFor is how long a value of one scan class speaks for a device that
	// doubts itself in the others: the class may be read but once an hour.
	gaveFor = time.Minute
	// unconfirmedFor is how many scans in a row a line may be out of step.
	unconfirmedFor = 3
	recentScans    = 60
	logEntries     = 20

	// paramRefused marks the reason of a stop that no probe ends.
	paramRefused = "refused"
)

// defaultRetry is the window of a device that has none.
var defaultRetry = retry.Backoff{First: 2 * time.Second, Max: 30 * time.Second}

// device is one unit: its machine, its plan and what is known of its tags.
// The connection's mutex guards it; the pass in progress alone reads and
// learns without, for nobody else touches those fields.
type device struct {
	spec DeviceSpec
	asks // how its tags are asked for, and what came of it

	state    edgeagent.DeviceState
	since    time.Time
	attempt  int       // failures in the window
	next     time.Time // of the next try; zero: at once. In retrying and stopped only
	good     time.Time // first good scan since the last failure
	reason   *edgeagent.Note
	standing bool      // a stop or a maintenance was told, and not yet that it delivers again
	resumer  string    // who resumed it, until it answers
	because  string    // why, as that person said
	until    time.Time // by the wall clock: the end of a maintenance
	life     int       // counts maintenances: what was asked before one is not told after it
	saved    edgeagent.DeviceMemory
	logged   edgeagent.DeviceState

	loggedFrost bool

	suspects    int // scans in a row in which the device doubted itself
	unconfirmed int // scans in a row that found the line out of step

	pulse  pulse
	frost  *edgeagent.Note // why the device counts as frozen; nil: it does not
	gapAt  time.Time       // the last answer before values began to be missing; zero: none are
	gapWhy *edgeagent.Note
	gaps   uint64
	loss   loss

	link     edgeagent.Link
	lastOK   time.Time
	err      error
	took     time.Duration
	overruns uint64
	errors   uint64
	sent     uint64
	recent   []byte
	log      []edgeagent.LogEntry
	security string // of the connection, where the episode tells it

	events []edgeagent.DeviceEvent // to go out with the next scan
	mark   *edgeagent.Note         // to go out with the next scan: why all tags are not good
	grade  edgeagent.Quality       // the best that mark leaves
}

func newDevice(spec DeviceSpec) *device {
	if spec.Retry.First <= 0 {
		spec.Retry = defaultRetry
	}
	d := &device{
		spec: spec, state: edgeagent.DeviceConnecting, link: edgeagent.LinkDown, asks: newAsks(&spec), pulse: pulseOf(&spec),
	}
	d.spec.Tags = d.tags // the caller's are not kept: 10,000 of them are 3 MB
	d.saved = d.memory()
	if !spec.Enabled {
		d.state = edgeagent.DeviceDisabled
	}
	return d
}

// newPolled returns a device that is asked for its tags; without any that may
// be asked for there is nothing to do.
func newPolled(spec DeviceSpec) *device {
	d := newDevice(spec)
	if len(d.classes) == 0 {
		d.state = edgeagent.DeviceDisabled
	}
	return d
}

// off reports whether the device is not to be read at all.
func (d *device) off() bool { return d.state == edgeagent.DeviceDisabled }

// due returns when the device wants its turn; false: never by itself.
func (d *device) due() (time.Time, bool) {
	switch d.state {
	case edgeagent.DeviceConnecting, edgeagent.DeviceRetrying:
		return d.next, true
	case edgeagent.DevicePolling:
		return d.nextSlot()
	case edgeagent.DeviceMaintenance:
		return d.next, true // to end it
	case edgeagent.DeviceStopped:
		return d.next, d.spec.ResumeEvery > 0 && !d.barred()
	default:
		return time.Time{}, false
	}
}

// idle reports whether nothing may be sent to the device before its next
// probe, if any.
func (d *device) idle() bool {
	return d.state == edgeagent.DeviceStopped || d.state == edgeagent.DeviceMaintenance || d.off()
}

// barred reports whether the device refused the agent for good: then trying
// again can lock an account, and only a person does it.
func (d *device) barred() bool {
	return d.reason != nil && d.reason.Params[paramRefused] != "" &&
		(d.state == edgeagent.DeviceStopped || d.state == edgeagent.DeviceMaintenance)
}

// fire takes the machine one step.
func (d *device) fire(on event, now time.Time, cause error) {
	r, known := step(d.state, on)
	if !known {
		return
	}
	if d.state != r.to {
		d.state, d.since = r.to, now
	}
	actions[r.do](d, now, cause)
}

// actions are what the machine's table names.
var actions = map[action]func(d *device, now time.Time, cause error){
	actionPoll:   (*device).poll,
	actionKeep:   func(*device, time.Time, error) {},
	actionForget: func(d *device, _ time.Time, _ error) { d.attempt = 0 },
	actionWait:   (*device).wait,
	actionStop:   (*device).stop,
	actionRest:   (*device).rest,
	actionTry:    (*device).try,
	actionPause:  (*device).pause,
	actionBar:    (*device).bar,
}

// answered tells the machine of a scan that got through. A scan that did not
// wholly convince (doubt) polls on, but does not count as a good one.
func (d *device) answered(now time.Time, doubt bool) {
	d.link, d.lastOK = edgeagent.LinkUp, now
	if d.frost != nil {
		d.link = edgeagent.LinkFrozen
	}
	d.fire(eventAnswered, now, nil)
	switch {
	case doubt:
		d.good = time.Time{}
	case d.good.IsZero():
		d.good = now
	case d.attempt > 0 && now.Sub(d.good) >= steadyAfter:
		d.fire(eventSteady, now, nil)
	}
}

// failed tells the machine that the unit did not answer.
func (d *device) failed(now time.Time, cause error) {
	d.link, d.err, d.good = linkAfter(cause), cause, time.Time{}
	d.errors++
	d.remember('x')
	d.forgetRefusals() // what is away may come back with another program
	d.suspects, d.unconfirmed = 0, 0
	d.missing(edgeagent.NewNote(edgeagent.ReasonNoAnswer, cause.Error()))
	on := eventFailed
	switch {
	case errors.Is(cause, ErrRefused):
		on = eventRefused
	case d.state != edgeagent.DeviceStopped && d.attempt >= d.spec.Retry.Steps():
		on = eventExhausted
	}
	d.fire(on, now, cause)
}

func (d *device) poll(now time.Time, _ error) {
	d.next, d.until, d.pulse.at = time.Time{}, time.Time{}, now
	d.startSlots(now)
	d.found(now)
	if d.standing {
		d.events = append(d.events, edgeagent.DeviceEvent{Kind: edgeagent.DeviceEventResumed, At: now, By: d.resumer, Reason: d.reason})
	}
	d.standing, d.reason, d.resumer = false, nil, ""
	d.note(now, "polling", edgeagent.NewNote("answered", "answers"))
}

func (d *device) wait(now time.Time, cause error) {
	d.attempt++
	wait := d.spec.Retry.Jittered(d.attempt)
	d.next = now.Add(wait)
	note := edgeagent.NewNote(edgeagent.ReasonNoAnswer, "not read: "+cause.Error(),
		"attempt", strconv.Itoa(d.attempt), "next_try_in_s", strconv.FormatFloat(wait.Seconds(), 'f', -1, 64))
	d.mark, d.grade = note, edgeagent.QualityUncertain
	d.note(now, "retrying", note)
}

func (d *device) stop(now time.Time, cause error) {
	d.attempt++
	d.reason = stopReason(d.attempt, cause)
	d.thaw(now, "stopped: nothing is known of it any more")
	d.standing, d.resumer = true, ""
	d.next = now.Add(d.spec.ResumeEvery)
	d.mark, d.grade = d.reason, edgeagent.QualityBad
	d.events = append(d.events, edgeagent.DeviceEvent{Kind: edgeagent.DeviceEventStopped, At: now, Reason: d.reason})
	d.note(now, "stopped", d.reason)
}

func stopReason(attempts int, cause error) *edgeagent.Note {
	n := strconv.Itoa(attempts)
	if errors.Is(cause, ErrRefused) {
		return edgeagent.NewNote(edgeagent.ReasonDeviceStopped,
			fmt.Sprintf("%v; not tried again before a person resumes it, for that can lock an account", cause),
			"attempts", n, "error", cause.Error(), paramRefused, "true")
	}
	return edgeagent.NewNote(edgeagent.ReasonDeviceStopped,
		fmt.Sprintf("%d attempts failed, the last with: %v", attempts, cause), "attempts", n, "error", cause.Error())
}

// rest keeps to the grid of probes: one a period, whatever a probe took. What
// the probe could read before it failed must not stay good: nobody reads on.
func (d *device) rest(now time.Time, _ error) {
	d.mark, d.grade = d.reason, edgeagent.QualityBad
	d.next = gridAfter(d.next, d.spec.ResumeEvery, now)
}

func (d *device) try(now time.Time, _ error) {
	d.attempt, d.next = 0, time.Time{}
	text := "resumed by " + d.resumer
	switch {
	case d.resumer == "":
		text = "the maintenance is over"
	case d.because != "":
		text += ": " + d.because
	}
	d.note(now, "resumed", edgeagent.NewNote("resumed", text, "by", d.resumer, "reason", d.because))
	d.because = ""
}

// gridAfter returns the first of start, start+period, … that is after now.
func gridAfter(start time.Time, period time.Duration, now time.Time) time.Time {
	if period <= 0 || start.After(now) {
		return start
	}
	return start.Add((now.Sub(start)/period + 1) * period)
}

func (d *device) note(now time.Time, event string, detail *edgeagent.Note) {
	if len(d.log) == logEntries {
		d.log = append(d.log[:0], d.log[1:]...)
	}
	d.log = append(d.log, edgeagent.LogEntry{At: now, Event: event, Detail: detail})
}

// remember adds the outcome of a scan to the last ones.
func (d *device) remember(mark byte) {
	if len(d.recent) == recentScans {
		d.recent = append(d.recent[:0], d.recent[1:]...)
	}
	d.recent = append(d.recent, mark)
}

// memory returns what a restart must know. A healthy device has nothing to
// remember, so that healthy scanning saves nothing.
func (d *device) memory() edgeagent.DeviceMemory {
	m := edgeagent.DeviceMemory{Device: d.spec.Name, Key: d.spec.Key, State: edgeagent.DevicePolling, Attempt: d.attempt}
	switch {
	case d.standing:
		m.Reason = d.reason // a reason outside stopped: resumed by a person, and not answered yet
	case d.frost != nil:
		m.Reason = d.frost
	}
	switch {
	case d.state == edgeagent.DeviceStopped:
		m.State = edgeagent.DeviceStopped
	case d.state == edgeagent.DeviceMaintenance:
		m.State, m.Until = edgeagent.DeviceMaintenance, d.until
	case d.attempt > 0 || d.standing:
		m.State = edgeagent.DeviceRetrying
	}
	return m
}

// unsaved returns the memory to be saved, if it is not what was saved last.
func (d *device) unsaved(now time.Time) (edgeagent.DeviceMemory, bool) {
	m := d.memory()
	if d.off() || m == d.saved {
		return m, false
	}
	d.saved = m
	if m.Since = now; m.State == edgeagent.DeviceStopped || m.State == edgeagent.DeviceMaintenance {
		m.Since = d.since // the probes keep to the grid that began with the stop
	}
	return m, true
}

// restore takes up where the last run ended. What was remembered of another
// connection does not count any more; only its alarm still waits to be cleared.
func (d *device) restore(m edgeagent.DeviceMemory, now time.Time) {
	if d.off() {
		return
	}
	same := m.Key == d.spec.Key
	if m.Reason.Is(edgeagent.ReasonFrozen) {
		d.restoreFrost(m, now)
	} else {
		d.reason, d.standing = m.Reason, m.Reason != nil
	}
	if !same {
		d.saved = m // to be replaced: or it would count again when the connection is changed back
		return
	}
	d.attempt, d.since = m.Attempt, m.Since
	switch {
	case m.State == edgeagent.DeviceMaintenance:
		d.restoreMaintenance(m, now)
	case m.State == edgeagent.DeviceStopped:
		d.state = edgeagent.DeviceStopped
		d.next = resumeGrid(m.Since, d.spec.ResumeEvery, now)
		d.mark, d.grade = d.reason, edgeagent.QualityBad
		// Told again: a power cut may have come before the alarm was stored.
		d.events = append(d.events, edgeagent.DeviceEvent{Kind: edgeagent.DeviceEventStopped, At: m.Since, Reason: d.reason})
	case m.State == edgeagent.DeviceRetrying && m.Attempt > 0:
		d.state = edgeagent.DeviceRetrying
		d.next = now.Add(restOf(m.Since, d.spec.Retry.Wait(m.Attempt), now))
	}
	d.saved, d.logged = m, d.state
	d.saved.Since = time.Time{} // what the configuration has ended meanwhile is replaced, too
}

// restoreFrost goes on with a standstill, which is told again as a stop is:
// whether its alarm was stored nobody knows.
func (d *device) restoreFrost(m edgeagent.DeviceMemory, now time.Time) {
	d.frost = m.Reason
	if m.Key != d.spec.Key || d.pulse.tag < 0 {
		d.thaw(now, "the connection or its heartbeat was changed")
		return
	}
	d.events = append(d.events, edgeagent.DeviceEvent{Kind: edgeagent.DeviceEventFrozen, At: m.Since, Reason: d.frost})
}

// restOf returns how much of a wait that began at since is left. A clock that
// was set back leaves all of it: a wait is never longer than it was.
func restOf(since time.Time, wait time.Duration, now time.Time) time.Duration {
	left := since.Add(wait).Sub(now)
	return min(max(left, 0), wait)
}

// resumeGrid keeps the probes of a device one period apart over a restart, by
// the wall clock; a clock that cannot be right costs one whole period.
func resumeGrid(since time.Time, period time.Duration, now time.Time) time.Time {
	if since.IsZero() || since.After(now) {
		return now.Add(period)
	}
	return now.Add(gridAfter(since.Add(period), period, now).Sub(now)) // by the monotonic clock from here on
}
