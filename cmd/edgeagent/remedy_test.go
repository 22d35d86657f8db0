package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"edgeagent/config"
)

// A data directory of another user is the commonest fault of an installation by
// hand: what the agent says of it has to mend it.
func TestADirectoryThatCannotBeWrittenHasItsRemedy(t *testing.T) {
	var cfg config.Config
	cfg.Agent.DataDir, cfg.Agent.Socket = "data/", "data/edgeagent.sock"
	denied := fmt.Errorf("listen: %w", &os.SyscallError{Syscall: "bind", Err: syscall.EACCES})
	readOnly := fmt.Errorf("listen: %w", &os.SyscallError{Syscall: "bind", Err: syscall.EROFS})
	for _, said := range []string{socketRemedy(&cfg, denied), socketRemedy(&cfg, readOnly), notOpened(denied).Error()} {
		if !strings.Contains(said, "the user that runs the agent") {
			t.Errorf("%q does not say whose the directory has to be", said)
		}
	}
	if said := socketRemedy(&cfg, syscall.EADDRINUSE); said != "set [agent] socket" {
		t.Errorf("a socket that is taken: %q", said)
	}
	cfg.Agent.Socket = "/run/other/a.sock"
	if said := socketRemedy(&cfg, denied); said != "set [agent] socket" {
		t.Errorf("a socket elsewhere: %q", said)
	}
}

// 30000000000 is no number that anybody reads in a journal.
func TestDurationsInTheJournalHaveAUnit(t *testing.T) {
	for _, format := range []string{"json", "text"} {
		var out bytes.Buffer
		newLog(config.Log{Format: format}, &out).Info("breaker open", "probe_every", 30*time.Second)
		if !strings.Contains(out.String(), "30s") {
			t.Errorf("%s: %s", format, out.String())
		}
	}
}
