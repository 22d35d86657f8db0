package spelling

import "testing"

func TestDistance(t *testing.T) {
	tests := []struct {
		a, b string
		want int
	}{
		{"address", "address", 0}, {"adress", "address", 1}, {"adrses", "address", 2}, {"scna", "scan", 1}, {"", "ab", 2}, {"abc", "xyz", 3},
		{"a", "abcdef", 3}, {"level", "lvel", 1}, {"lveel", "level", 1},
	}
	for _, tt := range tests {
		if got := distance(tt.a, tt.b); got != tt.want {
			t.Errorf("%q to %q: %d, want %d", tt.a, tt.b, got, tt.want)
		}
		if there, back := distance(tt.a, tt.b), distance(tt.b, tt.a); there != back {
			t.Errorf("%q to %q is %d and back %d", tt.a, tt.b, there, back)
		}
	}
}

func TestNearest(t *testing.T) {
	known := []string{"level", "flow", "A1", "C1", "Filler-2", "Füllstand", "level_2"}
	for name, want := range map[string]string{
		"lvel":      "level",
		"LEVEL":     "level",
		"floww":     "flow",
		"fillr-2":   "Filler-2",
		"fuellstnd": "", // four edits
		"Fullstand": "Füllstand",
		"level_3":   "level_2",
		"B1":        "", // in two letters anything resembles anything
		"":          "",
		"pressure":  "",
	} {
		if got := Nearest(name, known); got != want {
			t.Errorf("%q was taken for %q, want %q", name, got, want)
		}
	}
	if got := Nearest("tagA", []string{"tagB", "tagC"}); got != "tagB" {
		t.Errorf("of two that are as near %q was named, want the first", got)
	}
	if got := Nearest("x", nil); got != "" {
		t.Errorf("of none: %q", got)
	}
}
