// Kepware's OPC UA server has certificates with a negative serial number.
//
//go:debug x509negativeserial=1

// Command edgeagent reads a plant, has its alarms diagnosed and sends the
// results upstream. See README.md.
//
// This package is the only place that knows every room: run.go wires them,
// every other file is one command.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"edgeagent/config"
)

// Exit codes, contract §1.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitConfig      = 3 // configuration invalid (check, run); attention needed (status)
	exitFault       = 4 // status
	exitUnreachable = 5 // no agent answers on the socket
)

// exitError carries an exit code with an error. A nil Err says that everything
// has been printed already.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return &exitError{code: exitUsage, err: fmt.Errorf(format, args...)}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := mainRun(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// mainRun is main without the process around it.
func mainRun(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	if text := err.Error(); text != "" {
		fmt.Fprintln(errOut, prefixed(err, text))
	}
	return exitCode(err)
}

// prefixed leaves the lines of a refused configuration as they are, so that
// editors can jump to them.
func prefixed(err error, text string) string {
	if _, ok := errors.AsType[*config.Invalid](err); ok {
		return text
	}
	return "edgeagent: " + text
}

func exitCode(err error) int {
	if err == nil {
		return exitOK
	}
	if exit, ok := errors.AsType[*exitError](err); ok {
		return exit.code
	}
	if _, ok := errors.AsType[*config.Invalid](err); ok {
		return exitConfig
	}
	// cobra has no type for these two.
	if s := err.Error(); strings.HasPrefix(s, "unknown command") || strings.HasPrefix(s, "required flag") {
		return exitUsage
	}
	return exitFailed
}

// options are what every command knows.
type options struct {
	configPath string
	json       bool
}

func newRoot() *cobra.Command {
	o := &options{}
	root := &cobra.Command{
		Use:           "edgeagent",
		Short:         "reads a plant, diagnoses its alarms, sends the results upstream; never writes to a PLC",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.PersistentFlags().StringVarP(&o.configPath, "config", "c", "",
		"configuration `file` (default $EDGEAGENT_CONFIG, ./config.toml, /etc/edgeagent/config.toml)")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usagef("%w; see %s --help", err, c.CommandPath())
	})
	root.AddCommand(
		newRun(o), newReload(o), newCheck(o), newDemo(o), newSim(o),
		newScan(o), newBrowse(o), newDoctor(o),
		newStatus(o), newTags(o), newAlarms(o), newJobs(o), newDevices(o), newUpstreams(o),
		newImport(o), newRunbook(o), newDiagnose(o), newReplay(o), newEval(o), newVersion(o), newDBCheck(),
		newBackup(o), newRestore(o), newDB(o),
	)
	return root
}

// exactly is cobra.ExactArgs with our exit code and a sentence that helps.
func exactly(n int, usage string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) != n {
			return usagef("%s takes %s; see %s --help", c.CommandPath(), usage, c.CommandPath())
		}
		return nil
	}
}

func atLeast(n int, usage string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) < n {
			return usagef("%s takes %s; see %s --help", c.CommandPath(), usage, c.CommandPath())
		}
		return nil
	}
}

func atMost(n int, usage string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) > n {
			return usagef("%s takes %s; see %s --help", c.CommandPath(), usage, c.CommandPath())
		}
		return nil
	}
}

// group is a command that only holds others: without one of them it is used
// wrongly.
func group(use, short string, subs ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: func(c *cobra.Command, args []string) error {
		if len(args) > 0 {
			return usagef("unknown command %q for %q; see %s --help", args[0], c.CommandPath(), c.CommandPath())
		}
		return nil
	}, RunE: func(c *cobra.Command, _ []string) error {
		return usagef("%s needs a command; see %s --help", c.CommandPath(), c.CommandPath())
	}}
	c.AddCommand(subs...)
	return c
}

// jsonFlag adds --json to a command that prints data.
func jsonFlag(c *cobra.Command, o *options) *cobra.Command {
	c.Flags().BoolVar(&o.json, "json", false, "print one JSON document")
	return c
}
