package main

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// unit returns what the unit file says of a key, in its order.
func unit(t *testing.T, key string) (all []string) {
	t.Helper()
	text, err := os.ReadFile("../../build/arm64/edgeagent.service")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, found := strings.CutPrefix(strings.TrimSpace(line), key+"="); found {
			all = append(all, value)
		}
	}
	return all
}

// clockSynced asks with adjtimex, which is of the groups that the unit leaves out,
// and whoever makes a call that is left out is killed: under a unit without the
// exception the agent ends as soon as somebody looks at it.
func TestTheUnitLetsTheClockBeRead(t *testing.T) {
	allowed := false
	for _, filter := range unit(t, "SystemCallFilter") {
		names, without := strings.CutPrefix(filter, "~")
		if slices.ContainsFunc(strings.Fields(names), func(n string) bool { return n == "adjtimex" || n == "@clock" || n == "@privileged" }) {
			allowed = !without
		}
	}
	if !allowed {
		t.Error("the unit forbids adjtimex, which every status asks")
	}
	if slices.Contains(unit(t, "ProtectClock"), "yes") {
		t.Error("ProtectClock refuses to read the clock's state, too: it would never be synchronised")
	}
}

// A file that is checked for longer than the manager's 90 s must not be checked
// anew for ever.
func TestTheUnitWaitsForTheCheckOfALargeFile(t *testing.T) {
	if got := unit(t, "TimeoutStartSec"); !slices.Equal(got, []string{"infinity"}) {
		t.Errorf("TimeoutStartSec is %q", got)
	}
}
