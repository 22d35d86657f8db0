package main

import (
	"context"
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"edgeagent"
	"edgeagent/alarm"
	"edgeagent/config"
)

func newDemo(o *options) *cobra.Command {
	var data string
	c := &cobra.Command{
		Use: "demo", Short: "the simulated plant and the agent in one process; opens nothing outward",
		Args: exactly(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error { return demo(c, o, data) },
	}
	c.Flags().StringVar(&data, "data", "", "data `directory` (default a fresh temporary one)")
	return c
}

func demo(c *cobra.Command, o *options, data string) error {
	dir, err := os.MkdirTemp("", "edgeagent-demo-")
	if err != nil {
		return fmt.Errorf("make a temporary directory: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	cfg, err := demoConfig(o, dir)
	if err != nil {
		return err
	}
	if data == "" {
		data = dir
	}
	cfg.MoveDataDir(data)
	stayInside(c.Context(), cfg)
	plant, err := newSimulation(cfg, true)
	if err != nil {
		return err
	}
	return runDemo(c, cfg, plant)
}

// demoConfig reads the configuration that is there, or the reference one that
// the binary carries: a demo needs no file.
func demoConfig(o *options, dir string) (*config.Config, error) {
	path := config.DefaultPath(o.configPath)
	if _, err := os.Stat(path); err != nil && o.configPath == "" {
		if err := os.CopyFS(dir, edgeagent.Reference); err != nil {
			return nil, fmt.Errorf("unpack the reference configuration: %w", err)
		}
		path = dir + "/config.toml"
	}
	return config.Load(path, checks())
}

// stayInside takes out everything that would leave this machine, and moves the
// page aside when its port is taken.
func stayInside(ctx context.Context, cfg *config.Config) {
	cfg.Sync = nil
	kept := cfg.LLM.Providers[:0:0]
	for _, p := range cfg.LLM.Providers {
		if p.Kind == config.KindRunbook || isLoopback(p.BaseURL) && !outside(p) { // a proxy's "this machine" is another one
			kept = append(kept, p)
		}
	}
	cfg.LLM.Providers = kept
	if l, err := listen(ctx, "tcp", cfg.Status.Listen); err != nil {
		cfg.Status.Listen = "127.0.0.1:0"
	} else {
		_ = l.Close()
	}
	devices := cfg.Devices[:0:0]
	for _, d := range cfg.Devices {
		if d.Sim {
			devices = append(devices, d)
		}
	}
	cfg.Devices = devices
	all, _ := plainTags(cfg)
	for i := range cfg.Lines {
		l := &cfg.Lines[i]
		l.Modes = slices.DeleteFunc(l.Modes, func(m config.Mode) bool { return alarm.CheckMode(m.When, all) != nil }) // of a machine that is not here
	}
}

func runDemo(c *cobra.Command, cfg *config.Config, plant *simulation) error {
	ctx, cancel := context.WithCancel(c.Context())
	defer cancel()
	log := newLog(cfg.Log, c.ErrOrStderr())
	simulated := startWing(ctx, log, runner{"simulation", func(ctx context.Context) error { plant.run(ctx, log); return nil }})
	defer simulated.stop()
	a := newAgent(cfg, log)
	a.path = "" // made at the start: the file on disk is not what runs
	a.onPage = func(url string) {
		c.Printf("\nA bottling line is running in this process; its first alarm comes within half a minute.\n\n    %s\n\nCtrl-C ends it.\n\n", url)
	}
	return a.Run(ctx)
}
