package qemu

import (
	"errors"
	"strings"
	"testing"
)

// letters is a disk of ten sectors of one byte, for tests.
func letters() *Disk { return NewDisk([]byte("..........")) }

func TestDiskKeepsWhatWasFlushed(t *testing.T) {
	for _, c := range []struct {
		name             string
		lies             []bool
		do               func(*testing.T, *Disk)
		durable, pending string
		cached           string
	}{
		{name: "nothing flushed", do: func(t *testing.T, d *Disk) { write(t, d, 2, "ab") }, durable: "..........", pending: "ab", cached: "..ab......"},
		{name: "flushed", do: func(t *testing.T, d *Disk) { write(t, d, 2, "ab"); flush(t, d); write(t, d, 3, "c") },
			durable: "..ab......", pending: "c", cached: "..ac......"},
		{name: "in order", do: func(t *testing.T, d *Disk) { write(t, d, 2, "ab"); write(t, d, 3, "cd"); flush(t, d) },
			durable: "..acd.....", cached: "..acd....."},
		{name: "a lie", lies: []bool{true}, do: func(t *testing.T, d *Disk) { write(t, d, 0, "ab"); flush(t, d) },
			durable: "..........", pending: "ab", cached: "ab........"},
		{name: "an honest flush after a lie", lies: []bool{true, false}, do: func(t *testing.T, d *Disk) { write(t, d, 0, "ab"); flush(t, d); flush(t, d) },
			durable: "ab........", cached: "ab........"},
		{name: "through the cache, over an older write", do: func(t *testing.T, d *Disk) { write(t, d, 0, "abcd"); through(t, d, 1, "XY") },
			durable: ".XY.......", pending: "aXYd", cached: "aXYd......"},
		{name: "through the cache, beside it", do: func(t *testing.T, d *Disk) { write(t, d, 0, "ab"); through(t, d, 2, "XY") },
			durable: "..XY......", pending: "ab", cached: "abXY......"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := letters()
			d.Lie = func() bool {
				lie := len(c.lies) > 0 && c.lies[0]
				c.lies = c.lies[min(1, len(c.lies)):]
				return lie
			}
			c.do(t, d)
			cached := make([]byte, d.Size())
			if err := d.Read(cached, 0); err != nil || string(cached) != c.cached {
				t.Errorf("a read returns %q, %v, want %q", cached, err, c.cached)
			}
			durable, left := d.Left()
			var pending strings.Builder
			for _, w := range left {
				pending.Write(w.Data)
			}
			if string(durable) != c.durable || pending.String() != c.pending {
				t.Errorf("left %q and %q on its way, want %q and %q", durable, pending.String(), c.durable, c.pending)
			}
		})
	}
}

func TestDiskEndsWhereItEnds(t *testing.T) {
	d := letters()
	for _, off := range []int64{-1, 9, 10, 1 << 62} {
		if d.Write([]byte("ab"), off) == nil || d.WriteThrough([]byte("ab"), off) == nil || d.Read(make([]byte, 2), off) == nil {
			t.Errorf("two bytes at %d of ten are taken", off)
		}
	}
	write(t, d, 8, "ab")
}

// A disk without power carries nothing out and answers nothing, whether it fails
// at a write or at a flush.
func TestDiskFailsAfterRequests(t *testing.T) {
	for _, c := range []struct {
		name    string
		after   int
		kind    Kind
		do      func(*Disk) error
		durable string
		pending int
	}{
		{"at a write", 3, AnyRequest, func(d *Disk) error { return d.Write([]byte("c"), 2) }, "a.........", 1},
		{"at a write through the cache", 3, AnyRequest, func(d *Disk) error { return d.WriteThrough([]byte("c"), 2) }, "a.........", 1},
		{"at a flush", 3, AnyRequest, (*Disk).Flush, "a.........", 1},
		{"at the second flush", 1, AnyFlush, (*Disk).Flush, "a.........", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := letters()
			failed := d.FailAfter(c.after, c.kind)
			write(t, d, 0, "a")
			flush(t, d)
			write(t, d, 1, "b")
			answered := make(chan error, 1)
			go func() { answered <- c.do(d) }()
			<-failed
			select {
			case err := <-answered:
				t.Errorf("a request without power was answered: %v", err)
			default:
			}
			if durable, pending := d.Left(); string(durable) != c.durable || len(pending) != c.pending {
				t.Errorf("left %q and %v", durable, pending)
			}
			d.release()
			if err := <-answered; !errors.Is(err, errNoPower) {
				t.Errorf("a request without power: %v", err)
			}
		})
	}
}

func flush(t *testing.T, d *Disk) {
	t.Helper()
	if err := d.Flush(); err != nil {
		t.Error(err)
	}
}

func write(t *testing.T, d *Disk, off int64, text string) {
	t.Helper()
	if err := d.Write([]byte(text), off); err != nil {
		t.Error(err)
	}
}

func through(t *testing.T, d *Disk, off int64, text string) {
	t.Helper()
	if err := d.WriteThrough([]byte(text), off); err != nil {
		t.Error(err)
	}
}
