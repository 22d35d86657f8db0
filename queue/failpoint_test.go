//go:build failpoints

package queue

import (
	"errors"
	"syscall"
	"testing"
)

func TestParseFailpoint(t *testing.T) {
	for text, good := range map[string]bool{
		"": true, "commit.write=kill@1": true, "*=eio@12": true,
		"commit.write": false, "commit.write=kill": false, "commit.write=kill@0": false, "=kill@1": false, "x=burn@1": false,
	} {
		if _, err := parseFailpoint(text); (err == nil) != good {
			t.Errorf("parseFailpoint(%q) = %v, want good = %v", text, err, good)
		}
	}
}

func TestFailpointStrikesOnceAtItsTime(t *testing.T) {
	was := armed
	defer func() { armed = was }()
	p := &armedPoint{name: "a", does: "eio", at: 2}
	armed = func() *armedPoint { return p }
	got := []error{failpoint("b"), failpoint("a"), failpoint("b"), failpoint("a"), failpoint("a")}
	for i, err := range got {
		if struck := errors.Is(err, syscall.EIO); struck != (i == 3) {
			t.Errorf("call %d: %v", i, err)
		}
	}
}
