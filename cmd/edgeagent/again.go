package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// errUntrusted ends a run whose data file has failed under it: after an I/O error
// of a sync only a new process can know what is on the disk.
var errUntrusted = errors.New("data file cannot be trusted after an I/O error")

// againEnv carries over a restart in place when earlier ones were.
const againEnv = "EDGEAGENT_RESTARTED"

const (
	againMost   = 3                // restarts in place
	againWithin = 10 * time.Minute // after that the service manager decides, who waits between them
)

// restarts reports whether a run that ended so begins anew. Who was asked to end
// meanwhile does not: the signal was for this process, and nobody repeats it.
func restarts(ctx context.Context, err error) bool {
	return errors.Is(err, errUntrusted) && ctx.Err() == nil
}

// restartInPlace begins the process anew with its number, its arguments and the
// service manager's socket. It returns only when it cannot, or when it was done
// too often: a dead card must not make it spin.
func restartInPlace(now time.Time) error {
	times, ok := restartAgain(os.Getenv(againEnv), now)
	if !ok {
		return fmt.Errorf("%d restarts within %s did not help", againMost, againWithin)
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find our own binary: %w", err)
	}
	if err := os.Setenv(againEnv, times); err != nil {
		return fmt.Errorf("restart in place: %w", err)
	}
	return fmt.Errorf("restart in place: %w", syscall.Exec(self, os.Args, os.Environ()))
}

// restartAgain adds now to the times of earlier restarts, and reports whether
// there were few enough of them lately.
func restartAgain(before string, now time.Time) (times string, ok bool) {
	lately := []string{strconv.FormatInt(now.Unix(), 10)}
	for text := range strings.SplitSeq(before, ",") {
		at, err := strconv.ParseInt(text, 10, 64)
		if err == nil && now.Sub(time.Unix(at, 0)).Abs() < againWithin { // a clock that was set counts too
			lately = append(lately, text)
		}
	}
	return strings.Join(lately, ","), len(lately) <= againMost
}
