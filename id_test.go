package edgeagent

import (
	"slices"
	"testing"
	"time"
)

func TestIDsAreULIDsOfTheirTime(t *testing.T) {
	at := time.UnixMilli(1_795_305_600_123)
	id := NewID(at)
	if _, err := ParseID(string(id)); err != nil {
		t.Fatal(err)
	}
	if !id.Time().Equal(at) {
		t.Errorf("Time() = %v, want %v", id.Time(), at)
	}
}

// The timestamp of the ULID specification's own example, 01ARZ3NDEK, is
// 2016-07-30T23:54:10.259Z.
func TestIDTimeMatchesTheSpecification(t *testing.T) {
	got := ID("01ARZ3NDEKTSV4RRFFQ69G5FAV").Time().UTC()
	want := time.Date(2016, 7, 30, 23, 54, 10, 259e6, time.UTC)
	if !got.Equal(want) {
		t.Errorf("Time() = %v, want %v", got, want)
	}
}

func TestIDsOfOneMillisecondRise(t *testing.T) {
	at := time.Now()
	ids := make([]ID, 1000)
	for i := range ids {
		ids[i] = NewID(at)
	}
	if !slices.IsSorted(ids) || len(slices.Compact(ids)) != len(ids) {
		t.Error("ids of one millisecond do not rise strictly")
	}
}

func TestFirstIDStandsBetweenMillisecondsAndDisturbsNone(t *testing.T) {
	at := time.Now()
	first, later := NewID(at), FirstID(at.Add(time.Hour))
	if second := NewID(at); second <= first {
		t.Errorf("%s follows %s of the same millisecond", second, first)
	}
	if b := FirstID(at); b > first || b <= NewID(at.Add(-time.Millisecond)) || later <= first || !later.Time().Equal(at.Add(time.Hour).Truncate(time.Millisecond)) {
		t.Errorf("%s and %s do not part ids", b, later)
	}
}

func TestIDSurvivesAClockBeforeTheEpoch(t *testing.T) {
	if _, err := ParseID(string(NewID(time.Unix(-1000, 0)))); err != nil {
		t.Error(err)
	}
}

func TestParseIDRefuses(t *testing.T) {
	for _, s := range []string{"", "01ARZ3NDEKTSV4RRFFQ69G5FA", "81ARZ3NDEKTSV4RRFFQ69G5FAV", "01ARZ3NDEKTSV4RRFFQ69G5FAI", "01arz3ndektsv4rrffq69g5fav"} {
		if _, err := ParseID(s); err == nil {
			t.Errorf("ParseID(%q) accepted it", s)
		}
	}
}
