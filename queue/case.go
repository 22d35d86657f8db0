package queue

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"edgeagent"
)

const (
	relatedWindow = 10 * time.Minute
	maxRelated    = 50 // a flood must not fill the prompt
	maxSearched   = 500
)

// freeze returns the case of a job: the stored one, or a new one that is stored
// now. Whether it may leave the site is asked each time, for a person may have
// forbidden it since.
func (b *batch) freeze(j job) (edgeagent.Case, error) {
	if j.Frozen {
		stored, err := optional[edgeagent.Case](b.getJSON, bucketBodies, part(j.id, partCase))
		if err != nil && !errors.Is(err, errDamaged) {
			return edgeagent.Case{}, err
		}
		if stored != nil {
			stored.Outside = stored.Outside && b.o.Outside(stored.Line)
			return *stored, nil
		}
		b.o.Log.Warn("the stored case cannot be read and is made again", "job", j.id, "error", err)
	}
	c, err := b.buildCase(j)
	if err != nil {
		return edgeagent.Case{}, err
	}
	return c, b.putJSON(bucketBodies, part(j.id, partCase), 0, c)
}

func (b *batch) buildCase(j job) (edgeagent.Case, error) {
	c := edgeagent.Case{
		Job: j.id, At: b.now, Site: b.o.Site, Line: j.group.Line, Area: b.o.Area(j.group.Line),
		Outside: b.o.Outside(j.group.Line), Language: b.o.Language,
	}
	ids, err := b.alarmsOf(j.id)
	if err != nil {
		return c, err
	}
	for _, id := range ids {
		a, err := b.caseAlarm(id)
		if errors.Is(err, edgeagent.ErrNotFound) || errors.Is(err, errDamaged) {
			b.o.Log.Error("an alarm of a job cannot be read and is left out", "job", j.id, "alarm", id, "error", err)
			continue
		}
		if err != nil {
			return c, err
		}
		c.Alarms = append(c.Alarms, a)
	}
	if len(c.Alarms) == 0 {
		return c, fmt.Errorf("none of its alarms can be read: %w", errDamaged)
	}
	slices.SortStableFunc(c.Alarms, firstOutFirst)
	c.Related, err = b.related(j.group.Line, ids)
	return c, err
}

// caseAlarm returns an alarm with its evidence. Evidence that cannot be read is
// left out and said: an alarm without it still gets its answer.
func (b *batch) caseAlarm(id edgeagent.ID) (edgeagent.CaseAlarm, error) {
	a, err := b.alarm(id)
	if err != nil {
		return edgeagent.CaseAlarm{}, err
	}
	e, err := optional[edgeagent.Evidence](b.getJSON, bucketBodies, part(id, partEvidence))
	if errors.Is(err, errDamaged) {
		b.o.Log.Error("evidence cannot be read and is left out", "alarm", id, "error", err)
		return edgeagent.CaseAlarm{Alarm: a, Evidence: &edgeagent.Evidence{At: a.RaisedAt, Gaps: []string{"evidence was damaged on disk"}}}, nil
	}
	return edgeagent.CaseAlarm{Alarm: a, Evidence: e}, err
}

func firstOutFirst(x, y edgeagent.CaseAlarm) int {
	if x.Alarm.FirstOut != y.Alarm.FirstOut {
		if x.Alarm.FirstOut {
			return -1
		}
		return 1
	}
	return oldestFirst(x.Alarm, y.Alarm)
}

func oldestFirst(x, y edgeagent.Alarm) int {
	return cmp.Or(x.RaisedAt.Compare(y.RaisedAt), strings.Compare(string(x.ID), string(y.ID)))
}

// related returns the other alarms of the line that rose in the last ten minutes.
func (b *batch) related(line string, own []edgeagent.ID) ([]edgeagent.Alarm, error) {
	found := make(map[edgeagent.ID]edgeagent.Alarm)
	take := func(a edgeagent.Alarm) {
		if a.Line == line && b.now.Sub(a.RaisedAt) <= relatedWindow && !slices.Contains(own, a.ID) {
			a.Hint = nil
			found[a.ID] = a
		}
	}
	if err := b.recentAlarms(take); err != nil {
		return nil, err
	}
	for _, a := range b.w.alarms { // newer than the file, and those raised in this batch
		take(a)
	}
	out := make([]edgeagent.Alarm, 0, len(found))
	for _, a := range found {
		out = append(out, a)
	}
	slices.SortFunc(out, oldestFirst)
	return out[max(0, len(out)-maxRelated):], nil
}

// recentAlarms visits the newest alarms in the file. Their ids tell their age.
func (b *batch) recentAlarms(visit func(edgeagent.Alarm)) error {
	tx, err := b.reader()
	if err != nil {
		return err
	}
	r, err := rowsOf(tx, bucketAlarms)
	if err != nil {
		return err
	}
	for n, ok := 0, r.last(); ok && n < maxSearched; n, ok = n+1, r.prev() {
		if b.now.Sub(edgeagent.ID(r.key).Time()) > 2*relatedWindow {
			return nil
		}
		var a edgeagent.Alarm
		body, _, err := decodeRecord(bucketAlarms, r.key, bytes.Clone(r.rec))
		if err == nil && unmarshal(bucketAlarms, r.key, body, &a) == nil {
			visit(a) // one that cannot be read is only related: left out
		}
	}
	return nil
}

// alarmsOf returns the alarms of a job, in the order in which they came.
func (b *batch) alarmsOf(id edgeagent.ID) ([]edgeagent.ID, error) {
	var ids []edgeagent.ID
	err := b.scan(bucketBodies, part(id, partTimeline), func(key string, body []byte) error {
		var e edgeagent.TimelineEntry
		if err := unmarshal(bucketBodies, key, body, &e); err != nil {
			return err
		}
		ids = appendAlarm(ids, e)
		return nil
	})
	return ids, err
}

func appendAlarm(ids []edgeagent.ID, e edgeagent.TimelineEntry) []edgeagent.ID {
	if e.Detail == nil || e.Event != "opened" && e.Event != "joined" {
		return ids
	}
	return append(ids, edgeagent.ID(e.Detail.Params[paramAlarm]))
}
