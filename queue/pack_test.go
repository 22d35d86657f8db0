package queue

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
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

// A packer is used again without its table being emptied: what it remembers of
// the text before must never be copied from, also where its count begins anew.
func TestPackerForgetsTheTextBefore(t *testing.T) {
	p := &packer{text: []byte(packDictionary)}
	r := rand.New(rand.NewPCG(7, 8))
	for i := range 400 {
		body := []byte(strings.Repeat(hostileTexts[r.IntN(len(hostileTexts))]+"level of the filler ", r.IntN(9)))
		if i%50 == 25 {
			p.base = math.MaxInt32 - r.Int32N(1<<13)
		}
		p.text = append(p.text[:len(packDictionary)], body...)
		fresh := &packer{text: slices.Clone(p.text)}
		out := p.pack()
		if back, err := unpack(out); err != nil || !bytes.Equal(back, body) || !bytes.Equal(out, fresh.pack()) {
			t.Fatalf("%d: %q came back as %q, %v; a fresh packer's bytes: %t", i, body, back, err, bytes.Equal(out, fresh.pack()))
		}
	}
}
