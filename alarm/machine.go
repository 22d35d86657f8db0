package alarm

import (
	"fmt"
	"time"

	"edgeagent"
)

// event is what happens to an activation.
type event string

const (
	rise        event = "condition true"
	fall        event = "condition false"
	acknowledge event = "acknowledge"
	shelve      event = "shelve"
	unshelve    event = "unshelve"
	mark        event = "mark" // value lost or found, suppressed or not; a server's severity or text changed
	remove      event = "definition gone"
	unsee       event = "not acknowledged any more"
	vanish      event = "no longer retained" // the server does not speak of it any more
)

// family says for whose alarms a row is: those of the plant return to normal by
// themselves, for their acknowledgement lives on the panel; the agent's own
// always want one; those of an OPC UA server have the server's.
type family string

const (
	every   family = ""
	plants  family = "plant's"
	agents  family = "agent's own"
	servers family = "server's"
	lasting family = "agent's own, server's" // what waits to be seen after it cleared
)

func (f family) has(o edgeagent.Origin) bool {
	switch own := familyOf(o); f {
	case every:
		return true
	case lasting:
		return own != plants
	default:
		return f == own
	}
}

type step struct {
	from   edgeagent.AlarmState
	event  event
	of     family
	to     edgeagent.AlarmState
	kind   edgeagent.TransitionKind
	action string
}

// steps is the state machine of one activation (ISA-18.2, mode mirror). What is
// not in it is a conflict.
var steps = []step{
	{edgeagent.AlarmNormal, rise, every, edgeagent.AlarmUnacked, edgeagent.TransitionRaised, "raise with values and evidence"},
	{edgeagent.AlarmUnacked, acknowledge, every, edgeagent.AlarmAcked, edgeagent.TransitionAcked, "note who has seen it"},
	{edgeagent.AlarmUnacked, fall, plants, edgeagent.AlarmNormal, edgeagent.TransitionCleared, "close"},
	{edgeagent.AlarmUnacked, fall, lasting, edgeagent.AlarmClearedUnacked, edgeagent.TransitionCleared, "wait for somebody to see it"},
	{edgeagent.AlarmAcked, fall, every, edgeagent.AlarmNormal, edgeagent.TransitionCleared, "close"},
	{edgeagent.AlarmClearedUnacked, acknowledge, lasting, edgeagent.AlarmNormal, edgeagent.TransitionAcked, "close"},
	{edgeagent.AlarmClearedUnacked, rise, lasting, edgeagent.AlarmNormal, edgeagent.TransitionMarked, "close; the next activation takes its place"},
	{edgeagent.AlarmUnacked, shelve, every, edgeagent.AlarmUnacked, edgeagent.TransitionShelved, "hide until a time"},
	{edgeagent.AlarmAcked, shelve, every, edgeagent.AlarmAcked, edgeagent.TransitionShelved, "hide until a time"},
	{edgeagent.AlarmUnacked, unshelve, every, edgeagent.AlarmUnacked, edgeagent.TransitionUnshelved, "show again"},
	{edgeagent.AlarmAcked, unshelve, every, edgeagent.AlarmAcked, edgeagent.TransitionUnshelved, "show again"},
	{edgeagent.AlarmClearedUnacked, unshelve, lasting, edgeagent.AlarmClearedUnacked, edgeagent.TransitionUnshelved, "show again"},
	{edgeagent.AlarmUnacked, mark, every, edgeagent.AlarmUnacked, edgeagent.TransitionMarked, "value lost or found, suppressed or not, told anew"},
	{edgeagent.AlarmAcked, mark, every, edgeagent.AlarmAcked, edgeagent.TransitionMarked, "value lost or found, suppressed or not, told anew"},
	{edgeagent.AlarmUnacked, remove, every, edgeagent.AlarmNormal, edgeagent.TransitionCleared, "close as removed"},
	{edgeagent.AlarmAcked, remove, every, edgeagent.AlarmNormal, edgeagent.TransitionCleared, "close as removed"},
	{edgeagent.AlarmClearedUnacked, remove, lasting, edgeagent.AlarmNormal, edgeagent.TransitionMarked, "close as removed"},
	{edgeagent.AlarmAcked, unsee, servers, edgeagent.AlarmUnacked, edgeagent.TransitionMarked, "forget who has seen it"},
	{edgeagent.AlarmUnacked, vanish, servers, edgeagent.AlarmNormal, edgeagent.TransitionCleared, "close"},
	{edgeagent.AlarmAcked, vanish, servers, edgeagent.AlarmNormal, edgeagent.TransitionCleared, "close"},
	{edgeagent.AlarmClearedUnacked, vanish, servers, edgeagent.AlarmNormal, edgeagent.TransitionMarked, "close"},
}

// Machine returns the state machine of an alarm, to be drawn.
func Machine() []edgeagent.Step {
	out := make([]edgeagent.Step, len(steps))
	for i, s := range steps {
		name := string(s.event)
		if s.of != every {
			name += " (" + string(s.of) + ")"
		}
		out[i] = edgeagent.Step{From: string(s.from), Event: name, To: string(s.to), Action: s.action}
	}
	return out
}

func familyOf(o edgeagent.Origin) family {
	switch o {
	case edgeagent.OriginAgent:
		return agents
	case edgeagent.OriginServer:
		return servers
	default:
		return plants
	}
}

// next returns the row for an event, or a conflict.
func next(a edgeagent.Alarm, ev event) (step, error) {
	for _, s := range steps {
		if s.from == a.State && s.event == ev && s.of.has(a.Origin) {
			return s, nil
		}
	}
	return step{}, fmt.Errorf("%s alarm %s, which is %s: %w", ev, a.Name(), a.State, edgeagent.ErrConflict)
}

// advance applies an event to a, sets the times that belong to it and counts
// the revision. The alarm is not touched where the event does not fit.
func advance(a *edgeagent.Alarm, ev event, now time.Time) (edgeagent.Transition, error) {
	s, err := next(*a, ev)
	if err != nil {
		return edgeagent.Transition{}, err
	}
	at := now.Round(0)
	switch s.kind {
	case edgeagent.TransitionRaised:
		a.RaisedAt = at
	case edgeagent.TransitionCleared:
		a.ClearedAt = &at
	case edgeagent.TransitionAcked:
		a.AckedAt = &at
	default: // has no time of its own
	}
	a.State = s.to
	a.Revision++
	return edgeagent.Transition{Kind: s.kind, At: at, From: s.from, Alarm: *a}, nil
}
