package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"edgeagent/queue"
	"edgeagent/status"
)

func newDB(o *options) *cobra.Command {
	check := jsonFlag(&cobra.Command{
		Use: "check [FILE]", Short: "read every record of the data file, or of a copy", Args: atMost(1, "at most one data file"),
		RunE: func(c *cobra.Command, args []string) error { return dbCheck(c, o, args) },
	}, o)
	compact := jsonFlag(&cobra.Command{
		Use: "compact", Short: "write the data file anew without its free pages; works while the agent runs", Args: exactly(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error { return dbCompact(c, o) },
	}, o)
	return group("db", "the data file", check, compact)
}

// dbCheck reads a file that nobody writes: while the agent runs, a copy of its
// file as of now.
func dbCheck(c *cobra.Command, o *options, args []string) error {
	if len(args) == 1 {
		return inspect(c, o, args[0], args[0])
	}
	cfg, err := anyConfig(o)
	if err != nil {
		return err
	}
	path := dataFile(cfg)
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("check the data file: %w", err)
	}
	if free(c, o) {
		return inspect(c, o, path, path)
	}
	dir, err := os.MkdirTemp("", "edgeagent-check-")
	if err != nil {
		return fmt.Errorf("make a temporary directory: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	c.PrintErrln("edgeagent: the agent runs; checking a copy of its file as of now")
	part := filepath.Join(dir, "copy")
	if err := copyData(c, o, part); err != nil {
		return keepCode(err, "check the data file")
	}
	return inspect(c, o, part, path)
}

// free reports whether no agent answers that could have the file.
func free(c *cobra.Command, o *options) bool {
	cl, err := newClient(o)
	return err == nil && exitCode(cl.get(c.Context(), "/healthz", nil)) == exitUnreachable
}

// inspect checks a file in a process of its own, and then says what it holds.
func inspect(c *cobra.Command, o *options, path, name string) error {
	r, err := queue.OpenChecked(c.Context(), path, checkInChild)
	if err != nil {
		return err
	}
	d, err := r.Describe()
	if err := errors.Join(err, r.Close()); err != nil {
		return err
	}
	if o.json {
		return printJSON(c.OutOrStdout(), d)
	}
	_, err = fmt.Fprintf(c.OutOrStdout(), "%s: whole, %d records in %d KiB\n%d alarms, %d events, jobs: %d pending, %d running, %d completed, %d failed, %d discarded\n",
		name, d.Records, d.FileBytes>>10, d.Alarms, d.Events,
		d.Jobs.Pending, d.Jobs.Running, d.Jobs.Completed, d.Jobs.Failed, d.Jobs.Discarded)
	return err
}

func dbCompact(c *cobra.Command, o *options) error {
	cl, err := newClient(o)
	if err != nil {
		return err
	}
	var done status.Compacted
	cl.http.Timeout = 0 // it takes as long as the card needs
	err = cl.post(c.Context(), "/api/v1/compact", nil, &done)
	if exitCode(err) == exitUnreachable {
		cfg, cfgErr := anyConfig(o)
		if cfgErr != nil {
			return cfgErr
		}
		c.PrintErrln("edgeagent: no agent runs; compacting the data file itself")
		done.BeforeBytes, done.AfterBytes, err = queue.CompactFile(c.Context(), dataFile(cfg), checkInChild)
	}
	if err != nil {
		return keepCode(err, "compact the data file")
	}
	if o.json {
		return printJSON(c.OutOrStdout(), done)
	}
	_, err = fmt.Fprintf(c.OutOrStdout(), "data file compacted: %d KiB before, %d KiB now\n", done.BeforeBytes>>10, done.AfterBytes>>10)
	return err
}
