//go:build failpoints

package queue

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
)

// failpointEnv arms failpoints, with commas between them: NAME=kill@N ends the
// process at the N-th time that NAME is reached, NAME=eio@N makes that step fail
// as a broken card does. "*" is every name, counted over all of them.
const failpointEnv = "EDGEAGENT_FAILPOINT"

// An armedPoint is what the environment asks for.
type armedPoint struct {
	name string
	does string
	at   int64
	hits atomic.Int64
}

var armed = sync.OnceValue(func() []*armedPoint {
	points, err := parseFailpoints(os.Getenv(failpointEnv))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	return points
})

func parseFailpoints(text string) (points []*armedPoint, err error) {
	for one := range strings.SplitSeq(text, ",") {
		if text == "" {
			return nil, nil
		}
		p, err := parseFailpoint(one)
		if err != nil {
			return nil, err
		}
		points = append(points, p)
	}
	return points, nil
}

// parseFailpoint reads NAME=ACTION@N.
func parseFailpoint(text string) (*armedPoint, error) {
	name, rest, _ := strings.Cut(text, "=")
	does, count, _ := strings.Cut(rest, "@")
	at, err := strconv.ParseInt(count, 10, 64)
	if err != nil || at < 1 || name == "" || does != "kill" && does != "eio" {
		return nil, fmt.Errorf("%s=%q: want NAME=kill@N or NAME=eio@N, N from 1", failpointEnv, text)
	}
	return &armedPoint{name: name, does: does, at: at}, nil
}

// failpoint ends the process or fails when it is armed and its time has come.
func failpoint(name string) error {
	for _, p := range armed() {
		if err := p.reached(name); err != nil {
			return err
		}
	}
	return nil
}

func (p *armedPoint) reached(name string) error {
	if p.name != "*" && p.name != name || p.hits.Add(1) != p.at {
		return nil
	}
	if p.does == "eio" {
		return fmt.Errorf("failpoint %s: %w", name, syscall.EIO)
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // the signal may take a moment: nothing more must be done
}
