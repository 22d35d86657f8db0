package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"edgeagent/config"
	"edgeagent/queue"
)

func newBackup(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "backup FILE", Short: "copy the data file, consistent and checked; works while the agent runs",
		Args: exactly(1, "a file that does not exist yet"),
		RunE: func(c *cobra.Command, args []string) error { return backup(c, o, args[0]) },
	}
}

// backup writes FILE.part and gives it its name only when it was read back whole.
func backup(c *cobra.Command, o *options, target string) error {
	if _, err := os.Lstat(target); !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s exists already; name a new file", target)
	}
	part := target + ".part"
	err := copyData(c, o, part)
	if err == nil {
		err = checkInChild(c.Context(), part)
	}
	if err == nil {
		err = queue.TakeName(part, target)
	}
	if err != nil {
		_ = os.Remove(part)
		return keepCode(err, "backup")
	}
	info, err := os.Stat(target)
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	c.Printf("%s: %d KiB, checked\n", target, info.Size()>>10)
	return nil
}

// keepCode says what failed without hiding the exit code of the cause.
func keepCode(err error, doing string) error {
	return &exitError{code: exitCode(err), err: fmt.Errorf("%s: %w", doing, err)}
}

// copyData copies the data file as of now: the agent's own copy while it runs,
// or the file itself.
func copyData(c *cobra.Command, o *options, target string) error {
	cl, err := newClient(o)
	if err != nil {
		return err
	}
	err = cl.download(c.Context(), "/api/v1/backup", target, c.ErrOrStderr())
	if exitCode(err) != exitUnreachable {
		return err
	}
	cfg, err := anyConfig(o)
	if err != nil {
		return err
	}
	c.PrintErrln("edgeagent: no agent runs; reading the data file itself")
	return queue.BackupFile(c.Context(), dataFile(cfg), target)
}

// anyConfig returns the configuration, or the last accepted one.
func anyConfig(o *options) (*config.Config, error) {
	path := config.DefaultPath(o.configPath)
	cfg, err := config.Load(path, checks())
	if err != nil {
		last, lastErr := config.LastAccepted(path, checks())
		if lastErr != nil {
			return nil, &exitError{code: exitFailed, err: err}
		}
		cfg = last
	}
	shownIn.Store(cfg.Agent.Timezone)
	return cfg, nil
}

// download writes what path answers to a new file. It takes as long as it takes:
// the agent ends it when it is too long.
func (c *client) download(ctx context.Context, path, target string, errOut io.Writer) error {
	req, err := newRequest(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	patient := http.Client{Transport: c.http.Transport}
	resp, err := patient.Do(req)
	if err != nil {
		return c.unreachable(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		data, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20)) // what came of it says enough
		return apiError(resp.StatusCode, data)
	}
	f, err := os.OpenFile(target, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	n, err := io.Copy(f, &shown{r: resp.Body, total: resp.ContentLength, tell: teller(errOut), next: time.Now().Add(time.Second)})
	if err == nil && resp.ContentLength >= 0 && n != resp.ContentLength {
		err = io.ErrUnexpectedEOF
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("after %d of %d bytes: %w", n, resp.ContentLength, err)
	}
	return nil
}

// shown tells a person at a terminal how far a copy is.
type shown struct {
	r           io.Reader
	done, total int64
	tell        func(done, total int64)
	next        time.Time
}

// Read reads on, and tells once a second.
func (s *shown) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.done += int64(n)
	if now := time.Now(); now.After(s.next) {
		s.next = now.Add(time.Second)
		s.tell(s.done, s.total)
	}
	return n, err
}

func teller(w io.Writer) func(done, total int64) {
	if !isTerminal(w) {
		return func(int64, int64) {}
	}
	return func(done, total int64) { fmt.Fprintf(w, "%d of %d MiB\n", done>>20, total>>20) }
}

func newRestore(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "restore FILE", Short: "put a backup in the place of the data file; the agent must be stopped",
		Args: exactly(1, "a backup"),
		RunE: func(c *cobra.Command, args []string) error { return restore(c, o, args[0]) },
	}
}

func restore(c *cobra.Command, o *options, from string) error {
	cfg, err := anyConfig(o)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(cfg.Agent.DataDir, 0o700); err != nil {
		return fmt.Errorf("make the data directory: %w", err)
	}
	r, err := queue.Restore(c.Context(), from, dataFile(cfg), checkInChild)
	if err != nil {
		return err
	}
	c.Printf("%s: restored from %s, new epoch %s\n", dataFile(cfg), from, r.Epoch)
	if r.Kept != "" {
		c.Printf("the file that was there is kept as %s\n", r.Kept)
	}
	for _, gap := range r.Lost {
		c.Printf("not in the backup and not confirmed upstream: %s %d to %d of epoch %s; a gap event will say so\n", gap.Stream, gap.From, gap.To, gap.Epoch)
	}
	return nil
}
