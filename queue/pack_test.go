package queue

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"edgeagent"
)

func TestPackedBodiesComeBack(t *testing.T) {
	noise := make([]byte, 70_000)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	for name, body := range map[string][]byte{
		"nothing":             {},
		"too short":           []byte(`{"a":1}`),
		"one byte repeated":   bytes.Repeat([]byte{'x'}, 5000),
		"noise":               noise,
		"noise, then again":   slices.Concat(noise, noise),
		"words of ours":       []byte(packDictionary),
		"long literals":       append(noise[:300:300], bytes.Repeat([]byte("z"), 300)...),
		"a copy at the end":   []byte(strings.Repeat("Level sensor unstable during fill. ", 3)),
		"every length of run": everyRun(),
	} {
		out := pack(body)
		back, err := unpack(out)
		if err != nil || !bytes.Equal(back, body) {
			t.Errorf("%s: %d bytes came back as %d, %v", name, len(body), len(back), err)
		}
		if len(out) > len(body) {
			t.Errorf("%s: %d bytes were packed into %d", name, len(body), len(out))
		}
	}
}

// everyRun has literals and copies of every length around those that need
// another byte.
func everyRun() []byte {
	r := rand.New(rand.NewPCG(3, 4))
	var out []byte
	for n := range 300 {
		for range n {
			out = append(out, byte(r.Uint32()))
		}
		out = append(out, bytes.Repeat([]byte{byte(n)}, n)...)
	}
	return out
}

// The dictionary is a part of the format: a file that is there would not be
// read with another one.
func TestDictionaryIsTheOneOfTheFiles(t *testing.T) {
	const want = "54c7191057cfc498"
	if sum := sha256.Sum256([]byte(packDictionary)); hex.EncodeToString(sum[:8]) != want {
		t.Errorf("the dictionary's sum is %x, want %s: another dictionary is another first byte", sum[:8], want)
	}
}

// So are the codes; and a table of which not all bits lead to a code, or some to
// two, is none.
func TestCodesAreThoseOfTheFiles(t *testing.T) {
	const want = "0bd578bc74068b95"
	if sum := sha256.Sum256([]byte(tokenLengths + literalLengths + distanceLengths)); hex.EncodeToString(sum[:8]) != want {
		t.Errorf("the codes' sum is %x, want %s: other codes are another first byte", sum[:8], want)
	}
	for name, lengths := range map[string]string{"tokens": tokenLengths, "literals": literalLengths, "distances": distanceLengths} {
		room := 1 << codeMost
		for i := range lengths {
			room -= 1 << (codeMost - hexDigit(lengths[i]))
		}
		if len(lengths) != 256 || room != 0 {
			t.Errorf("%s: %d lengths leave %d of %d places, want 256 and none", name, len(lengths), room, 1<<codeMost)
		}
	}
}

// What was packed before schema 3 is still read.
func TestUncodedPackingIsRead(t *testing.T) {
	const (
		old = "\x01\xc2\x01\x17{\x1e\x02\xc2the lens of \f\x00\xf3\x05vel sensor is dirty,\x1b\x00\x0f'\x00\x03\x00\x02\x032hec\xdf\a\x00" +
			"\x90\x01\x15n/\x00\x01\xea\a\fM\a\x7f \"x\":\"z\x01\x00' \"}"
		head = `{"summary":"the lens of the level sensor is dirty, the lens of the level sensor","checks":["clean the lens"],"unstructured":"", "x":"`
	)
	if back, err := unpack([]byte(old)); err != nil || string(back) != head+strings.Repeat("z", 59)+`"}` {
		t.Errorf("unpack = %q, %v", back, err)
	}
	for n := 1; n < len(old); n++ {
		if _, err := unpack([]byte(old[:n])); !errors.Is(err, errDamaged) {
			t.Errorf("cut to %d bytes: %v, want damage", n, err)
		}
	}
}

// Letters that are not of ASCII have longer codes; JSON of them still becomes no longer.
func TestOtherAlphabetsPackToo(t *testing.T) {
	for name, text := range map[string]string{
		"German":  `{"summary":"Füllstandssensor über dem Grenzwert, während der Durchfluss gleich bleibt: Linse prüfen","language":"de","causes":[]}`,
		"Russian": `{"summary":"Датчик уровня выше предела, расход обычный: проверить линзу","language":"ru","causes":[]}`,
		"Chinese": `{"summary":"液位传感器读数超过上限而流量正常,请检查镜头是否脏污并清洁","language":"zh","causes":[]}`,
	} {
		if out := pack([]byte(text)); out[0] != coded || len(out) >= len(text) {
			t.Errorf("%s: %d bytes became %d", name, len(text), len(out))
		}
	}
}

func TestCutOrChangedPackingIsDamageOrAnotherText(t *testing.T) {
	body := []byte(`{"summary":"the lens of the level sensor is dirty","checks":["clean the lens","compare with the sight glass"]}`)
	out := pack(body)
	if out[0] != coded {
		t.Fatal("the body was not packed")
	}
	for n := 1; n < len(out); n++ {
		if _, err := unpack(out[:n]); !errors.Is(err, errDamaged) {
			t.Errorf("cut to %d bytes: %v, want damage", n, err)
		}
	}
	for i := range out {
		bad := bytes.Clone(out)
		bad[i] ^= 0x40
		if back, err := unpack(bad); err == nil && bytes.Equal(back, body) {
			t.Errorf("byte %d does not matter", i)
		}
	}
}

func TestAlarmsPackWell(t *testing.T) {
	a := edgeagent.Alarm{Device: "filler", Line: "Filler-2", Code: "F212", Text: "Level sensor unstable", Hint: &edgeagent.Diagnosis{Summary: "clean the lens"}}
	text, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	if out := pack(text); len(out)*3 > len(text) {
		t.Errorf("%d bytes of an alarm were packed into %d, want a third at most", len(text), len(out))
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add(pack([]byte(packDictionary)))
	f.Add([]byte{packed, 5, 0x10, 'x', 1, 0})
	f.Add([]byte{coded, 5, 0x10, 'x', 1, 0})
	f.Fuzz(func(t *testing.T, body []byte) {
		out, err := unpack(body)
		if err == nil && len(out) > 0 && (body[0] == packed || body[0] == coded) && len(out) > maxRatio*len(body) {
			t.Errorf("%d bytes became %d", len(body), len(out))
		}
	})
}

func FuzzPack(f *testing.F) {
	f.Add([]byte(packDictionary))
	f.Add(everyRun())
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) > 0 && (body[0] == packed || body[0] == coded) {
			return
		}
		if back, err := unpack(pack(body)); err != nil || !bytes.Equal(back, body) {
			t.Errorf("came back as %q, %v", back, err)
		}
	})
}

// A packer is used again: what it remembers of the text before must never be
// copied from.
func TestPackerForgetsTheTextBefore(t *testing.T) {
	p := newPacker()
	r := rand.New(rand.NewPCG(7, 8))
	for i := range 400 {
		body := []byte(strings.Repeat(hostileTexts[r.IntN(len(hostileTexts))]+"level of the filler ", r.IntN(9)))
		p.text = append(p.text[:len(packDictionary)], body...)
		fresh := newPacker()
		fresh.text = append(fresh.text, body...)
		out := p.pack()
		if back, err := unpack(out); err != nil || !bytes.Equal(back, body) || !bytes.Equal(out, fresh.pack()) {
			t.Fatalf("%d: %q came back as %q, %v; a fresh packer's bytes: %t", i, body, back, err, bytes.Equal(out, fresh.pack()))
		}
	}
}

// Where a word came last is kept in 16 bits: what comes again just within and just
// beyond their reach comes back, and so does what never came.
func TestPackerCountsBeyondItsReach(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	run := func(n int) []byte { return bytes.Repeat([]byte{'x'}, n) }
	for _, away := range []int{1<<16 - 1, 1 << 16, 1<<16 + 1, 1 << 17} {
		for range 30 {
			word := binary.LittleEndian.AppendUint64(nil, r.Uint64())
			comesBack(t, slices.Concat(word, run(away-len(word)), word, word))
			comesBack(t, slices.Concat(run(away-len(packDictionary)), word, []byte(packDictionary)))
		}
	}
}

func comesBack(t *testing.T, body []byte) {
	t.Helper()
	if back, err := unpack(pack(body)); err != nil || !bytes.Equal(back, body) {
		t.Fatalf("%d bytes came back as %d, %v", len(body), len(back), err)
	}
}
