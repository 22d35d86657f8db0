package queue

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
)

// lines writes frames of some entries one behind the other.
func linesOf(id journalID, generation uint64, bodies ...string) []byte {
	return linesAfter(7, id, generation, bodies...)
}

// linesAfter says how many frames of the generation before there are.
func linesAfter(before uint32, id journalID, generation uint64, bodies ...string) []byte {
	half := make([]byte, 16*blockSize)
	at := 0
	for n, body := range bodies {
		buf := beginFrame(nil)
		key := fmt.Sprintf("key-%d", n)
		buf = appendEntry(buf, "m"+key, encodeRecord(bucketMeta, key, 0, []byte(body)))
		buf = appendEntry(buf, "mgone", nil)
		at += copy(half[at:], endFrame(buf, frameMark{id, generation, uint32(n), before}))
	}
	return half
}

func areaOf(half []byte) *area { return &area{r: bytes.NewReader(half), size: len(half)} }

func found(halves ...[]byte) (j journalFile) {
	j.path = "j"
	for i, half := range halves {
		if half != nil {
			j.parts[i] = *areaOf(half)
		}
	}
	return j
}

var threeFrames = []string{"first", string(bytes.Repeat([]byte("second "), 1000)), "third"}

func TestAFrameIsReadAsItWasWritten(t *testing.T) {
	id := newJournalID()
	c := readChain(areaOf(linesOf(id, 4, threeFrames...)), id, 4)
	if len(c.frames) != 3 || !c.whole || c.end != 4*blockSize {
		t.Fatalf("%d frames up to %d, whole %t; want 3 up to %d", len(c.frames), c.end, c.whole, 4*blockSize)
	}
	for n, f := range c.frames {
		var puts, drops []string
		err := f.each(func(kind byte, key string, rec []byte) error {
			if rec == nil {
				drops = append(drops, string(rune(kind))+key)
				return nil
			}
			body, _, err := decodeRecord(kind, key, rec)
			puts = append(puts, string(body))
			return err
		})
		if err != nil || !slices.Equal(puts, threeFrames[n:n+1]) || !slices.Equal(drops, []string{"mgone"}) || f.before != 7 {
			t.Errorf("frame %d: puts %.20q, drops %q, %v", n, puts, drops, err)
		}
	}
}

// A power cut tears the frame that is being written, and no other.
func TestATornFrameEndsTheJournal(t *testing.T) {
	id := newJournalID()
	whole := linesOf(id, 4, threeFrames...)
	size := []int{frameHead, 0, frameHead}
	for n, body := range threeFrames {
		size[n] = len(endFrame(appendEntry(appendEntry(beginFrame(nil), "", encodeRecord(bucketMeta, fmt.Sprint("key-", n), 0, []byte(body))), "mgone", nil), frameMark{}))
	}
	for cut := range 4 * blockSize {
		torn := bytes.Clone(whole)
		clear(torn[cut:])
		want, at := 0, 0
		for _, n := range size {
			if at += n; bytes.Equal(torn[:at], whole[:at]) {
				want++
			}
		}
		if c := readChain(areaOf(torn), id, 4); len(c.frames) != want || !c.whole {
			t.Fatalf("cut at %d: %d frames, whole %t; want %d", cut, len(c.frames), c.whole, want)
		}
	}
}

// What was written before the last frame was acknowledged: there a flipped bit is
// damage, and the others are read all the same.
func TestDamageWithinTheJournalIsNoEnd(t *testing.T) {
	id := newJournalID()
	whole := linesOf(id, 4, threeFrames...)
	for at := range 3*blockSize + 200 {
		bad := bytes.Clone(whole)
		bad[at] ^= 0x10
		c := readChain(areaOf(bad), id, 4)
		switch {
		case len(c.frames) == 3: // what fills up a block says nothing
		case len(c.frames) != 2:
			t.Fatalf("a bit at %d: %d frames", at, len(c.frames))
		case at < 3*blockSize && c.whole:
			t.Fatalf("a bit at %d was not noticed", at)
		case at >= 3*blockSize && !c.whole:
			t.Fatalf("a bit at %d in the last frame is no gap", at)
		}
	}
}

func TestOtherFramesDoNotCount(t *testing.T) {
	id := newJournalID()
	half := linesOf(id, 2, "a", "b", "c", "d") // of two generations before
	copy(half, linesOf(id, 4, "e", "f")[:2*blockSize])
	if c := readChain(areaOf(half), id, 4); len(c.frames) != 2 || !c.whole || c.end != 2*blockSize {
		t.Errorf("%d frames up to %d, whole %t; want the 2 of the generation", len(c.frames), c.end, c.whole)
	}
	if c := readChain(areaOf(half), newJournalID(), 4); len(c.frames) != 0 || !c.whole {
		t.Errorf("%d frames of another journal", len(c.frames))
	}
}

func TestWhatIsFoundBesideTheDataFile(t *testing.T) {
	id, other := newJournalID(), newJournalID()
	with := func(four, five []byte) journalFile { return found(four, five) }
	three := func(five, six, four []byte) journalFile { return found(six, four, five) }
	one := linesOf(id, 4, "a", "b")
	holed := linesOf(id, 4, "a", "b", "c")
	clear(holed[blockSize : 2*blockSize])
	empty := make([]byte, 16*blockSize)
	for name, c := range map[string]struct {
		found  journalFile
		mark   *journalMark
		frames int
		damage bool
	}{
		"never had one":                     {with(nil, nil), nil, 0, false},
		"sealed":                            {with(linesOf(id, 4, "a"), empty), &journalMark{id, 4, 0, false, 2}, 0, false},
		"sealed, another's":                 {with(linesOf(other, 4, "a"), empty), &journalMark{id, 4, 0, false, 2}, 0, false},
		"as it should be":                   {with(linesOf(id, 4, "a", "b"), linesOf(id, 3, "x")), &journalMark{id, 4, 1, true, 2}, 2, false},
		"nothing since":                     {with(empty, linesOf(id, 3, "x")), &journalMark{id, 4, 1, true, 2}, 0, false},
		"nothing ever":                      {with(empty, empty), &journalMark{id, 1, 0, true, 2}, 0, false},
		"missing":                           {with(nil, nil), &journalMark{id, 4, 0, true, 2}, 0, true},
		"zeros":                             {with(empty, empty), &journalMark{id, 4, 1, true, 2}, 0, true},
		"another's":                         {with(linesOf(other, 4, "a"), empty), &journalMark{id, 4, 0, true, 2}, 0, true},
		"the data file is older":            {with(linesOf(id, 4, "a"), linesOf(id, 6, "b")), &journalMark{id, 4, 1, true, 2}, 1, true},
		"the data file is as new":           {with(linesOf(id, 4, "a"), linesOf(id, 5, "b")), &journalMark{id, 5, 1, true, 2}, 1, false},
		"a checkpoint was under way":        {three(linesAfter(2, id, 5, "c", "d"), empty, one), &journalMark{id, 4, 1, true, 3}, 4, false},
		"and one frame before it is gone":   {three(linesAfter(3, id, 5, "c", "d"), empty, one), &journalMark{id, 4, 1, true, 3}, 4, true},
		"and one amid them":                 {three(linesAfter(3, id, 5, "c", "d"), empty, holed), &journalMark{id, 4, 1, true, 3}, 4, true},
		"and all before it":                 {three(linesAfter(3, id, 5, "c", "d"), empty, empty), &journalMark{id, 4, 1, true, 3}, 2, true},
		"two checkpoints are missing":       {three(linesAfter(2, id, 5, "c"), linesAfter(1, id, 6, "d"), one), &journalMark{id, 4, 1, true, 3}, 2, true},
		"the data file is a copy of before": {with(linesOf(id, 4, "a"), linesOf(id, 5, "b")), &journalMark{id, 2, 1, true, 2}, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := c.found.after(c.mark)
			if len(got.frames) != c.frames || (err != nil) != c.damage {
				t.Errorf("%d frames, %v; want %d, damage %t", len(got.frames), err, c.frames, c.damage)
			}
			if err != nil && !isDamage(err) {
				t.Errorf("%v is no damage", err)
			}
		})
	}
}

func TestTheMarkOfAJournal(t *testing.T) {
	m := journalMark{newJournalID(), 1 << 40, 12, true, 3}
	got, err := decodeJournalMark(m.encode())
	if err != nil || got != m {
		t.Errorf("reads %v, %v; want %v", got, err, m)
	}
	m.parts = 2
	if got, err := decodeJournalMark(m.encode()[:journalMarkSize-1]); err != nil || got != m {
		t.Errorf("reads %v, %v; want %v, of before it said how many parts there are", got, err, m)
	}
	for n := range journalMarkSize - 1 {
		if _, err := decodeJournalMark(m.encode()[:n]); err == nil {
			t.Errorf("%d bytes of it are a mark", n)
		}
	}
}

// Whatever lies in a journal, reading it ends, and what it returns lies within.
func FuzzReadChain(f *testing.F) {
	id := journalID{1}
	f.Add(linesOf(id, 4, threeFrames...)[:4*blockSize])
	f.Add([]byte(frameMagic))
	entry := appendEntry(nil, "x", encodeRecord('?', "", 0, nil))
	f.Add(endFrame(append(beginFrame(nil), entry...), frameMark{id: id, generation: 4}))
	f.Fuzz(func(t *testing.T, half []byte) {
		c := readChain(areaOf(half), id, 4)
		if c.end > blocks(len(half)) {
			t.Errorf("the next frame goes to %d of %d", c.end, len(half))
		}
		for _, fr := range c.frames {
			_ = fr.each(func(kind byte, key string, rec []byte) error {
				if _, _, err := decodeRecord(kind, key, rec); rec != nil && err != nil {
					t.Errorf("a record that does not hold was visited: %v", err)
				}
				return nil
			})
		}
		for fr := range areaOf(half).all {
			if fr.at+fr.size > blocks(len(half)) {
				t.Errorf("a frame of %d blocks at %d of %d", fr.size, fr.at, len(half))
			}
		}
	})
}
