package powercut

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

const one = uint64(firstFile)

func write(off int64, text string) Entry {
	return Entry{Kind: Write, File: one, Off: off, Data: []byte(text)}
}

// The two ends are certain: what a disk that kept nothing, and one that kept
// all, holds after a cut at the end of the entries.
func TestCrashKeepsWhatWasFlushed(t *testing.T) {
	truncate := func(size int64) Entry { return Entry{Kind: Truncate, File: one, Off: size} }
	sync, folder := Entry{Kind: Sync, File: one}, Entry{Kind: SyncFolder}
	create := Entry{Kind: Create, File: one, Name: "new"}
	rename := Entry{Kind: Rename, Name: "new", To: "db"}
	unlink := Entry{Kind: Unlink, Name: "db"}
	for _, c := range []struct {
		name    string
		entries []Entry
		nothing map[string]string // when no pending write is kept
		all     map[string]string
	}{
		{"nothing flushed", []Entry{create, write(0, "abc")}, nil, map[string]string{"new": "abc"}},
		{"a name needs its folder", []Entry{create, write(0, "abc"), sync}, nil, map[string]string{"new": "abc"}},
		{"a folder brings no bytes", []Entry{create, write(0, "abc"), folder}, map[string]string{"new": ""}, map[string]string{"new": "abc"}},
		{"both", []Entry{create, write(0, "abc"), sync, folder}, map[string]string{"new": "abc"}, map[string]string{"new": "abc"}},
		{"later writes", []Entry{create, write(0, "abc"), sync, folder, write(1, "XYZ")},
			map[string]string{"new": "abc"}, map[string]string{"new": "aXYZ"}},
		{"a renamed file", []Entry{create, write(0, "abc"), sync, folder, rename},
			map[string]string{"new": "abc"}, map[string]string{"db": "abc"}},
		{"grown and cut", []Entry{create, write(0, "abc"), sync, folder, truncate(6), truncate(2)},
			map[string]string{"new": "abc"}, map[string]string{"new": "ab"}},
		{"a hole", []Entry{create, folder, write(2, "c")}, map[string]string{"new": ""}, map[string]string{"new": "\x00\x00c"}},
		{"linked, then replaced", []Entry{create, write(0, "abc"), sync, rename, folder, {Kind: Link, File: one, Name: "kept"},
			{Kind: Create, File: one + 1, Name: "new"}, {Kind: Sync, File: one + 1}, rename},
			map[string]string{"db": "abc"}, map[string]string{"kept": "abc", "db": ""}},
		{"unlinked", []Entry{create, folder, rename, folder, unlink}, map[string]string{"db": ""}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			for keep, want := range map[float64]map[string]string{0: c.nothing, 1: c.all} {
				p := NewReplay(Recording{Entries: c.entries})
				p.To(len(c.entries))
				got := make(map[string]string)
				for name, content := range p.Crash(Fate{512, keep, false}, rand.New(rand.NewPCG(1, 2))) {
					got[name] = string(content)
				}
				if !maps.Equal(got, want) && len(got)+len(want) > 0 {
					t.Errorf("kept %v: found %q, want %q", keep, got, want)
				}
			}
		})
	}
}

// Every sector is the old one, the new one or, if torn, the beginning of the
// new and the end of the old; and in many cuts all of these happen.
func TestCrashTearsAtSectors(t *testing.T) {
	for _, sector := range []int{512, 4096} {
		was, is := bytes.Repeat([]byte("o"), 3*4096), bytes.Repeat([]byte("n"), 3*4096-700)
		rec := Recording{Base: map[string][]byte{"db": was}, Entries: []Entry{write(300, string(is))}}
		random := rand.New(rand.NewPCG(3, 4))
		seen := make(map[string]bool)
		for range 200 {
			p := NewReplay(rec)
			p.To(1)
			found := p.Crash(Fate{sector, .5, true}, random)["db"]
			for at := 0; at < len(found); at += sector {
				seen[kindOf(t, at, found[at:at+sector])] = true
			}
		}
		if len(seen) != 3 {
			t.Errorf("sectors of %d: only %v were ever seen", sector, slices.Sorted(maps.Keys(seen)))
		}
	}
}

// kindOf names what happened to a sector of a write that begins at 300 and ends
// 400 before the end.
func kindOf(t *testing.T, at int, content []byte) string {
	t.Helper()
	from, to := max(300-at, 0), min(len(content), 3*4096-400-at)
	if strings.Trim(string(content[:from]), "o") != "" || strings.Trim(string(content[to:]), "o") != "" {
		t.Fatalf("at %d: bytes changed that were not written", at)
	}
	middle := string(content[from:to])
	rest := strings.TrimLeft(middle, "n")
	switch {
	case rest == "":
		return "kept"
	case rest == middle:
		return "dropped"
	case strings.Trim(rest, "o") == "":
		return "torn"
	}
	t.Fatalf("at %d: %q is neither old nor new nor torn", at, middle)
	return ""
}

// A disk that ignores a flush holds the bytes back until one is honoured.
func TestLyingDiskHoldsBack(t *testing.T) {
	entries := []Entry{
		write(0, "a"), {Kind: Sync, File: one},
		write(1, "b"), {Kind: Sync, File: one},
		write(2, "c"), {Kind: Sync, File: one},
	}
	lies := []bool{false, true, false}
	p := NewReplay(Recording{Base: map[string][]byte{"db": nil}, Entries: entries})
	p.Lie = func() bool {
		lie := lies[0]
		lies = lies[1:]
		return lie
	}
	for _, c := range []struct {
		cut  int
		want string
	}{{2, "a"}, {4, "a"}, {6, "abc"}} {
		p.To(c.cut)
		if got := string(p.Crash(Fate{512, 0, false}, rand.New(rand.NewPCG(1, 1)))["db"]); got != c.want {
			t.Errorf("cut %d: %q, want %q", c.cut, got, c.want)
		}
	}
}

func TestCutsLieWithinAndWhereItMatters(t *testing.T) {
	rec := Recording{Entries: []Entry{
		write(0, "a"), write(1, "b"), {Kind: Sync, File: one}, {Kind: Ack, Name: "RAISED 1"}, write(2, "c"), write(3, "d"),
	}}
	random := rand.New(rand.NewPCG(5, 6))
	seen := make(map[int]int)
	for range 1000 {
		seen[rec.Cut(0, 6, random)]++
	}
	for at := range 7 {
		if seen[at] == 0 {
			t.Errorf("never cut at %d: %v", at, seen)
		}
	}
	if len(seen) != 7 {
		t.Errorf("cuts outside: %v", seen)
	}
	if at := rec.AfterAck(random); at != 4 || rec.Mark("RAISED 1") != 4 || rec.Mark("RAISED 2") != -1 {
		t.Errorf("after the promise is %d, its mark %d", at, rec.Mark("RAISED 1"))
	}
	if before, after := rec.Promises(3), rec.Promises(4); len(before) != 0 || len(after) != 1 {
		t.Errorf("promises %q, %q", before, after)
	}
}
