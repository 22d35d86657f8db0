package queue

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // of the test alone

	"edgeagent"
)

// Whatever a field holds, and whatever field comes to be: what is read is the JSON
// that encoding/json would have written, or it is refused where that refuses.
func TestEvidenceReadsAsItsJSON(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	for i := range 3000 {
		e := filled[edgeagent.Evidence](r)
		if i%3 == 0 {
			e.At = time.Now().Add(-time.Duration(r.Int64N(1e15))) // with the reading of another clock
			e.HistorySince = e.At.Add(-time.Duration(r.Int64N(1e12)))
		}
		want, refused := json.Marshal(e)
		body, ok := appendEvidence(nil, &e)
		if ok != (refused == nil) {
			t.Fatalf("%d: written %t, encoding/json says %v", i, ok, refused)
		}
		if !ok {
			continue
		}
		if got, err := plain(bucketBodies, body); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%d: %v\n got %s\nwant %s", i, err, got, want)
		}
	}
}

// The zone of this machine is another at another moment, and may be another when
// the file is read.
func TestEvidenceKeepsItsZones(t *testing.T) {
	was := time.Local
	t.Cleanup(func() { time.Local = was })
	london, err := time.LoadLocation("Europe/London")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 10, 25, 1, 5, 0, 0, time.UTC) // five minutes after the end of summer time
	for name, e := range map[string]edgeagent.Evidence{
		"local, and UTC before the change": {At: at.In(london), HistorySince: at.Add(-10 * time.Minute)},
		"local, both":                      {At: at.In(london), HistorySince: at.Add(-10 * time.Minute).In(london)},
		"of another machine":               {At: at.In(time.FixedZone("", 3600)), HistorySince: at.Add(-10 * time.Minute).In(time.FixedZone("", 3600))},
	} {
		time.Local = london
		body, ok := appendEvidence(nil, &e)
		want, err := json.Marshal(e)
		for _, local := range []*time.Location{london, time.UTC, time.FixedZone("", 3600)} {
			time.Local = local
			if got, readErr := plain(bucketBodies, body); !ok || err != nil || readErr != nil || !bytes.Equal(got, want) {
				t.Errorf("%s, read in %v: %v\n got %s\nwant %s", name, local, readErr, got, want)
			}
		}
	}
}

// Others are told from the evidence in nanoseconds, which do not reach everywhere.
func TestEvidenceKeepsTimesFarAway(t *testing.T) {
	var times []time.Time
	for _, year := range []int{-1, 0, 1, 2, 1700, 1774, 1775, 1776, 2026, 2275, 2276, 2277, 2400, 9998, 9999, 10000} {
		for _, zone := range []*time.Location{time.UTC, time.FixedZone("", 14*3600), time.FixedZone("", -12*3600)} {
			first := time.Date(year, 1, 1, 0, 0, 0, 0, zone)
			times = append(times, first, first.Add(-1), first.Add(1), first.AddDate(0, 9, 20).Add(123456789))
		}
	}
	for _, at := range append(times, time.Time{}) {
		for _, since := range times {
			e := edgeagent.Evidence{At: at, HistorySince: since}
			want, refused := json.Marshal(e)
			body, ok := appendEvidence(nil, &e)
			if ok != (refused == nil) {
				t.Fatalf("%v and %v: written %t, encoding/json says %v", at, since, ok, refused)
			}
			if !ok {
				continue
			}
			if got, err := plain(bucketBodies, body); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%v\n got %s\nwant %s", err, got, want)
			}
		}
	}
}

// A device that is lost gives all its tags one reason, which is written once.
func TestEvidenceOfALostDeviceIsSmall(t *testing.T) {
	e := edgeagent.Evidence{At: time.Now()}
	for range 40 {
		e.Tags = append(e.Tags, edgeagent.Feature{
			Tag: "filler.level", Reason: edgeagent.NewNote("timeout", strings.Repeat("192.168.10.21:502 did not answer within 1s", 4), "address", "192.168.10.21:502"),
		})
	}
	e.Tags[20].Reason, e.Tags[21].Reason = nil, edgeagent.NewNote("timeout", "another")
	body, _ := appendEvidence(nil, &e)
	if len(body) > 45*40 {
		t.Errorf("%d bytes for 40 tags that nearly all say the same", len(body))
	}
	want, _ := json.Marshal(e)
	if got, err := plain(bucketBodies, body); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%v\n got %s\nwant %s", err, got, want)
	}
}

func TestEvidenceIsRefusedWhereEncodingJSONDoes(t *testing.T) {
	late := time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
	nan, inf := math.NaN(), math.Inf(-1)
	for name, e := range map[string]edgeagent.Evidence{
		"NaN":           {WindowS: nan},
		"an infinity":   {Moved: []edgeagent.Feature{{Max: &inf}}},
		"year 10000":    {At: late},
		"just too late": {At: late.Add(-time.Second), Tags: []edgeagent.Feature{{LastChange: &late}}},
		"a late scan":   {Tags: []edgeagent.Feature{{LastChange: &late}}},
		"an odd clock":  {At: time.Date(2026, 1, 1, 0, 0, 0, 0, time.FixedZone("", 25*60*60))},
	} {
		_, err := json.Marshal(e)
		if _, ok := appendEvidence(nil, &e); ok || err == nil {
			t.Errorf("%s: written %t, encoding/json says %v: want both to refuse", name, ok, err)
		}
	}
}

func TestCutEvidenceIsDamage(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 14))
	e := edgeagent.Evidence{Tags: []edgeagent.Feature{{}}, Moved: []edgeagent.Feature{}, Gaps: []string{"a gap"}, Mode: "auto"}
	for len(e.Tags) < 9 {
		e.Tags = append(e.Tags, filled[edgeagent.Feature](r))
	}
	body, ok := appendEvidence(nil, &e)
	if !ok || len(body) < 200 {
		t.Fatalf("%d bytes, %t", len(body), ok)
	}
	for n := 1; n < len(body); n++ {
		if _, err := readEvidence(body[:n]); !errors.Is(err, errDamaged) {
			t.Errorf("cut to %d bytes: %v, want damage", n, err)
		}
	}
	if _, err := readEvidence(append(body, 0)); !errors.Is(err, errDamaged) {
		t.Errorf("a byte more: %v, want damage", err)
	}
}

func FuzzReadEvidence(f *testing.F) {
	r := rand.New(rand.NewPCG(15, 16))
	for range 20 {
		e := filled[edgeagent.Evidence](r)
		if body, ok := appendEvidence(nil, &e); ok {
			f.Add(body)
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) == 0 || body[0] != tabled {
			return
		}
		text, err := readEvidence(body)
		if err == nil && !json.Valid(text) {
			t.Errorf("read as %q", text)
		}
		if err != nil && !errors.Is(err, errDamaged) {
			t.Error(err)
		}
	})
}
