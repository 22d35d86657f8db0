package upsync

import "edgeagent"

// event is what a send came to.
type event string

const (
	accepted event = "accepted"  // a valid receipt
	halfway  event = "halfway"   // a heartbeat is answered, but no event was taken when it was up last
	noAnswer event = "no_answer" // nobody there, or too slow
	busy     event = "busy"      // it answers: later
	lost     event = "lost"      // the third failure of these two kinds in a row, and every one after it
	unfit    event = "unfit"     // it answers: not this
	refused  event = "refused"   // it answers: not you; or somebody else answers
)

// action is what is done about it.
type action string

const (
	goOn     action = "go on"
	resume   action = "spread the start, pace the backlog"
	try      action = "send events; it is up when it takes them"
	backOff  action = "back off, then heartbeat"
	slowDown action = "wait as asked, send the same slower"
	halve    action = "halve the batch; park the one event that is left"
	hold     action = "heartbeat in 5 min"
)

// giveUp is the number of failures in a row that make an upstream down.
const giveUp = 3

// machine is the whole behaviour. Every state but up sends heartbeats only: the
// probe is a real request, and the backlog never meets an endpoint that has
// not just answered one. An upstream that takes heartbeats and no events, because
// its disk is full or something on the way swallows what is large, is not up.
var machine = []struct {
	from edgeagent.UpstreamState
	on   event
	to   edgeagent.UpstreamState
	do   action
}{
	{edgeagent.UpstreamUp, accepted, edgeagent.UpstreamUp, goOn},
	{edgeagent.UpstreamUp, busy, edgeagent.UpstreamUp, slowDown},
	{edgeagent.UpstreamUp, unfit, edgeagent.UpstreamUp, halve},
	{edgeagent.UpstreamUp, noAnswer, edgeagent.UpstreamProbing, backOff},
	{edgeagent.UpstreamUp, lost, edgeagent.UpstreamDown, backOff},
	{edgeagent.UpstreamUp, refused, edgeagent.UpstreamPaused, hold},

	{edgeagent.UpstreamProbing, accepted, edgeagent.UpstreamUp, resume},
	{edgeagent.UpstreamProbing, halfway, edgeagent.UpstreamProbing, try},
	{edgeagent.UpstreamProbing, unfit, edgeagent.UpstreamUp, resume}, // it answers; the events will show what it wants
	{edgeagent.UpstreamProbing, busy, edgeagent.UpstreamProbing, backOff},
	{edgeagent.UpstreamProbing, noAnswer, edgeagent.UpstreamProbing, backOff},
	{edgeagent.UpstreamProbing, lost, edgeagent.UpstreamDown, backOff},
	{edgeagent.UpstreamProbing, refused, edgeagent.UpstreamPaused, hold},

	{edgeagent.UpstreamDown, accepted, edgeagent.UpstreamUp, resume},
	{edgeagent.UpstreamDown, halfway, edgeagent.UpstreamDown, try},
	{edgeagent.UpstreamDown, unfit, edgeagent.UpstreamUp, resume},
	{edgeagent.UpstreamDown, lost, edgeagent.UpstreamDown, backOff},
	{edgeagent.UpstreamDown, refused, edgeagent.UpstreamPaused, hold},

	{edgeagent.UpstreamPaused, accepted, edgeagent.UpstreamUp, resume},
	{edgeagent.UpstreamPaused, halfway, edgeagent.UpstreamPaused, try},
	{edgeagent.UpstreamPaused, unfit, edgeagent.UpstreamUp, resume},
	{edgeagent.UpstreamPaused, busy, edgeagent.UpstreamProbing, backOff},
	{edgeagent.UpstreamPaused, noAnswer, edgeagent.UpstreamProbing, backOff},
	{edgeagent.UpstreamPaused, refused, edgeagent.UpstreamPaused, hold},
}

// Machine returns the table of the upstream's states, to be drawn.
func Machine() []edgeagent.Step {
	steps := make([]edgeagent.Step, len(machine))
	for i, r := range machine {
		steps[i] = edgeagent.Step{From: string(r.from), Event: string(r.on), To: string(r.to), Action: string(r.do)}
	}
	return steps
}
