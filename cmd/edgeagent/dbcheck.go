package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/spf13/cobra"

	"edgeagent/queue"
)

// checkCommand reads a whole data file in a process of its own: bbolt ends its
// process on a damaged tree, where no recover reaches.
const checkCommand = "db-check-child"

func newDBCheck() *cobra.Command {
	return &cobra.Command{
		Use: checkCommand + " FILE", Hidden: true, Args: exactly(1, "a data file"),
		RunE: func(_ *cobra.Command, args []string) error { return queue.CheckFile(args[0]) },
	}
}

// checkInChild returns what is wrong with the file at path.
func checkInChild(ctx context.Context, path string) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("%w: find our own binary: %w", queue.ErrUnchecked, err)
	}
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, self, checkCommand, path)
	cmd.Env = append(os.Environ(), "GOMEMLIMIT=64MiB")
	cmd.Stderr = &said
	return verdict(cmd.Run(), said.String())
}

// verdict reads how the child ended. Only a child that ended by itself has
// seen the file: one that was killed (a gateway short of memory, a service
// manager that ends the whole group) has not, and nothing is set aside for it.
func verdict(err error, said string) error {
	if err == nil {
		return nil
	}
	exit, ended := errors.AsType[*exec.ExitError](err)
	line, _, _ := strings.Cut(strings.TrimSpace(strings.TrimPrefix(said, "edgeagent: ")), "\n")
	if !ended || !exit.Exited() || strings.Contains(said, "out of memory") || strings.Contains(line, queue.ErrUnchecked.Error()) {
		return fmt.Errorf("%w: %w: %.200s", queue.ErrUnchecked, err, line)
	}
	return fmt.Errorf("%s (%w)", line, err)
}
