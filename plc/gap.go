package plc

import (
	"time"

	"edgeagent"
)

// lossEvery bounds how often a server that loses values all the time is told
// of: events never drop.
const lossEvery = time.Minute

// loss is what a server lost of its own and nobody was told of yet.
type loss struct {
	from time.Time // zero: nothing
	said time.Time
}

// missing notes that from now on values are missing, unless they are already.
func (d *device) missing(why *edgeagent.Note) {
	if d.gapAt.IsZero() && !d.lastOK.IsZero() {
		d.gapAt, d.gapWhy = d.lastOK, why
	}
}

// found ends the gap, if there is one.
func (d *device) found(now time.Time) {
	if d.gapAt.IsZero() {
		return
	}
	d.gaps++
	d.events = append(d.events, edgeagent.DeviceEvent{Kind: edgeagent.DeviceEventGap, From: d.gapAt, At: now, Reason: d.gapWhy})
	d.gapAt, d.gapWhy = time.Time{}, nil
}

// lost notes that a server lost values since from.
func (d *device) lost(from time.Time) {
	d.gaps++
	if d.loss.from.IsZero() {
		d.loss.from = from
	}
}

// tellLoss adds what was lost to the events, once a while for all of it.
func (d *device) tellLoss(now time.Time) {
	if d.loss.from.IsZero() || !d.loss.said.IsZero() && now.Sub(d.loss.said) < lossEvery {
		return
	}
	d.events = append(d.events, edgeagent.DeviceEvent{
		Kind: edgeagent.DeviceEventGap, From: d.loss.from, At: now,
		Reason: edgeagent.NewNote(edgeagent.ReasonOverflow, "the server lost values before it could tell them"),
	})
	d.loss = loss{said: now}
}
