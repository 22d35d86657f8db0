package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"edgeagent/config"
	"edgeagent/plc/sim"
)

func newSim(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "sim", Short: "serve the simulated plant: the devices that have sim = true, on their own URLs",
		Args: exactly(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := config.Load(config.DefaultPath(o.configPath), checks())
			if err != nil {
				return err
			}
			log := newLog(cfg.Log, c.ErrOrStderr())
			p, err := newSimulation(cfg, false)
			if err != nil {
				return err
			}
			for _, d := range p.servers {
				c.Printf("%s on %s\n", d.name, d.server.Addr())
			}
			p.run(c.Context(), log)
			return nil
		},
	}
}

// simulation is the simulated plant behind its listeners.
type simulation struct {
	plant   *sim.Plant
	servers []simServer
}

type simServer struct {
	name   string
	server listener
}

// listener is one simulated PLC or server on the network.
type listener interface {
	Addr() string
	Run(ctx context.Context) error
	Close() error
}

// newSimulation listens for every device that has sim = true. With move, a
// device whose port is taken gets a free one and its configuration says so.
func newSimulation(cfg *config.Config, move bool) (*simulation, error) {
	var names []string
	for _, d := range cfg.Devices {
		if d.Sim {
			names = append(names, d.Name)
		}
	}
	if len(names) == 0 {
		return nil, errors.New("no device of the configuration has sim = true; nothing to simulate")
	}
	plant, err := sim.NewPlant(names...)
	if err != nil {
		return nil, fmt.Errorf("build the simulated plant: %w", err)
	}
	s := &simulation{plant: plant}
	for i := range cfg.Devices {
		if d := &cfg.Devices[i]; d.Sim {
			if err := s.serve(d, move); err != nil {
				s.close()
				return nil, err
			}
		}
	}
	return s, nil
}

func (s *simulation) serve(d *config.Device, move bool) error {
	server, err := s.listen(d, d.Host)
	if move && errors.Is(err, syscall.EADDRINUSE) {
		host, _, _ := net.SplitHostPort(d.Host)
		if server, err = s.listen(d, net.JoinHostPort(host, "0")); err == nil {
			d.URL = strings.Replace(d.URL, d.Host, server.Addr(), 1)
			d.Host = server.Addr()
		}
	}
	if err != nil {
		return fmt.Errorf("simulate %s on %s: %w", d.Name, d.Host, err)
	}
	s.servers = append(s.servers, simServer{d.Name, server})
	return nil
}

// listen opens what the device's protocol needs. A serial line and TLS have
// another end that only a person can provide: a cable, a certificate.
func (s *simulation) listen(d *config.Device, addr string) (listener, error) {
	units := map[uint8]*sim.Device{uint8(d.Unit): s.plant.Device(d.Name)}
	switch d.Protocol {
	case config.ModbusTCP:
		return sim.Listen(addr, units)
	case config.ModbusRTUTCP:
		return sim.ListenRTU(addr, units)
	case config.OPCUAProtocol:
		return sim.ListenOPCUA(addr, s.plant)
	default:
		return nil, fmt.Errorf("%s is not simulated; use modbus-tcp, modbus-rtu-tcp or opc.tcp", d.Protocol)
	}
}

func (s *simulation) close() {
	for _, d := range s.servers {
		_ = d.server.Close()
	}
}

// run lives until ctx ends.
func (s *simulation) run(ctx context.Context, log *slog.Logger) {
	parts := []runner{{"plant model", s.plant.Run}}
	for _, d := range s.servers {
		parts = append(parts, runner{"simulated " + d.name, d.server.Run})
	}
	w := startWing(ctx, log, parts...)
	<-ctx.Done()
	w.stop()
}
