package queue

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"edgeagent"
)

// occurrences is how many past activations of an alarm are found again.
const occurrences = 8

// Record stores transitions in one commit: alarms, evidence, hints, jobs and
// events. It may be repeated: a transition whose alarm is stored with the same
// or a higher revision changes nothing. It sets Job and LastTime of a raise and
// returns the alarms as they are stored, one per transition.
//
// It returns ErrFull when the file takes no new work, and ErrConflict when an
// idempotency key came with another body before; then nothing of ts is stored.
func (db *DB) Record(ctx context.Context, ts []edgeagent.Transition) ([]edgeagent.Alarm, error) {
	if len(ts) == 0 {
		return nil, nil
	}
	out, frozen := make([]edgeagent.Alarm, len(ts)), []frozenRaise(nil)
	err := db.doPrepared(ctx, "record alarms", func() { frozen = db.freezeAll(ts) }, func(b *batch) error {
		for i := range ts {
			stored, err := b.record(&ts[i], frozen[i])
			if err != nil {
				return fmt.Errorf("alarm %s: %w", ts[i].Alarm.Name(), err)
			}
			out[i] = stored
		}
		return failpoint("record")
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// A frozenRaise is what a transition stores, encoded by who asks: the committer
// serves everybody and must not be kept.
type frozenRaise struct {
	alarm    frozenAlarm
	evidence []byte              // its record; nil without any
	told     *edgeagent.Evidence // what it says
	err      error
}

func (db *DB) freezeAll(ts []edgeagent.Transition) []frozenRaise {
	out := make([]frozenRaise, len(ts))
	for i := range ts {
		t, f := &ts[i], &out[i]
		if f.alarm, f.err = freezeAlarm(t.Alarm); f.err == nil && t.Evidence != nil {
			f.told = t.Evidence
			f.err = db.freezeEvidence(t.Alarm.ID, f)
		}
	}
	return out
}

// sheets are what evidence is written on before its record is made of it.
var sheets = sync.Pool{New: func() any { return new([]byte) }}

// freezeEvidence encodes what was known at the raise, up to the record: it is most
// of what a raise stores.
func (db *DB) freezeEvidence(id edgeagent.ID, f *frozenRaise) (err error) {
	sheet := sheets.Get().(*[]byte)
	defer sheets.Put(sheet)
	body, ok := appendEvidence((*sheet)[:0], f.told)
	*sheet = body
	if !ok {
		body, err = db.freezeOddEvidence(id, f)
	}
	f.evidence = encodeRecord(bucketBodies, part(id, partEvidence), 0, body)
	return err
}

// freezeOddEvidence packs evidence as encoding/json has it. A number that JSON
// cannot write must not cost the alarm: it goes on without evidence, and says so.
func (db *DB) freezeOddEvidence(id edgeagent.ID, f *frozenRaise) ([]byte, error) {
	text, err := json.Marshal(f.told)
	if _, unwritable := errors.AsType[*json.UnsupportedValueError](err); unwritable {
		db.options.Load().Log.Error("evidence cannot be written and is left out", "alarm", id, "error", err)
		e := f.told
		f.told = &edgeagent.Evidence{At: e.At, WindowS: e.WindowS, HistorySince: e.HistorySince, Gaps: []string{"evidence could not be written"}}
		text, err = json.Marshal(f.told)
	}
	return pack(text), err
}

// record stores one transition.
func (b *batch) record(t *edgeagent.Transition, f frozenRaise) (edgeagent.Alarm, error) {
	if f.err != nil {
		return edgeagent.Alarm{}, f.err
	}
	if t.Key != "" {
		if a, seen, err := b.seen(t); err != nil || seen {
			return a, err
		}
	}
	before, err := b.storedBefore(t)
	known := !errors.Is(err, edgeagent.ErrNotFound)
	if known && (err != nil || before.Revision >= t.Alarm.Revision) {
		return before, err
	}
	a, name := t.Alarm, occasionOf(t.Alarm)
	if known {
		err = inherit(&a, before, &f)
	} else {
		err = b.admit(t, &a, name, f)
	}
	if err != nil {
		return edgeagent.Alarm{}, err
	}
	stored, err := f.alarm.with(a.Job, a.LastTime)
	if err != nil {
		return edgeagent.Alarm{}, err
	}
	if err := b.putAlarm(&a, name, stored); err != nil {
		return edgeagent.Alarm{}, err
	}
	return a, b.tell(t, &a, stored)
}

// storedBefore returns the alarm of a transition as it is stored. One that cannot be
// read is stored anew as the transition tells it: to be refused would keep all
// others waiting that come behind it.
func (b *batch) storedBefore(t *edgeagent.Transition) (edgeagent.Alarm, error) {
	a, err := b.alarm(t.Alarm.ID)
	if errors.Is(err, errDamaged) {
		b.o.Log.Error("an alarm cannot be read and is stored anew", "alarm", t.Alarm.ID, "error", err)
		return edgeagent.Alarm{Job: t.Alarm.Job, LastTime: t.Alarm.LastTime}, nil
	}
	return a, err
}

// seen returns the alarm that another transition with the same idempotency key
// has made.
func (b *batch) seen(t *edgeagent.Transition) (edgeagent.Alarm, bool, error) {
	var k keyed
	err := b.getJSON(bucketKeys, idempotencyKey(t.Key), &k)
	switch {
	case errors.Is(err, edgeagent.ErrNotFound), errors.Is(err, errDamaged): // as ByKey has it
		return edgeagent.Alarm{}, false, nil
	case err != nil:
		return edgeagent.Alarm{}, false, err
	case k.Alarm == t.Alarm.ID && k.Hash == t.KeyHash:
		return edgeagent.Alarm{}, false, nil // its own: the revision decides
	}
	a, err := b.alarm(k.Alarm)
	switch {
	case errors.Is(err, edgeagent.ErrNotFound), errors.Is(err, errDamaged):
		return edgeagent.Alarm{}, false, nil // lost with a damaged page: the key is free, as for ByKey
	case err == nil && k.Hash != t.KeyHash:
		return edgeagent.Alarm{}, false, fmt.Errorf("idempotency key was used with another body: %w", edgeagent.ErrConflict)
	}
	return a, err == nil, err
}

// putKey stores an idempotency key, so that each finds the other: the alarm by
// its key, and the key that has to go with the alarm.
func (b *batch) putKey(id edgeagent.ID, t *edgeagent.Transition) error {
	key := idempotencyKey(t.Key)
	return errors.Join(
		b.putJSON(bucketKeys, key, 0, keyed{id, t.KeyHash}),
		b.put(bucketBodies, part(id, partKey), 0, []byte(key)))
}

// keyed is the record of an idempotency key.
type keyed struct {
	Alarm edgeagent.ID `json:"alarm"`
	Hash  string       `json:"hash"`
}

// inherit keeps what only this room knows: the engine's copy of an alarm never
// sees its job.
func inherit(a *edgeagent.Alarm, before edgeagent.Alarm, f *frozenRaise) (err error) {
	a.Job, a.LastTime = before.Job, before.LastTime
	if a.Hint == nil && before.Hint != nil {
		a.Hint = before.Hint
		f.alarm, err = freezeAlarm(*a)
	}
	return err
}

// admit takes in an alarm that was not known.
func (b *batch) admit(t *edgeagent.Transition, a *edgeagent.Alarm, name occasion, f frozenRaise) error {
	if _, err := edgeagent.ParseID(string(a.ID)); err != nil {
		return err
	}
	if err := b.room(a.Priority); err != nil {
		return err
	}
	a.LastTime = b.lastTime(name, a.ID)
	if t.Key != "" {
		if err := b.putKey(a.ID, t); err != nil {
			return err
		}
	}
	b.raised = true
	b.remember(a, name)
	if a.Diagnose && !b.acceptsJob(a) {
		return nil // its hint is its answer; evidence is for a diagnosis
	}
	if f.evidence != nil {
		b.putRecord(bucketBodies, part(a.ID, partEvidence), f.evidence)
	}
	if a.Diagnose {
		return b.assignJob(a, t.At, f.told)
	}
	return nil
}

// remember notes a raise for LastTime, for the flood and for those it may be
// related to.
func (b *batch) remember(a *edgeagent.Alarm, name occasion) {
	id := rawOf(a.ID)
	b.w.known.add(id)
	if hiding, found := b.w.hiding(name); found {
		b.forgetAlarm(hiding)
	}
	b.db.raisedMu.Lock()
	if last, known := b.w.raised[name]; known {
		set(b, b.w.before, name, earlier(b.w.before[name], last))
	}
	set(b, b.w.raised, name, id)
	b.db.raisedMu.Unlock()
	assign(b, &b.w.recent, slide(b.w.recent, b.now, floodAlarms+1))
	set(b, b.w.lines, a.Line, sight(b.w.lines[a.Line], a.ID, a.RaisedAt, b.now))
}

// putAlarm stores an alarm as it was frozen, and keeps it when it is at hand: it
// must not be changed any more.
func (b *batch) putAlarm(a *edgeagent.Alarm, name occasion, stored [2][]byte) error {
	h := headOf(a, name)
	if err := b.put(bucketAlarms, string(a.ID), uint32(a.Revision), h.encode(), stored[0], stored[1]); err != nil {
		return err
	}
	if !b.w.atHand(rawOf(a.ID), h) {
		b.forgetAlarm(a.ID)
		return nil
	}
	b.alarms[a.ID] = struct{}{}
	set(b, b.w.alarms, a.ID, a)
	return nil
}

// forgetAlarm takes an alarm out of those at hand.
func (b *batch) forgetAlarm(id edgeagent.ID) {
	b.alarms[id] = struct{}{}
	remove(b, b.w.alarms, id)
}

// alarm returns a stored alarm with its hint.
func (b *batch) alarm(id edgeagent.ID) (edgeagent.Alarm, error) {
	if a, open := b.w.alarms[id]; open {
		return *a, nil
	}
	if !b.w.known.mayBe(rawOf(id)) {
		return edgeagent.Alarm{}, edgeagent.ErrNotFound // no more is said: a storm asks for every alarm of it
	}
	return alarmOf(b.getJSON, id)
}

// alarmOf reads an alarm. In files of schema 1 its hint lies beside it.
func alarmOf(get func(kind byte, key string, v any) error, id edgeagent.ID) (a edgeagent.Alarm, err error) {
	if err := get(bucketAlarms, string(id), &a); err != nil {
		return edgeagent.Alarm{}, err
	}
	if a.Hint == nil {
		a.Hint, err = optional[edgeagent.Diagnosis](get, bucketBodies, part(id, partHint))
	}
	return a, err
}

// optional returns nil for a record that is not there.
func optional[T any](get func(bucket byte, key string, v any) error, bucket byte, key string) (*T, error) {
	v := new(T)
	err := get(bucket, key, v)
	if errors.Is(err, edgeagent.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return v, nil
}

// alarmEvents says which transitions leave the site. Unshelving is sent as
// alarm.shelved too: its data then has no shelved_until.
var alarmEvents = map[edgeagent.TransitionKind]edgeagent.EventType{
	edgeagent.TransitionRaised:    edgeagent.EventAlarmRaised,
	edgeagent.TransitionCleared:   edgeagent.EventAlarmCleared,
	edgeagent.TransitionAcked:     edgeagent.EventAlarmAcked,
	edgeagent.TransitionShelved:   edgeagent.EventAlarmShelved,
	edgeagent.TransitionUnshelved: edgeagent.EventAlarmShelved,
}

var deviceEvents = map[edgeagent.DeviceEventKind]edgeagent.EventType{
	edgeagent.DeviceEventStopped: edgeagent.EventDeviceStopped,
	edgeagent.DeviceEventResumed: edgeagent.EventDeviceResumed,
}

// tell writes the events of a transition.
func (b *batch) tell(t *edgeagent.Transition, a *edgeagent.Alarm, stored [2][]byte) error {
	if typ, sent := alarmEvents[t.Kind]; sent {
		if err := b.emitFrozen(outgoing{typ, a.ID, a.Revision, a.Line, t.At, nil}, stored); err != nil {
			return err
		}
	}
	if t.Device == nil {
		return nil
	}
	typ, sent := deviceEvents[t.Device.Kind]
	if !sent {
		return nil
	}
	data := deviceData{Name: a.Device, Line: a.Line, State: t.Device.Kind, At: t.Device.At, By: t.Device.By, Reason: t.Device.Reason, Alarm: a.ID}
	return b.emit(outgoing{typ, a.ID, a.Revision, a.Line, t.Device.At, data})
}

// deviceData is the device object of an event.
type deviceData struct {
	Name   string                    `json:"name"`
	Line   string                    `json:"line"`
	State  edgeagent.DeviceEventKind `json:"state"`
	At     time.Time                 `json:"at"`
	By     string                    `json:"by,omitempty"`
	Reason *edgeagent.Note           `json:"reason"`
	Alarm  edgeagent.ID              `json:"alarm"`
}

// token returns a lease's token as it travels.
func token(raw [16]byte) string { return hex.EncodeToString(raw[:]) }
