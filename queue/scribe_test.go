package queue

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"edgeagent"
)

// What is written by hand is what encoding/json writes, for every field that
// there is or comes to be, and for what no plant should ever say.
func TestScribeWritesWhatEncodingJSONWrites(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for i := range 3000 {
		a, e, l := filled[edgeagent.Alarm](r), filled[edgeagent.Evidence](r), filled[edgeagent.TimelineEntry](r)
		a.Job, a.LastTime = "", nil
		sameJSON(t, i, a, func(s *scribe) {
			cut := s.alarm(&a)
			s.out = append(s.out[:cut], missing+string(s.out[cut:])...)
		})
		sameJSON(t, i, e, func(s *scribe) { s.evidence(&e) })
		sameJSON(t, i, l, func(s *scribe) { s.entry(&l) })
		o := filled[edgeagent.Occurrence](r)
		sameJSON(t, i, o, func(s *scribe) { s.occurrence("", &o) })
		a.ID = edgeagent.NewID(time.UnixMilli(r.Int64N(1 << 47)))
		came := edgeagent.TimelineEntry{At: l.At, Event: l.Event, Detail: edgeagent.NewNote("alarm", a.Name()+": "+a.Text, paramAlarm, string(a.ID))}
		sameJSON(t, i, came, func(s *scribe) {
			line, ok := appendNoted(nil, l.At, l.Event, &a)
			text, err := readNoted(line)
			if s.out, s.odd = text, !ok; ok && err != nil {
				t.Fatal(err)
			}
		})
		v := filled[edgeagent.Event](r)
		v.Data = json.RawMessage("0")
		sameJSON(t, i, v, func(s *scribe) { s.event(&v); s.put("0}") })
	}
}

func sameJSON(t *testing.T, i int, v any, write func(*scribe)) {
	t.Helper()
	want, err := json.Marshal(v)
	var s scribe
	write(&s)
	if s.odd != (err != nil) {
		t.Fatalf("%d: %T: odd is %t where encoding/json says %v", i, v, s.odd, err)
	}
	if err == nil && !bytes.Equal(s.out, want) {
		t.Fatalf("%d:\n got %s\nwant %s", i, s.out, want)
	}
}

// Texts are looked at eight bytes at once: every byte, and every rune that is
// special, at every place of one or two of them.
func TestScribeWritesTextsAsEncodingJSONDoes(t *testing.T) {
	odd := []string{"\u2027", "\u2028", "\u2029", "\ufffd", "\xe2\x80", "\xed\xa0\x80", "\u00a0", "\U0001f527"}
	for c := range 256 {
		odd = append(odd, string([]byte{byte(c)}))
	}
	const around = "Level of filler 7"
	for _, one := range odd {
		for at := range around {
			for end := at; end < len(around); end++ {
				text := around[:at] + one + around[at:end]
				sameJSON(t, at, text, func(s *scribe) { s.text("", text) })
			}
		}
	}
}

func TestScribeWritesWholeNumbersAsEncodingJSONDoes(t *testing.T) {
	for i, n := range []int64{0, 1, 1 << 53, 1<<53 + 1, 1<<62 + 1, math.MaxInt64} {
		for away := range int64(4) {
			for _, v := range []edgeagent.Value{edgeagent.Int(n - away), edgeagent.Int(away - n), edgeagent.Uint(uint64(n) + uint64(away))} {
				sameJSON(t, i, v, func(s *scribe) { s.value(v) })
			}
		}
	}
}

// A number that JSON cannot write, and a time of which it has no year, are left
// to encoding/json, which says so.
func TestScribeGivesUpWhereEncodingJSONDoes(t *testing.T) {
	late := time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
	a := edgeagent.Alarm{RaisedAt: late}
	if _, err := freezeAlarm(a); err == nil {
		t.Error("an alarm of the year 10000 was frozen: want the error of encoding/json")
	}
}

func FuzzScribeText(f *testing.F) {
	for _, text := range hostileTexts {
		f.Add(text, 1.5)
	}
	f.Add("", 1e-7)
	f.Fuzz(func(t *testing.T, text string, n float64) {
		v := edgeagent.Feature{Tag: text, Value: edgeagent.String(text), Moved: n, Min: &n}
		sameJSON(t, 0, v, func(s *scribe) { s.feature(&v) })
	})
}

var hostileTexts = []string{
	"", "plain", "Füllstand °C", `"quoted" \ back`, "<b>&amp;</b>", "\x00\x1f\x7f\t\n\r\b\f", "\xff\xfe cut \xe2\x80", "a\u2028b\u2029c", "\ufffd kept", "𝛑",
	missing, `{"at":"`,
}

var hostileNumbers = []float64{0, math.Copysign(0, -1), 1, -1.5, 1e-6, 9.9e-7, 1e-7, 1e-10, 1e20, 1e21, -1e21, 1e300, math.MaxFloat64, math.SmallestNonzeroFloat64, 0.1, 1.0 / 3}

// filled returns a T of which any field may be set, or not.
func filled[T any](r *rand.Rand) (v T) {
	scrawl(r, reflect.ValueOf(&v).Elem())
	return v
}

func scrawl(r *rand.Rand, v reflect.Value) {
	switch v.Interface().(type) {
	case time.Time:
		at := time.Unix(r.Int64N(1<<33), r.Int64N(3)*r.Int64N(1e9)).In([]*time.Location{time.UTC, time.FixedZone("", -5400)}[r.IntN(2)])
		v.Set(reflect.ValueOf(at))
		return
	case edgeagent.Value:
		v.Set(reflect.ValueOf(anyValue(r)))
		return
	case json.RawMessage:
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(hostileTexts[r.IntN(len(hostileTexts))])
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(r.Uint64() >> r.IntN(64)))
	case reflect.Uint8:
		v.SetUint(r.Uint64N(5))
	case reflect.Float64:
		v.SetFloat(anyNumber(r))
	default:
		scrawlMany(r, v)
	}
}

// scrawlMany fills what holds others.
func scrawlMany(r *rand.Rand, v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for _, field := range v.Fields() {
			scrawl(r, field)
		}
	case reflect.Pointer:
		if r.IntN(3) > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			scrawl(r, v.Elem())
		}
	case reflect.Slice:
		if n := r.IntN(4); n < 3 {
			v.Set(reflect.MakeSlice(v.Type(), n, n))
			for i := range n {
				scrawl(r, v.Index(i))
			}
		}
	case reflect.Map:
		if r.IntN(4) > 0 {
			v.Set(reflect.MakeMap(v.Type()))
		}
		for i := 0; !v.IsNil() && i < r.IntN(4); i++ {
			key, elem := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			scrawl(r, key)
			scrawl(r, elem)
			v.SetMapIndex(key, elem)
		}
	default:
		panic(fmt.Sprintf("%s: the test cannot fill it", v.Type()))
	}
}

func anyNumber(r *rand.Rand) float64 {
	if r.IntN(2) == 0 {
		return hostileNumbers[r.IntN(len(hostileNumbers))]
	}
	if f := math.Float64frombits(r.Uint64()); !math.IsNaN(f) && !math.IsInf(f, 0) {
		return f
	}
	return r.NormFloat64()
}

func anyValue(r *rand.Rand) edgeagent.Value {
	switch r.IntN(7) {
	case 0:
		return edgeagent.Value{}
	case 1:
		return edgeagent.Bool(r.IntN(2) == 0)
	case 2:
		return edgeagent.Int(int64(r.Uint64() >> r.IntN(64)))
	case 3:
		return edgeagent.Uint(r.Uint64() >> r.IntN(64))
	case 4:
		return edgeagent.String(hostileTexts[r.IntN(len(hostileTexts))])
	case 5:
		return edgeagent.Float([]float64{math.NaN(), math.Inf(1)}[r.IntN(2)])
	default:
		return edgeagent.Float(anyNumber(r))
	}
}
