package queue

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"
	"sync"
)

// JSON of the plant says the same names again and again, and every byte of it
// is written to flash more than once: bodies are packed. The packing is that of
// an LZ4 block, sequences of literals and of copies from at most 64 KiB back,
// over a dictionary of the words that our records begin with; the sequences are
// then written with a fixed code of few bits for what is frequent, see coding.go.
// It is our own two hundred lines because the standard library's deflate takes ten
// times as long and keeps over a megabyte per writer, in a process whose whole
// index is less.
//
//	byte 0 is coded   uvarint: bytes of the text   sequences, coded
//
// A body that begins with packed has its sequences as they are, as they were
// written before schema 3. One that begins with neither, as no JSON does, is as it
// was put.
const (
	packed = 1
	coded  = 3 // 2 is frozen
)

const (
	packLeast   = 48       // shorter bodies stay as they are
	packMatch   = 4        // the shortest copy
	packHash    = 12       // bits
	maxUnpacked = 64 << 20 // bytes: nothing that is written comes near it
	maxRatio    = 300      // an LZ4 block cannot hold more than 255 times its size, and a byte of a length has no code
)

// packDictionary belongs to the format: another one is another first byte.
const packDictionary = `{"prompt":"","raw":"{\"summary\":\"\",\"causes\":[{\"cause\":\"\",\"likelihood\":\"likely\",\"evidence\":[\"` +
	`{"at":"","window_s":600,"history_since":"","tags":[{"tag":"","value":true,"eng_unit":"","quality":"uncertain","reason":null,"age_s":0,"changes":0,` +
	`"moved":0}],"moved":[],"omitted":0,"gaps":["` +
	`"text":"","eng_unit":"°C","eng_unit":"bar","eng_unit":"mm","eng_unit":"%","quality":"bad","quality":"good","age_s":0.,"min":0,"max":0,"mean":0.,"slope_per_min":0,` +
	`"changes":1,"last_change":"2026-01-01T00:00:00.000Z","moved":0.,"limit_low":0,"limit_high":1},{"tag":"` +
	`{"job":"","at":"","site":"","line":"","area":"","outside":true,"alarms":[{"alarm":{"id":"` +
	`"evidence":null}],"related":[],"language":"en"}` +
	`{"id":"01K","state":"completed","alarms":["01K"],"line":"","priority":2,"attempts":1,"interrupts":0,"max_attempts":8,` +
	`"next_try_at":null,"last_error":null,"created_at":"2026-","finished_at":"2026-","diagnosis":{"summary":"",` +
	`"language":"en","causes":[{"cause":"","likelihood":"possible","evidence":[""],"sources":["runbook/"]},{"cause":"","likelihood":"unlikely",` +
	`"evidence":[],"sources":[]}],"checks":["","` + `"],"urgency":"planned","urgency":"now","urgency":"shift","safety":"","missing":[],` +
	`"insufficient_evidence":false,"grounded":{"checked":0,"held":0},"filtered":[],"unstructured":"",` +
	`"by":{"provider":"runbook","kind":"runbook","model":"","prompt_version":"","at":"0001-01-01T00:00:00Z","took_ms":0,` +
	`"tokens_in":0,"tokens_out":0,"cost_usd":0,"attempts":0,"why_not_first":""}},"reviews":[],"feedback":null,` +
	`"timeline":[{"at":"2026-","event":"opened","detail":{"code":"alarm","params":{"alarm":"01K"},"text":""}},` +
	`{"at":"2026-","event":"joined","detail":{"code":"alarm",{"at":"2026-","event":"leased","detail":null},` +
	`{"at":"2026-","event":"completed","detail":{"code":"answered","params":{"provider":"cloud"},"text":"by cloud"}}],` +
	`"calls":[{"provider":"cloud","model":"gpt-4o-mini","at":"2026-","took_ms":1,"outcome":"ok","status":200,"tokens_in":1,` +
	`"tokens_out":1,"cost_usd":0.0,"request_id":"","error":null}],"prompt":"","raw":"{\"summary\":\"` +
	`{"id":"01K","device":"","line":"","area":"","code":"","text":"","source_text":"","origin":"outside","origin":"server","origin":"agent","origin":"tag","priority":2,` +
	`"state":"normal","state":"cleared_unacked","state":"acked","state":"unacked","shelved_until":null,"suppressed_by":"","raised_at":"2026-","cleared_at":null,` +
	`"acked_at":null,"acked_by":"","values":{".":0},"value_lost_since":null,"first_out":true,"observed":"live","diagnose":true,"hint":{"summary":"",` +
	`"job":"01K","last_time":null,"revision":1}` +
	`{"specversion":"1.0","id":"","source":"/","type":"edgeagent.device.stopped.v1","type":"edgeagent.job.failed.v1","type":"edgeagent.diagnosis.completed.v1",` +
	`"type":"edgeagent.alarm.cleared.v1","type":"edgeagent.alarm.acked.v1","type":"edgeagent.alarm.raised.v1","subject":"","time":"2026-",` +
	`"datacontenttype":"application/json","eaepoch":"01K","eastream":"diagnosis","eastream":"event","eastream":"alarm",` +
	`"sequence":"00000000000000000001","eaboot":"","eamono":"1000000000","data":{"id":"01K`

// A packer is what packing needs; they are used again, for they are large.
type packer struct {
	text []byte // the dictionary, then what is packed
	out  coder
	seen packTable

	scribe scribe // writes into text
}

// A packTable says where five bytes with a hash came last, in the low 16 bits of
// the position: all that a copy can reach. One that never came is taken for one at
// position 0, or a multiple of 64 KiB; whoever looks there sees that it is not.
// A table of this size, text and codes stay in the fastest memory of a processor.
type packTable [1 << packHash]uint16

func newPacker() *packer { return &packer{text: []byte(packDictionary), out: coder{codes: coding()}} }

var packers = sync.Pool{New: func() any { return newPacker() }}

// packBegin is the table after the dictionary.
var packBegin = sync.OnceValue(func() *packTable {
	var t packTable
	for at := range len(packDictionary) - 7 {
		t[packSlot(binary.LittleEndian.Uint64([]byte(packDictionary[at:at+8])))] = uint16(at)
	}
	return &t
})

// packSlot is where in a table the first five of eight bytes have their place. A copy
// of four bytes costs as much time as one of forty, and more bits than the letters.
func packSlot(eight uint64) uint64 { return eight << 24 * 0x9e3779b185ebca87 >> (64 - packHash) }

// pack returns a body packed, or as it is when that is shorter.
func pack(body []byte) []byte {
	if len(body) < packLeast || len(body) > maxUnpacked {
		return body
	}
	p := packers.Get().(*packer)
	defer packers.Put(p)
	p.text = append(p.text[:len(packDictionary)], body...)
	if out := p.pack(); len(out) < len(body) {
		return bytes.Clone(out)
	}
	return body
}

// packWritten packs what write writes; false when encoding/json would refuse it.
func packWritten(write func(*scribe)) ([]byte, bool) {
	p := packers.Get().(*packer)
	defer packers.Put(p)
	s := &p.scribe
	*s = scribe{out: p.text[:len(packDictionary)]}
	write(s)
	p.text = s.out
	body := p.text[len(packDictionary):]
	if s.odd || len(body) > maxUnpacked {
		return nil, false
	}
	if out := p.pack(); len(out) < len(body) && len(body) >= packLeast {
		body = out
	}
	return bytes.Clone(body), true
}

// pack packs what lies behind the dictionary. The result lives until the packer
// is used again. It looks at every byte of every raise: what it needs is at hand.
func (p *packer) pack() []byte {
	text, seen := p.text, &p.seen
	*seen = *packBegin()
	p.out.begin(uint64(len(text) - len(packDictionary)))
	done, at := len(packDictionary), len(packDictionary)
	for at <= len(text)-8 {
		eight := binary.LittleEndian.Uint64(text[at:])
		slot := packSlot(eight)
		away := int(uint16(at) - seen[slot])
		seen[slot] = uint16(at)
		differ := binary.LittleEndian.Uint64(text[at-away:]) ^ eight
		if differ<<24 != 0 || away == 0 {
			at += 1 + (at-done)>>6 // what has not packed for long is not looked at closely
			continue
		}
		n := bits.TrailingZeros64(differ) / 8
		if n == 8 {
			n = alike(text, at-away, at)
		}
		p.out.sequence(text[done:at], away, n)
		at += n
		done = at
	}
	p.out.sequence(text[done:], 0, packMatch)
	return p.out.end()
}

// alike returns for how long two places say the same, who begin with the same eight
// bytes.
func alike(text []byte, from, at int) int {
	n := 8
	for ; at+n+8 <= len(text); n += 8 {
		if differ := binary.LittleEndian.Uint64(text[from+n:]) ^ binary.LittleEndian.Uint64(text[at+n:]); differ != 0 {
			return n + bits.TrailingZeros64(differ)/8
		}
	}
	for at+n < len(text) && text[from+n] == text[at+n] {
		n++
	}
	return n
}

// unpack returns what pack was given. Its only error is damage.
func unpack(body []byte) ([]byte, error) {
	if len(body) == 0 || body[0] != packed && body[0] != coded {
		return body, nil
	}
	size, n := binary.Uvarint(body[1:])
	if n <= 0 || size > maxUnpacked || size > uint64(len(body))*maxRatio {
		return nil, fmt.Errorf("packed body of %d bytes says it holds %d: %w", len(body), size, errDamaged)
	}
	whole := len(packDictionary) + int(size)
	read := unpackSequences
	if body[0] == coded {
		read = decode
	}
	out, ok := read(append(make([]byte, 0, whole), packDictionary...), body[1+n:], whole)
	if !ok || len(out) != whole {
		return nil, fmt.Errorf("packed body cannot be unpacked, after %d of %d bytes: %w", len(out)-len(packDictionary), size, errDamaged)
	}
	return out[len(packDictionary):], nil
}

// unpackSequences appends all sequences of in to out.
func unpackSequences(out, in []byte, whole int) (text []byte, ok bool) {
	for ok = true; ok && len(in) > 0; {
		out, in, ok = unpackSequence(out, in, whole)
	}
	return out, ok
}

// unpackSequence appends one sequence of in to out, which must not outgrow whole.
func unpackSequence(out, in []byte, whole int) (text, rest []byte, ok bool) {
	token := in[0]
	literals, in, ok := cutLength(in[1:], int(token>>4))
	if !ok || literals > len(in) || len(out)+literals > whole {
		return out, in, false
	}
	out, in = append(out, in[:literals]...), in[literals:]
	if len(in) == 0 {
		return out, in, true // the end
	}
	if len(in) < 2 {
		return out, in, false
	}
	distance := int(binary.LittleEndian.Uint16(in))
	n, in, ok := cutLength(in[2:], int(token&15))
	if !ok {
		return out, in, false
	}
	out, ok = repeat(out, distance, n+packMatch, whole)
	return out, in, ok
}

// repeat appends n bytes from so far back, which may reach into themselves.
func repeat(out []byte, distance, n, whole int) ([]byte, bool) {
	from := len(out) - distance
	if distance == 0 || from < 0 || len(out)+n > whole {
		return out, false
	}
	for ; n > 0; n -= distance {
		out = append(out, out[from:from+min(n, distance)]...)
	}
	return out, true
}

func cutLength(in []byte, n int) (length int, rest []byte, ok bool) {
	if n < 15 {
		return n, in, true
	}
	for i, more := range in {
		if n += int(more); more != 255 || n > maxUnpacked {
			return n, in[i+1:], n <= maxUnpacked
		}
	}
	return 0, nil, false
}
