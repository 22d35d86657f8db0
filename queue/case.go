package queue

import (
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
	maxRelated    = 50   // a flood must not fill the prompt
	maxSighted    = 1000 // of a line: its own alarms may be hundreds
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
			err = b.complete(j.id, stored)
			return *stored, err
		}
		b.o.Log.Warn("the stored case cannot be read and is made again", "job", j.id, "error", err)
	}
	c, err := b.buildCase(j)
	if err != nil {
		return edgeagent.Case{}, err
	}
	return c, b.putJSON(bucketBodies, part(j.id, partCase), 0, lean(c))
}

// lean returns a case without what never changes and is kept anyway: the hints
// and the evidence of its alarms.
func lean(c edgeagent.Case) edgeagent.Case {
	c.Alarms = slices.Clone(c.Alarms)
	for i := range c.Alarms {
		c.Alarms[i].Alarm.Hint, c.Alarms[i].Evidence = nil, nil
	}
	return c
}

// complete puts back what lean has left out. A case of schema 1 has it all.
func (b *batch) complete(job edgeagent.ID, c *edgeagent.Case) error {
	for i := range c.Alarms {
		a := &c.Alarms[i]
		if a.Evidence != nil {
			continue
		}
		now, err := b.caseAlarm(job, a.Alarm.ID)
		if errors.Is(err, edgeagent.ErrNotFound) || errors.Is(err, errDamaged) {
			b.o.Log.Error("hint and evidence of an alarm cannot be read and are left out", "job", job, "alarm", a.Alarm.ID, "error", err)
			continue
		}
		if err != nil {
			return err
		}
		a.Alarm.Hint, a.Evidence = now.Alarm.Hint, now.Evidence
	}
	return nil
}

func (b *batch) buildCase(j job) (edgeagent.Case, error) {
	c := edgeagent.Case{
		Job: j.id, At: b.now, Site: b.o.Site, Line: j.Group.Line, Area: b.o.Area(j.Group.Line),
		Outside: b.o.Outside(j.Group.Line), Language: b.o.Language,
	}
	ids, err := b.alarmsOf(j.id)
	if err != nil {
		return c, err
	}
	for _, id := range ids {
		a, err := b.caseAlarm(j.id, id)
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
	c.Related = b.related(j.Group.Line, ids)
	c.Before = b.before(c.First().Alarm)
	return c, nil
}

// caseAlarm returns an alarm with its evidence. Evidence that cannot be read is
// left out and said: an alarm without it still gets its answer.
func (b *batch) caseAlarm(job, id edgeagent.ID) (edgeagent.CaseAlarm, error) {
	a, err := b.alarm(id)
	if err != nil {
		return edgeagent.CaseAlarm{}, err
	}
	if e, known := b.w.opened[job].of(id); known {
		return edgeagent.CaseAlarm{Alarm: a, Evidence: e}, nil
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

// related returns the other alarms of the line that rose in the last ten
// minutes: the newest, when there are many. One that cannot be read is only
// related, and left out.
func (b *batch) related(line string, own []edgeagent.ID) []edgeagent.Alarm {
	mine := make(map[edgeagent.ID]bool, len(own))
	for _, id := range own {
		mine[id] = true
	}
	out := []edgeagent.Alarm{}
	for _, s := range slices.Backward(b.w.lines[line]) {
		if len(out) == maxRelated {
			break
		}
		if mine[s.id] || b.now.Sub(s.at) > relatedWindow {
			continue
		}
		if a, err := b.alarm(s.id); err == nil {
			a.Hint = nil
			out = append(out, a)
		}
	}
	slices.SortFunc(out, oldestFirst)
	return out
}

// alarmsOf returns the alarms of a job, in the order in which they came.
func (b *batch) alarmsOf(id edgeagent.ID) ([]edgeagent.ID, error) {
	if o, known := b.w.opened[id]; known {
		return o.alarms, nil
	}
	var ids []edgeagent.ID
	err := b.scan(part(id, partTimeline), func(key string, body []byte) error {
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
