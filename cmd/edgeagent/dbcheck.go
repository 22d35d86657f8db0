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

// unchecked says that the check could not come to a verdict: it was killed (a
// gateway short of memory, a service manager that ends the whole group) or
// never began. A data file must not be set aside for that.
type unchecked struct{ err error }

func (e unchecked) Error() string {
	return "data file not checked, and left as it is: " + e.err.Error()
}
func (e unchecked) Unwrap() error { return e.err }

// Is gives it the name by which the data file knows what is no damage.
func (e unchecked) Is(target error) bool { return target == os.ErrPermission }

// checkInChild returns what is wrong with the file at path.
func checkInChild(ctx context.Context, path string) error {
	self, err := os.Executable()
	if err != nil {
		return unchecked{fmt.Errorf("find our own binary: %w", err)}
	}
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, self, checkCommand, path)
	cmd.Env = append(os.Environ(), "GOMEMLIMIT=64MiB")
	cmd.Stderr = &said
	return verdict(cmd.Run(), said.String())
}

// verdict reads how the child ended. Only a child that ended by itself has
// seen the file.
func verdict(err error, said string) error {
	if err == nil {
		return nil
	}
	exit, ended := errors.AsType[*exec.ExitError](err)
	if !ended || !exit.Exited() || strings.Contains(said, "out of memory") {
		return unchecked{err}
	}
	line, _, _ := strings.Cut(strings.TrimSpace(said), "\n")
	return fmt.Errorf("%s (%w)", line, err)
}
