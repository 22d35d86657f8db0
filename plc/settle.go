package plc

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"edgeagent"
)

// settle draws a device's own conclusions from a pass and returns what is to
// be delivered. What was read before a failure is still delivered, before all
// tags are marked: an alarm in it must not be lost. Not so of a device whose stop
// stands: one good value would end the alarm of it, though nobody reads on.
func (d *device) settle(p *pass, began, now time.Time) []edgeagent.Scan {
	if d.state != edgeagent.DevicePolling {
		p.deliverUnreadable()
	}
	d.listen(p, now)
	d.chill(p.samples)
	scan := p.scan(d, began, now)
	d.took, d.sent = scan.Took, d.sent+uint64(p.sent)
	d.quality = d.grades(p)
	for _, c := range p.classes {
		if c.gave = (time.Time{}); p.got {
			c.gave = now
		}
	}
	if d.state == edgeagent.DevicePolling {
		for _, c := range p.classes {
			d.overruns += c.advance(now)
		}
	}
	if failure := d.failure(p, now); failure != nil {
		alone := len(scan.Samples) == 0 || d.standing
		d.failed(now, failure)
		marked := d.outgoing(now)
		if alone {
			marked.Took, marked.Requests = scan.Took, scan.Requests
			return []edgeagent.Scan{marked}
		}
		return []edgeagent.Scan{scan, marked}
	}
	return []edgeagent.Scan{d.succeeded(p, scan, now)}
}

// doubtful reports whether the device doubts itself and gives no value at all,
// in this pass or in a last one of the other classes that is not long ago. One
// that refuses a block with "device failure" and answers the others is no dead
// device: stopping it would cost all its tags.
func (d *device) doubtful(p *pass, now time.Time) bool {
	return p.faulty != nil && !slices.ContainsFunc(d.classes, func(c class) bool {
		return !c.gave.IsZero() && now.Sub(c.gave) < gaveFor
	})
}

// failure returns why the device counts as not answering, nil if it does not.
func (d *device) failure(p *pass, now time.Time) error {
	doubtful := d.doubtful(p, now)
	if doubtful {
		d.suspects++
	} else {
		d.suspects = 0
	}
	if p.unconfirmed != nil {
		d.unconfirmed++
	} else {
		d.unconfirmed = 0
	}
	switch {
	case p.failed != nil:
		return p.failed
	case p.unconfirmed != nil && (d.state != edgeagent.DevicePolling || d.unconfirmed > unconfirmedFor):
		return p.unconfirmed // who was to show that it answers did not
	case doubtful && d.state != edgeagent.DevicePolling:
		return p.faulty // nor did who says nothing but that it has failed
	case d.suspects >= suspectAfter:
		return fmt.Errorf("%d scans in a row: %w", d.suspects, p.faulty)
	default:
		return nil
	}
}

func (d *device) succeeded(p *pass, scan edgeagent.Scan, now time.Time) edgeagent.Scan {
	d.err = p.err
	mark := byte('|')
	if p.err != nil {
		mark = '.'
		d.errors++
	}
	d.remember(mark)
	if p.unconfirmed != nil {
		d.good = time.Time{} // neither an answer nor the lack of one
	} else {
		d.answered(now, d.doubtful(p, now))
	}
	if d.learned {
		d.replan()
	}
	if d.mark != nil { // it froze: what was not read this time is held back, too
		took, requests := scan.Took, scan.Requests
		scan = d.outgoing(now)
		scan.Took, scan.Requests = took, requests
		return scan
	}
	scan.Events, d.events = d.events, nil
	return scan
}

// scan is what a pass has to tell.
func (p *pass) scan(d *device, began, now time.Time) edgeagent.Scan {
	return edgeagent.Scan{
		Device: d.spec.Name, At: now, Samples: p.samples, Took: now.Sub(began), Requests: p.sent, Err: p.err,
	}
}

// grades returns the quality of every tag after a pass.
func (d *device) grades(p *pass) []edgeagent.Quality {
	for i, tag := range p.touched {
		d.quality[tag] = p.samples[i].Quality
	}
	return d.quality
}

// outgoing is the scan that tells why no tag is good, with the events that
// wait to be told.
func (d *device) outgoing(now time.Time) edgeagent.Scan {
	s := edgeagent.Scan{Device: d.spec.Name, At: now, Events: d.events, Err: d.err}
	d.events = nil
	if d.mark == nil {
		return s
	}
	s.Samples = make([]edgeagent.Sample, len(d.last))
	for i, last := range d.last {
		s.Samples[i] = heldBack(last, d.mark, d.grade)
		d.quality[i] = s.Samples[i].Quality
	}
	d.mark = nil
	return s
}

// shares reports whether the device would have found out now, by itself, that
// the endpoint cannot be reached: whoever shares it need not dial again.
func (d *device) shares(now time.Time) bool {
	if d.state == edgeagent.DevicePolling {
		return true
	}
	due, ever := d.due()
	return ever && !due.After(now)
}

func linkAfter(cause error) edgeagent.Link {
	if e, ok := errors.AsType[*Exception](cause); ok && kindOf(e.Code).verdict != verdictFailed {
		return edgeagent.LinkUp
	}
	if errors.Is(cause, ErrSilent) {
		return edgeagent.LinkSilent
	}
	return edgeagent.LinkDown
}
