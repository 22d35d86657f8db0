//go:build failpoints

package queue

import (
	"errors"
	"syscall"
	"testing"
)

func TestParseFailpoints(t *testing.T) {
	for text, good := range map[string]bool{
		"": true, "commit.write=kill@1": true, "*=eio@12": true, "a=eio@1,b=kill@2": true, "a=eio@1,": false,
		"commit.write": false, "commit.write=kill": false, "commit.write=kill@0": false, "=kill@1": false, "x=burn@1": false,
	} {
		if _, err := parseFailpoints(text); (err == nil) != good {
			t.Errorf("parseFailpoints(%q) = %v, want good = %v", text, err, good)
		}
	}
}

func TestFailpointStrikesOnceAtItsTime(t *testing.T) {
	was := armed
	defer func() { armed = was }()
	points := []*armedPoint{{name: "c", does: "eio", at: 1}, {name: "a", does: "eio", at: 2}}
	armed = func() []*armedPoint { return points }
	got := []error{failpoint("b"), failpoint("a"), failpoint("b"), failpoint("a"), failpoint("a")}
	for i, err := range got {
		if struck := errors.Is(err, syscall.EIO); struck != (i == 3) {
			t.Errorf("call %d: %v", i, err)
		}
	}
}
