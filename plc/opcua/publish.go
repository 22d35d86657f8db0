package opcua

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/gopcua/opcua/ua"

	"edgeagent/internal/retry"
	"edgeagent/plc"
)

// publishing asks for notifications, one request at a time: so they come in
// the order in which they were sent, and an older value never follows a newer.
func (e *episode) publishing(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-e.some:
	}
	var acks []*ua.SubscriptionAcknowledgement
	pace := pace{wait: e.watchdog / 30}
	for {
		res, err := e.conn.publish(ctx, acks)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, ua.StatusBadTimeout), errors.Is(err, ua.StatusBadTooManyPublishRequests):
			// The request was in vain; whether the server lives is not judged here.
			if err := retry.Sleep(ctx, e.watchdog/3); err != nil {
				return err
			}
			continue
		case err != nil:
			return broken("publish", err)
		}
		if acks, err = e.take(res, time.Now()); err != nil {
			return err
		}
		if err := pace.keep(ctx, res); err != nil {
			return err
		}
	}
}

// pace keeps a server that answers at once, with nothing, from turning the
// publishing into a loop without end.
type pace struct {
	empty int
	wait  time.Duration
}

// idle is how many answers without anything may come in a row before the next
// question waits. Several subscriptions may be silent at the same time.
const idle = 10

func (p *pace) keep(ctx context.Context, res *ua.PublishResponse) error {
	if res.NotificationMessage != nil && len(res.NotificationMessage.NotificationData) > 0 {
		p.empty = 0
		return nil
	}
	if p.empty++; p.empty <= idle {
		return nil
	}
	return retry.Sleep(ctx, p.wait)
}

// restart forgets the time in which nobody asked.
func (e *episode) restart(now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, s := range e.subs {
		s.heard = now
	}
}

// take reads one answer and returns what is to be acknowledged.
func (e *episode) take(res *ua.PublishResponse, now time.Time) ([]*ua.SubscriptionAcknowledgement, error) {
	n := slices.IndexFunc(e.subs, func(s *subscription) bool { return s.id == res.SubscriptionID })
	if n < 0 || res.NotificationMessage == nil {
		return nil, nil // of a subscription that this session had before, or nothing at all
	}
	s, message := e.subs[n], res.NotificationMessage
	keepAlive := len(message.NotificationData) == 0
	missed := s.missed(message.SequenceNumber, keepAlive)
	missed = e.late(s, now) || missed // both look
	if missed {
		e.doubtAll(s)
	}
	l := letter{at: now, gap: missed}
	e.letters++
	e.order.Lock()
	defer e.order.Unlock()
	err := e.openAll(s, message.NotificationData, &l)
	l.confirmed = e.heardOf(s, now, missed || res.MoreNotifications || err != nil)
	e.mail(l) // what stands before the end of a subscription is true
	if keepAlive || err != nil {
		return nil, err
	}
	return []*ua.SubscriptionAcknowledgement{{SubscriptionID: s.id, SequenceNumber: message.SequenceNumber}}, nil
}

// late reports whether a message comes after a silence that nobody puts up with:
// this process was stopped, or had no time. What was measured meanwhile is lost.
func (e *episode) late(s *subscription, now time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return now.Sub(s.heard) > silences*s.pause
}

// mostSkips is after how many gaps in a row, with no message in order between
// them, nobody believes in them: each costs a read of all.
const mostSkips = 10

// missed judges a sequence number, and reports whether notifications before it
// are lost. A keep-alive carries the number of the next one. A server whose
// numbers go backwards has none, nor has one that leaves some out each time, as
// where all subscriptions share a counter: they are not judged any more.
func (s *subscription) missed(number uint32, keepAlive bool) bool {
	ahead := number - s.next
	if s.unnumbered || keepAlive && ahead == math.MaxUint32 { // some servers repeat the last number
		return false
	}
	s.unnumbered = ahead > math.MaxUint32/2
	if !keepAlive {
		number++
	}
	s.next = max(number, 1) // 0 is no sequence number
	switch {
	case ahead != 0:
		s.skips++
	case !keepAlive:
		s.skips = 0
	}
	s.unnumbered = s.unnumbered || s.skips > mostSkips
	return ahead != 0 && !s.unnumbered
}

// openAll reads a notification, and returns why the subscription ended with it.
func (e *episode) openAll(s *subscription, parts []*ua.ExtensionObject, l *letter) error {
	for _, data := range parts {
		if err := e.open(s, data, l); err != nil {
			return err
		}
	}
	return nil
}

// open reads one part of a notification.
func (e *episode) open(s *subscription, data *ua.ExtensionObject, l *letter) error {
	if data == nil {
		return nil
	}
	switch v := data.Value.(type) {
	case *dataChange:
		e.changes(s, v.MonitoredItems, l)
		v.free()
	case *ua.DataChangeNotification:
		e.changes(s, v.MonitoredItems, l)
	case *ua.EventNotificationList:
		for _, event := range v.Events {
			e.happened(event, l)
		}
	case *ua.StatusChangeNotification:
		return fmt.Errorf("subscription: %w: the server ended it: %s", plc.ErrSilent, statusName(v.Status))
	}
	return nil
}

func (e *episode) changes(s *subscription, changes []*ua.MonitoredItemNotification, l *letter) {
	l.samples = slices.Grow(l.samples, len(changes))
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, change := range changes {
		e.changed(s, change, l)
	}
}

// changed takes one value. The caller holds mu.
func (e *episode) changed(s *subscription, change *ua.MonitoredItemNotification, l *letter) {
	switch {
	case change == nil || change.Value == nil:
		return
	case change.ClientHandle == heartbeatHandle:
		s.beats++
		return
	case change.ClientHandle == 0, uint64(change.ClientHandle) > uint64(len(e.items)):
		return // none of ours; an int of 32 bits would make a negative of it
	}
	i := e.items[change.ClientHandle-1]
	if i.slow || change.Value.Status&0xFFFF0000 == ua.StatusBadWaitingForInitialData {
		return // no news: it is read, or the server has yet to look for what was read at the beginning
	}
	before := len(l.samples)
	l.samples = i.samples(l.samples, change.Value, l.at)
	l.gap = l.gap || overflowed(change.Value.Status) && !isBad(change.Value.Status)
	i.told++
	l.twice = l.twice || i.letter == e.letters
	i.letter = e.letters
	i.listed = s.roster.toldAll(l.samples[before:], i.listed)
}

// doubtAll tells that notifications of a subscription are lost: the last value
// told may not be the last there was. All is read, and all conditions are asked
// for again.
func (e *episode) doubtAll(s *subscription) {
	if s == e.events.Load() {
		e.eventsLost()
	}
	select {
	case e.doubt <- struct{}{}:
	default:
	}
}

// heardOf notes that a subscription lives, and returns the tags that its
// message confirms: none while more is to come, or something is missing. Once
// its heart has beaten twice, a message is expected with every beat.
func (e *episode) heardOf(s *subscription, now time.Time, more bool) []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	s.heard = now
	if s.beats > 1 && s.pause > s.clock {
		s.pause = s.clock
		select {
		case e.sooner <- struct{}{}:
		default:
		}
	}
	if more {
		return nil
	}
	return s.roster.confirmed(now, s.beat*3/4)
}
