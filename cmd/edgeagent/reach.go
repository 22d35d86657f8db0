package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"time"

	"edgeagent"
	"edgeagent/commission"
	"edgeagent/config"
	"edgeagent/plc"
	"edgeagent/plc/modbus"
	"edgeagent/status"
)

// listenFirst is how long a serial line is listened to before anything is sent.
const listenFirst = 5 * time.Second

// errTraffic: somebody else asks on this line.
var errTraffic = errors.New("another master asks on this line; a second one would garble its answers. " +
	"Stop it first, or ask through the agent that reads this line")

// way is how a command reaches a device: through the running agent, because a
// second connection can push a panel off a PLC, or by a link of its own.
type way struct {
	ask   commission.Ask
	close func()
	fault error // the agent refused to ask; says nothing of the device
}

// reach finds the way to a device. Where an agent runs, it is the only one that
// may ask: the device must be one that it reads, or none of its endpoints.
func reach(ctx context.Context, cfg *config.Config, socket string, d config.Device, note io.Writer) (*way, error) {
	if running := agentBehind(ctx, socket); running != nil {
		if running.fault != nil {
			return nil, running.fault
		}
		if name, ok := running.onConnection(cfg, d); ok {
			fmt.Fprintf(note, "asking through the running agent's connection to %s\n", d.Host)
			return throughAgent(running.socket, name), nil
		}
	}
	if err := quiet(ctx, d, note); err != nil {
		return nil, err
	}
	link := modbus.New(linkOptions([]config.Device{d}, nil))
	return &way{ask: link.Read, close: func() { _ = link.Close() }}, nil
}

// agentBehind asks for the agent of this machine; there is none to ask for where
// there is no configuration.
func agentBehind(ctx context.Context, socket string) *runningAgent {
	if socket == "" {
		return nil
	}
	return askAgent(ctx, socket)
}

// onConnection returns a device that the agent reads at d's endpoint.
func (a *runningAgent) onConnection(cfg *config.Config, d config.Device) (string, bool) {
	for _, s := range a.devices {
		for _, known := range cfg.Devices {
			if known.Name == s.Name && known.URL == s.URL && known.Host == d.Host {
				return s.Name, true
			}
		}
	}
	return "", false
}

// quiet refuses a serial line on which somebody else is heard.
func quiet(ctx context.Context, d config.Device, note io.Writer) error {
	if d.Protocol != config.ModbusRTU {
		return nil
	}
	fmt.Fprintf(note, "listening on %s for %v before anything is sent\n", d.Host, listenFirst)
	serial := modbus.Serial{Baud: d.Serial.Baud, Parity: d.Serial.Parity, DataBits: d.Serial.DataBits, Stop: d.Serial.Stop}
	frames, err := modbus.Listen(ctx, d.Host, serial, listenFirst)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", d.Host, err)
	}
	if frames > 0 {
		return fmt.Errorf("%d frames heard on %s in %v: %w", frames, d.Host, listenFirst, errTraffic)
	}
	return nil
}

// throughAgent asks over the socket; a device of the same connection gives its
// name to the question.
func throughAgent(socket, device string) *way {
	cl := clientOn(socket)
	path := "/api/v1/devices/" + url.PathEscape(device) + "/ask"
	w := &way{close: func() {}}
	w.ask = func(ctx context.Context, unit uint8, r plc.Request) ([]byte, error) {
		var reply status.Reply
		q := status.Question{Unit: int(unit), Area: r.Area.String(), Offset: int(r.Offset), Quantity: int(r.Quantity)}
		if err := cl.post(ctx, path, q, &reply); err != nil {
			w.fault = err
			return nil, err
		}
		return payloadOf(reply, r.Area)
	}
	return w
}

// payloadOf turns an answer over the socket back into what a link returns.
func payloadOf(reply status.Reply, area edgeagent.Area) ([]byte, error) {
	switch {
	case reply.Exception > 0:
		return nil, &plc.Exception{Function: area.Function(), Code: byte(reply.Exception)}
	case reply.Failure != "":
		if failure, known := failures[reply.Failure]; known {
			return nil, fmt.Errorf("%w: %s", failure, reply.Error)
		}
		return nil, errors.New(reply.Error)
	default:
		return hex.DecodeString(reply.Data)
	}
}
