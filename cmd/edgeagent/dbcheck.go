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
		return fmt.Errorf("find our own binary: %w", err)
	}
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, self, checkCommand, path)
	cmd.Env = append(os.Environ(), "GOMEMLIMIT=64MiB")
	cmd.Stderr = &said
	err = cmd.Run()
	if _, ok := errors.AsType[*exec.ExitError](err); ok {
		line, _, _ := strings.Cut(strings.TrimSpace(said.String()), "\n")
		return fmt.Errorf("%s (%w)", line, err)
	}
	return err
}
