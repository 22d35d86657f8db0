package edgeagent

import (
	"encoding/json"
	"math"
	"testing"
)

func TestValueJSON(t *testing.T) {
	cases := []struct {
		name string
		v    Value
		want string
		back Value
	}{
		{"none", Value{}, "null", Value{}},
		{"bool", Bool(true), "true", Bool(true)},
		{"int", Int(-7), "-7", Int(-7)},
		{"uint", Uint(7), "7", Int(7)},
		{"largest exact", Int(1 << 53), "9007199254740992", Int(1 << 53)},
		{"beyond 2^53", Int(1<<53 + 1), `"9007199254740993"`, String("9007199254740993")},
		{"uint64 max", Uint(math.MaxUint64), `"18446744073709551615"`, String("18446744073709551615")},
		{"float", Float(1.5), "1.5", Float(1.5)},
		{"NaN", Float(math.NaN()), "null", Value{}},
		{"infinity", Float(math.Inf(-1)), "null", Value{}},
		{"text", String(`a"<b`), `"a\"\u003cb"`, String(`a"<b`)},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := json.Marshal(c.v)
			if err != nil || string(got) != c.want {
				t.Fatalf("Marshal = %s, %v; want %s", got, err, c.want)
			}
			var back Value
			if err := json.Unmarshal(got, &back); err != nil || !back.Equal(c.back) {
				t.Errorf("Unmarshal = %v, %v; want %v", back, err, c.back)
			}
		})
	}
}

func TestEveryNaNIsTheSame(t *testing.T) {
	quiet, signalling := math.Float32frombits(0x7fc00001), math.Float32frombits(0xffa00000)
	if a, b := Float(float64(quiet)), Float(float64(signalling)); !a.Equal(b) || a.Finite() {
		t.Errorf("%v and %v differ", a, b)
	}
}

func TestValueRefusesObjects(t *testing.T) {
	var v Value
	if err := json.Unmarshal([]byte(`{"a":1}`), &v); err == nil {
		t.Error("an object became a value")
	}
}

func TestZeroQualityIsBad(t *testing.T) {
	var s Sample
	if s.Quality != QualityBad {
		t.Error("a forgotten quality must not look right")
	}
}

func TestUsable(t *testing.T) {
	cases := []struct {
		name string
		r    Reading
		want bool
	}{
		{"good", Reading{Value: Int(1), Quality: QualityGood}, true},
		{"out of range still counts", Reading{Value: Int(1), Quality: QualityUncertain, Reason: NewNote(ReasonOutOfRange, "")}, true},
		{"stale", Reading{Value: Int(1), Quality: QualityUncertain, Reason: NewNote(ReasonStale, "")}, false},
		{"bad", Reading{Value: Int(1)}, false},
		{"NaN", Reading{Value: Float(math.NaN()), Quality: QualityGood}, false},
		{"none", Reading{Quality: QualityGood}, false},
	}
	for _, c := range cases {
		if got := c.r.Usable(); got != c.want {
			t.Errorf("%s: Usable() = %v, want %v", c.name, got, c.want)
		}
	}
}
