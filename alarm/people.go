package alarm

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"edgeagent"
)

// ErrShelve is wrapped when a shelving has no reason or not a fitting length.
var ErrShelve = errors.New("cannot be shelved so")

// outsidePriority is taken where the other system gives none.
const outsidePriority = 3

// find returns an open alarm. One that was closed lately is a conflict, not
// unknown: somebody just came too late.
func (e *Engine) find(id edgeagent.ID) (*activation, error) {
	if act := e.open[id]; act != nil {
		return act, nil
	}
	if slices.Contains(e.closed, id) {
		return nil, fmt.Errorf("alarm %s is normal already: %w", id, edgeagent.ErrConflict)
	}
	return nil, fmt.Errorf("alarm %s: %w among the open ones", id, edgeagent.ErrNotFound)
}

// Acknowledge notes that somebody has seen an alarm. It wraps
// [edgeagent.ErrNotFound] for an id that is not open and [edgeagent.ErrConflict]
// for one that is acknowledged or normal already, and for a server's: that one is
// acknowledged where the plant does it, and the agent never writes to a PLC.
func (e *Engine) Acknowledge(id edgeagent.ID, by string, now time.Time) (edgeagent.Transition, error) {
	act, err := e.find(id)
	if err != nil {
		return edgeagent.Transition{}, err
	}
	if act.alarm.Origin == edgeagent.OriginServer {
		return edgeagent.Transition{}, fmt.Errorf("alarm %s belongs to the OPC UA server of %s: acknowledge it there, on its panel or in its HMI, and it follows here: %w",
			act.alarm.Name(), act.alarm.Device, edgeagent.ErrConflict)
	}
	if _, err := next(act.alarm, acknowledge); err != nil {
		return edgeagent.Transition{}, err
	}
	act.alarm.AckedBy = by
	return e.by(act, acknowledge, by, now)
}

// Shelve hides an alarm, and its next activations, for d: it always ends. A
// shelved raise wants no diagnosis. Besides the errors of Acknowledge it wraps
// [ErrShelve].
func (e *Engine) Shelve(id edgeagent.ID, by, reason string, d time.Duration, now time.Time) (edgeagent.Transition, error) {
	act, err := e.find(id)
	switch {
	case err != nil:
		return edgeagent.Transition{}, err
	case d <= 0 || d > e.options.MaxShelve:
		return edgeagent.Transition{}, fmt.Errorf("alarm %s for %v: %w; say how long, at most %v", act.alarm.Name(), d, ErrShelve, e.options.MaxShelve)
	case reason == "":
		return edgeagent.Transition{}, fmt.Errorf("alarm %s: %w; give a reason", act.alarm.Name(), ErrShelve)
	}
	if _, err := next(act.alarm, shelve); err != nil {
		return edgeagent.Transition{}, err
	}
	until := now.Add(d)
	e.shelves[keyOf(act.alarm)] = shelf{until: until, reason: reason}
	shown := until.Round(0)
	act.alarm.ShelvedUntil, act.alarm.ShelveReason = &shown, reason
	return e.by(act, shelve, by, now)
}

// Unshelve shows a shelved alarm again. It wraps [edgeagent.ErrConflict] for one
// that is not shelved.
func (e *Engine) Unshelve(id edgeagent.ID, by string, now time.Time) (edgeagent.Transition, error) {
	act, err := e.find(id)
	if err != nil {
		return edgeagent.Transition{}, err
	}
	if act.alarm.ShelvedUntil == nil {
		return edgeagent.Transition{}, fmt.Errorf("alarm %s is not shelved: %w", act.alarm.Name(), edgeagent.ErrConflict)
	}
	delete(e.shelves, keyOf(act.alarm))
	act.alarm.ShelvedUntil, act.alarm.ShelveReason = nil, ""
	return e.by(act, unshelve, by, now)
}

// Outside raises an alarm that another system reports; of a it takes device,
// line, code, texts, priority, hint and whether it wants a diagnosis. Every call
// is a new activation: which calls are the same one said twice is known by their
// idempotency keys, not here.
func (e *Engine) Outside(a edgeagent.Alarm, values map[string]edgeagent.Value, now time.Time) edgeagent.Transition {
	a.Origin, a.Values = edgeagent.OriginOutside, values
	if a.Line == "" {
		a.Line = e.lines[a.Device]
	}
	if a.Area == "" {
		a.Area = e.areas[a.Line]
	}
	a.Observed, a.Revision, a.Removed = edgeagent.ObservedLive, 0, false
	a.ClearedAt, a.AckedAt, a.AckedBy, a.ValueLostSince = nil, nil, "", nil
	if a.Priority == 0 {
		a.Priority = outsidePriority
	}
	_, t := e.begin(a, nil, now)
	return t
}

// ClearOutside ends an alarm that came from outside. It wraps
// [edgeagent.ErrConflict] for any other: those clear by themselves.
func (e *Engine) ClearOutside(id edgeagent.ID, by string, now time.Time) (edgeagent.Transition, error) {
	act, err := e.find(id)
	if err != nil {
		return edgeagent.Transition{}, err
	}
	if act.alarm.Origin != edgeagent.OriginOutside {
		return edgeagent.Transition{}, fmt.Errorf("alarm %s clears by itself when its condition is gone: %w", act.alarm.Name(), edgeagent.ErrConflict)
	}
	return e.by(act, fall, by, now)
}

// by applies what a person did.
func (e *Engine) by(act *activation, ev event, by string, now time.Time) (edgeagent.Transition, error) {
	t, err := e.change(act, ev, now)
	t.By = by
	return t, err
}
