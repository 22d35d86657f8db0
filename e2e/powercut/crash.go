package powercut

import (
	"fmt"
	"math/rand/v2"
)

// Fate is what becomes of writes that were not flushed when the power went.
type Fate struct {
	Sector int     // bytes that a disk writes as one: 512 or 4096
	Keep   float64 // chance of each sector, and of each change of names in order
	Torn   bool    // some of the dropped sectors are written in part
}

func (f Fate) String() string {
	s := fmt.Sprintf("sectors of %d, %.0f %% kept", f.Sector, f.Keep*100)
	if f.Torn {
		s += ", some torn"
	}
	return s
}

// Fates are all that are tried, the two ends among them: nothing kept, all kept.
var Fates = func() (all []Fate) {
	for _, sector := range []int{512, 4096} {
		all = append(all, Fate{sector, 0, false}, Fate{sector, 1, false})
		for _, keep := range []float64{.1, .5, .9} {
			all = append(all, Fate{sector, keep, false}, Fate{sector, keep, true})
		}
	}
	return all
}()

// Replay walks through a recording and makes crash states on the way.
type Replay struct {
	rec     Recording
	at      int
	files   map[uint64]*file
	names   map[string]uint64 // durable
	pending []Entry           // changes of names that are not

	// Lie makes a disk that says "flushed" and has not: asked at each flush.
	// What it withheld becomes durable with the next flush that is honoured.
	Lie func() bool
}

// file is what a disk holds of a file, and what is on its way.
type file struct {
	durable []byte
	pending []Entry
}

// NewReplay begins with the recording's base.
func NewReplay(rec Recording) *Replay {
	p := &Replay{rec: rec, files: make(map[uint64]*file), names: make(map[string]uint64)}
	for i, name := range sorted(rec.Base) {
		p.names[name] = firstFile + uint64(i)
		p.files[firstFile+uint64(i)] = &file{durable: append([]byte(nil), rec.Base[name]...)}
	}
	return p
}

// To goes forward to the moment before entry cut; it never goes back.
func (p *Replay) To(cut int) {
	for ; p.at < cut; p.at++ {
		p.step(p.rec.Entries[p.at])
	}
}

func (p *Replay) step(e Entry) {
	switch e.Kind {
	case Write, Truncate:
		f := p.files[e.File]
		f.pending = append(f.pending, e)
	case Create:
		p.files[e.File] = &file{}
		p.pending = append(p.pending, e)
	case Link, Rename, Unlink:
		p.pending = append(p.pending, e)
	case Sync:
		if f := p.files[e.File]; !p.lies() {
			f.durable = settle(f.durable, f.pending, nil)
			f.pending = nil
		}
	case SyncFolder:
		if !p.lies() {
			p.names = rename(p.names, p.pending)
			p.pending = nil
		}
	}
}

func (p *Replay) lies() bool { return p.Lie != nil && p.Lie() }

// Crash returns the files that are found after a power cut here and now.
func (p *Replay) Crash(f Fate, random *rand.Rand) map[string][]byte {
	kept := 0 // a journal keeps changes of names in order
	for kept < len(p.pending) && random.Float64() < f.Keep {
		kept++
	}
	found := make(map[string][]byte)
	for name, id := range rename(p.names, p.pending[:kept]) {
		file := p.files[id]
		found[name] = f.Settle(append([]byte(nil), file.durable...), file.pending, random)
	}
	return found
}

// Settle returns what is found of content, in place, after a power cut while
// writes were under way.
func (f Fate) Settle(content []byte, writes []Entry, random *rand.Rand) []byte {
	return settle(content, writes, func(e Entry) []Entry { return f.survive(e, random) })
}

// survive returns what is left of an entry: some sectors of a write, a
// truncation or nothing.
func (f Fate) survive(e Entry, random *rand.Rand) []Entry {
	if e.Kind == Truncate {
		if random.Float64() < f.Keep {
			return []Entry{e}
		}
		return nil
	}
	var left []Entry
	for from := int64(0); from < int64(len(e.Data)); {
		sector := int64(f.Sector)
		to := min(int64(len(e.Data)), ((e.Off+from)/sector+1)*sector-e.Off)
		part := Entry{Kind: Write, Off: e.Off + from, Data: e.Data[from:to]}
		from = to
		if random.Float64() < f.Keep {
			left = append(left, part)
			continue
		}
		if f.Torn && random.IntN(4) == 0 {
			part.Data = part.Data[:random.IntN(len(part.Data))]
			left = append(left, part)
		}
	}
	return left
}

// settle carries out entries on the content of a file; through, if any, says
// what is left of each.
func settle(content []byte, entries []Entry, through func(Entry) []Entry) []byte {
	for _, e := range entries {
		left := []Entry{e}
		if through != nil {
			left = through(e)
		}
		for _, l := range left {
			content = l.apply(content)
		}
	}
	return content
}

// apply returns the content of a file after a write or a truncation.
func (e Entry) apply(content []byte) []byte {
	end := e.Off + int64(len(e.Data))
	if e.Kind == Truncate {
		if end <= int64(len(content)) {
			return content[:end:end]
		}
	}
	if grow := end - int64(len(content)); grow > 0 && (e.Kind == Truncate || len(e.Data) > 0) {
		content = append(content, make([]byte, grow)...)
	}
	copy(content[min(e.Off, int64(len(content))):], e.Data)
	return content
}

// rename returns the names after the entries.
func rename(names map[string]uint64, entries []Entry) map[string]uint64 {
	after := make(map[string]uint64, len(names))
	for name, id := range names {
		after[name] = id
	}
	for _, e := range entries {
		switch e.Kind {
		case Create, Link:
			after[e.Name] = e.File
		case Unlink:
			delete(after, e.Name)
		case Rename:
			if id, there := after[e.Name]; there {
				after[e.To] = id
				delete(after, e.Name)
			}
		}
	}
	return after
}
