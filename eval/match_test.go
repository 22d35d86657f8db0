package eval

import (
	"strings"
	"testing"
)

var (
	foam  = []Cause{{{"foam", "froth", "*schaum"}, {"probe", "sensor", "electrode", "*sonde"}}}
	valve = []Cause{{{"valve", "*ventil"}, {"not open", "stuck", "stay closed", "klemmt", "oeffnet nicht", "nicht oeffne"}}}
	wire  = []Cause{{{"wire", "cable", "*kabel", "*leitung"}, {"broken", "break", "interrupted", "*bruch", "gebrochen"}}}
	cause = map[string][]Cause{"foam": foam, "valve": valve, "wire": wire}
)

func TestNames(t *testing.T) {
	for _, tt := range []struct {
		cause, text string
		want        bool
	}{
		// Said, in other words, in two languages.
		{"foam", "Foam on the level probe", true},
		{"foam", "The sensor sees froth instead of product.", true},
		{"foam", "Foaming product wets the electrode", true},
		{"foam", "Bierschaum an der Füllstandssonde", true},
		{"foam", "SCHAUM AUF DER SONDE", true},
		{"foam", "Not a wiring fault, but foam at the probe", true},
		{"foam", "Kein Kabelbruch, sondern Schaum an der Sonde", true},
		{"foam", "The wiring isn't damaged; foam covers the probe", true},
		{"foam", "Foam on the probe, not a fault of the amplifier", true},
		{"foam", "Not only is the product warm, foam reaches the probe", true},
		{"valve", "The CIP valve does not open", true},
		{"valve", "CIP valve doesn't fully open", true},
		{"valve", "The inlet valve is stuck", true},
		{"valve", "Das Einlassventil öffnet nicht", true},
		{"valve", "The valve is not opening", true},
		{"wire", "No change of the signal because the cable is broken", true},
		{"wire", "Kabelbruch in der Signalleitung", true},
		// Denied.
		{"foam", "Not foam on the probe", false},
		{"foam", "It isn't foam at the probe", false},
		{"foam", "Foam on the probe is unlikely", false},
		{"foam", "Foam at the sensor can be ruled out", false},
		{"foam", "Schaum an der Sonde ist ausgeschlossen", false},
		{"foam", "Es ist kein Schaum an der Sonde", false},
		{"foam", "Foam is not the cause of what the probe shows", false},
		{"foam", "A wet plug rather than foam on the probe", false},
		{"foam", "Nasser Stecker statt Schaum an der Sonde", false},
		{"foam", "The probe is free, without any foam", false},
		{"wire", "The wire is not broken", false},
		{"wire", "No cable break: the cable is fine", false},
		{"wire", "Neither a broken cable nor a wet plug", false},
		{"wire", "Weder Kabelbruch noch Korrosion", false},
		// Near misses.
		{"foam", "Foam in the rinse tank", false},
		{"foam", "The level probe is dirty", false},
		{"foam", "Level probe: dirty. Tank: foam.", false},
		{"valve", "The valve leaks", false},
		{"valve", "The drain valve stays open", false},
		{"wire", "The wireless link is interrupted", true}, // a prefix is a word: terms must be chosen with care
		{"foam", "", false},
		{"foam", ",,,;;", false},
	} {
		if got := Names(tt.text, cause[tt.cause]); got != tt.want {
			t.Errorf("%s in %q: %v, want %v", tt.cause, tt.text, got, tt.want)
		}
	}
}

func TestShortTermsAreWholeWords(t *testing.T) {
	air := []Cause{{{"air"}, {"low"}}}
	for text, want := range map[string]bool{"Air pressure low": true, "The airlock is lower": false, "low air": true, "allow fair": false} {
		if got := Names(text, air); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
	if Names("anything", []Cause{{}}) || Names("anything", nil) {
		t.Error("a cause without terms is named by everything")
	}
}

// Whatever a model writes, it is judged, the same way each time, and a text
// that denies itself by a dismissal names nothing.
func FuzzNames(f *testing.F) {
	for _, s := range []string{"Foam on the probe", "nicht", "is not the", "not not not open", "*", "a.b,c 1.5 bar", strings.Repeat("valve ", 300)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, c := range cause {
			first := Names(text, c)
			if Names(text, c) != first {
				t.Fatalf("%q is judged differently the second time", text)
			}
			if first && Names("is unlikely", c) {
				t.Fatal("a dismissal names a cause")
			}
		}
	})
}
