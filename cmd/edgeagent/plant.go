package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"edgeagent"
	"edgeagent/plc"
	"edgeagent/status"
)

// connection is one way to the plant: a line that is polled, or a server that
// tells changes by itself.
type connection interface {
	Run(ctx context.Context) error
	Status() []edgeagent.DeviceStatus
	Resume(device, by, reason string) error
	Maintain(device, by, reason string, d time.Duration) error
	Probe(ctx context.Context, device string) (edgeagent.Scan, error)
}

// asker is a connection over which single requests can be sent.
type asker interface {
	Ask(ctx context.Context, device string, unit uint8, r plc.Request) ([]byte, error)
}

// connectionOf returns the connection that reads a device.
func (a *agent) connectionOf(device string) (connection, error) {
	conns := a.conns.Load()
	if conns == nil {
		return nil, errChecking
	}
	for _, c := range *conns {
		for _, d := range c.Status() {
			if d.Name == device {
				return c, nil
			}
		}
	}
	return nil, fmt.Errorf("device %q: %w", device, edgeagent.ErrNotFound)
}

// ResumeDevice has a stopped device, or one in maintenance, read again.
func (x actions) ResumeDevice(_ context.Context, name, by, reason string) error {
	return x.onDevice(name, func(c connection) error { return c.Resume(name, by, reason) })
}

// MaintainDevice leaves a device alone for a while.
func (x actions) MaintainDevice(_ context.Context, name, by, reason string, d time.Duration) error {
	return x.onDevice(name, func(c connection) error { return c.Maintain(name, by, reason, d) })
}

// onDevice does something to the connection that reads a device. While a reload
// exchanges them it waits for the new one: what the old one is told by then is
// neither done nor saved.
func (x actions) onDevice(name string, do func(connection) error) error {
	x.exchange.RLock()
	defer x.exchange.RUnlock()
	c, err := x.connectionOf(name)
	if err != nil {
		return err
	}
	if x.ended {
		return errEnding
	}
	return do(c)
}

// AskDevice sends one read over the device's own connection.
func (x actions) AskDevice(ctx context.Context, name string, q status.Question) (status.Reply, error) {
	c, err := x.connectionOf(name)
	if err != nil {
		return status.Reply{}, err
	}
	line, polled := c.(asker)
	if !polled {
		return status.Reply{}, fmt.Errorf("%w: %s speaks OPC UA, which has no registers; use edgeagent browse", status.ErrInvalid, name)
	}
	r, err := request(q)
	if err != nil {
		return status.Reply{}, err
	}
	return replyOf(line.Ask(ctx, name, uint8(q.Unit), r))
}

// failures are what can come of a question besides an answer; a client of the
// socket tells them apart by their names.
var failures = map[string]error{"unreachable": plc.ErrUnreachable, "silent": plc.ErrSilent, "quarantined": plc.ErrQuarantined}

func replyOf(payload []byte, err error) (status.Reply, error) {
	if err == nil {
		return status.Reply{Data: hex.EncodeToString(payload)}, nil
	}
	if e, refused := errors.AsType[*plc.Exception](err); refused {
		return status.Reply{Exception: int(e.Code)}, nil
	}
	for name, failure := range failures {
		if errors.Is(err, failure) {
			return status.Reply{Failure: name, Error: err.Error()}, nil
		}
	}
	return status.Reply{}, err
}

var areasByName = map[string]edgeagent.Area{
	"coil": edgeagent.AreaCoil, "discrete": edgeagent.AreaDiscrete, "holding": edgeagent.AreaHolding, "input": edgeagent.AreaInput,
}

// request checks a question against what the protocol can ask.
func request(q status.Question) (plc.Request, error) {
	area, known := areasByName[q.Area]
	most := 125
	if area.Bits() {
		most = 2000
	}
	switch {
	case !known:
		return plc.Request{}, fmt.Errorf("%w: area %q; want coil, discrete, holding or input", status.ErrInvalid, q.Area)
	case q.Unit < 0 || q.Unit > 255:
		return plc.Request{}, fmt.Errorf("%w: unit %d; want 0 to 255", status.ErrInvalid, q.Unit)
	case q.Quantity < 1 || q.Quantity > most || q.Offset < 0 || q.Offset+q.Quantity > 1<<16:
		return plc.Request{}, fmt.Errorf("%w: %d of %s:%d; want 1 to %d within 0 to 65535", status.ErrInvalid, q.Quantity, q.Area, q.Offset, most)
	}
	return plc.Request{Area: area, Offset: uint16(q.Offset), Quantity: uint16(q.Quantity)}, nil
}
