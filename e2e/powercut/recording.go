package powercut

import "math/rand/v2"

// Kind is what an entry of a recording did.
type Kind byte

// The kinds of entries.
const (
	Write      Kind = iota + 1 // Data at Off of File
	Truncate                   // File is Off bytes long
	Sync                       // File is durable, its names are not
	Create                     // Name is File
	Link                       // Name is File too
	Rename                     // Name becomes To
	Unlink                     // Name is gone
	SyncFolder                 // names are durable
	Ack                        // Name was promised to somebody
)

// Entry is one step of a recording.
type Entry struct {
	Kind     Kind
	File     uint64
	Off      int64
	Data     []byte
	Name, To string
}

// Recording is what happened to a disk: how it was, and every step since.
type Recording struct {
	Base    map[string][]byte // files that were there, durable
	Entries []Entry
}

// Promises returns what was acknowledged before the cut, in order.
func (r Recording) Promises(cut int) []string {
	var said []string
	for _, e := range r.Entries[:cut] {
		if e.Kind == Ack {
			said = append(said, e.Name)
		}
	}
	return said
}

// Count returns how many entries are of a kind.
func (r Recording) Count(k Kind) int {
	n := 0
	for _, e := range r.Entries {
		if e.Kind == k {
			n++
		}
	}
	return n
}

// Cut chooses a moment between the entries from and to: half of them anywhere,
// half where most is at stake, right after a promise, around a flush and
// around a change of names.
func (r Recording) Cut(from, to int, random *rand.Rand) int {
	at := from + random.IntN(to-from+1)
	if random.IntN(2) == 0 {
		return at
	}
	for i := at; i < to; i++ {
		switch r.Entries[i].Kind {
		case Ack:
			return i + 1
		case Sync, SyncFolder, Rename, Create, Unlink:
			return i + random.IntN(2)
		}
	}
	return at
}

// AfterAck chooses the moment right after a promise, when nothing but what was
// flushed before can keep it.
func (r Recording) AfterAck(random *rand.Rand) int {
	at := random.IntN(len(r.Entries))
	for i := range r.Entries {
		if n := (at + i) % len(r.Entries); r.Entries[n].Kind == Ack {
			return n + 1
		}
	}
	return at
}

// Mark returns the number of the first entry after the promise, or -1.
func (r Recording) Mark(promise string) int {
	for i, e := range r.Entries {
		if e.Kind == Ack && e.Name == promise {
			return i + 1
		}
	}
	return -1
}
