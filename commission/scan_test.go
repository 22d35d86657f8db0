package commission

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
	"edgeagent/plc"
)

type areas = map[edgeagent.Area]map[int]uint16

func scanned(t *testing.T, p *plant, o ScanOptions) []string {
	t.Helper()
	var out []string
	err := Scan(t.Context(), p.ask, o, func(f Finding) {
		if f.Kind == FoundRange || f.Kind == FoundNothing {
			out = append(out, fmt.Sprintf("%d %s %s:%d-%d", f.Unit, f.Kind, f.Area, f.From, f.To))
		}
		if f.Kind == FoundUnit {
			out = append(out, fmt.Sprintf("%d unit", f.Unit))
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(p.broken) > 0 {
		t.Errorf("asked for what must never be read: %v", p.broken)
	}
	return out
}

func TestScanFindsWhatCanBeRead(t *testing.T) {
	three := run(100, 259)
	for a := range run(300, 310) {
		three[a] = 1
	}
	three[9999] = 1
	holes := run(0, 400)
	delete(holes, 77)
	cases := []struct {
		name string
		p    plant
		o    ScanOptions
		want []string
	}{
		{"ranges at odd places", plant{registers: areas{3: three}}, ScanOptions{Areas: []edgeagent.Area{3}},
			[]string{"1 unit", "1 range holding:100-259", "1 range holding:300-310", "1 range holding:9999-9999"}},
		{"one hole", plant{registers: areas{3: holes}}, ScanOptions{Areas: []edgeagent.Area{3}, To: 500},
			[]string{"1 unit", "1 range holding:0-76", "1 range holding:78-400"}},
		{"a device that allows 10 registers", plant{registers: areas{3: run(0, 499)}, most: 10}, ScanOptions{Areas: []edgeagent.Area{3}, To: 999},
			[]string{"1 unit", "1 range holding:0-499"}},
		{"the last address", plant{registers: areas{4: run(65530, 65535)}}, ScanOptions{Areas: []edgeagent.Area{4}, From: 65000, To: 65535, Thorough: true},
			[]string{"1 unit", "1 range input:65530-65535"}},
		{"an area it does not know", plant{registers: areas{1: run(5, 20)}}, ScanOptions{To: 99},
			[]string{"1 unit", "1 nothing holding:0-99", "1 nothing input:0-99", "1 range coil:5-20", "1 nothing discrete:0-99"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			c.p.units = map[uint8]bool{1: true}
			c.o.LastUnit = 1
			if got := scanned(t, &c.p, c.o); !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestScanNeverAsksForNeverRead(t *testing.T) {
	never := []plc.AddressRange{{Area: 3, From: 0, To: 3}, {Area: 3, From: 200, To: 219}}
	p := &plant{units: map[uint8]bool{7: true}, registers: areas{3: run(0, 300)}, never: never}
	got := scanned(t, p, ScanOptions{FirstUnit: 7, LastUnit: 7, Areas: []edgeagent.Area{3}, To: 300, NeverRead: never, Thorough: true})
	want := []string{"7 unit", "7 range holding:4-199", "7 range holding:220-300"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestScanFindsUnits(t *testing.T) {
	for name, silence := range map[string]error{
		"silent units":      nil,
		"a gateway says 0A": &plc.Exception{Function: 3, Code: pathUnavailable},
		"a gateway says 0B": &plc.Exception{Function: 3, Code: targetSilent},
	} {
		t.Run(name, func(t *testing.T) {
			p := &plant{units: map[uint8]bool{3: true, 247: true}, registers: areas{3: run(500, 600)}, err: silence}
			got := scanned(t, p, ScanOptions{UnitsOnly: true})
			if want := []string{"3 unit", "247 unit"}; !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
			if len(p.asked) > 2*247 {
				t.Errorf("%d requests", len(p.asked))
			}
		})
	}
}

func TestScanEndsWhereThereIsNoConnection(t *testing.T) {
	p := &plant{err: fmt.Errorf("dial: %w", plc.ErrUnreachable)}
	err := Scan(t.Context(), p.ask, ScanOptions{}, func(Finding) {})
	if !errors.Is(err, plc.ErrUnreachable) || len(p.asked) != 1 {
		t.Errorf("error %v after %d requests; want unreachable after one", err, len(p.asked))
	}
}

// A unit that answers its first request and then falls silent must not hold up
// the scan for a timeout per address.
func TestScanGivesUpASilentArea(t *testing.T) {
	p := &plant{units: map[uint8]bool{1: true}, registers: areas{3: run(0, 9)}}
	p.after = func(p *plant) { p.units[1] = len(p.asked) < 1 }
	got := scanned(t, p, ScanOptions{LastUnit: 1, Areas: []edgeagent.Area{3}})
	if want := []string{"1 unit", "1 nothing holding:0-9999"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if len(p.asked) != 1+silentTries {
		t.Errorf("%d requests: %v", len(p.asked), p.asked)
	}
}

func TestScanIsPolite(t *testing.T) {
	p := &plant{units: map[uint8]bool{1: true}, registers: areas{3: {}}}
	scanned(t, p, ScanOptions{LastUnit: 1, Areas: []edgeagent.Area{3}})
	if len(p.asked) > 3200 {
		t.Errorf("%d requests for 10,000 addresses of which there are none", len(p.asked))
	}
	full := &plant{units: map[uint8]bool{1: true}, registers: areas{3: run(0, 9999)}}
	scanned(t, full, ScanOptions{LastUnit: 1, Areas: []edgeagent.Area{3}})
	if len(full.asked) != 1+80 {
		t.Errorf("%d requests for 10,000 addresses that are all there", len(full.asked))
	}
}

func TestScanPausesAndIsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 950*time.Millisecond)
		defer cancel()
		p := &plant{}
		err := Scan(ctx, p.ask, ScanOptions{Pause: 100 * time.Millisecond}, func(Finding) {})
		if !errors.Is(err, context.DeadlineExceeded) || len(p.asked) != 10 {
			t.Errorf("%v after %d requests; want the deadline after 10", err, len(p.asked))
		}
	})
}

func TestScanAsksABusyUnitAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &plant{units: map[uint8]bool{1: true}, registers: areas{3: run(0, 9)}}
		n := 0
		ask := func(ctx context.Context, unit uint8, r plc.Request) ([]byte, error) {
			if n++; n%3 != 0 {
				return nil, &plc.Exception{Function: 3, Code: busy}
			}
			return p.ask(ctx, unit, r)
		}
		var got []string
		err := Scan(t.Context(), ask, ScanOptions{LastUnit: 1, Areas: []edgeagent.Area{3}, To: 9}, func(f Finding) {
			if f.Kind == FoundRange {
				got = append(got, f.Text)
			}
		})
		if err != nil || len(got) != 1 || !strings.Contains(got[0], "holding:0-9") {
			t.Errorf("got %q, %v", got, err)
		}
	})
}

// A lying peer: answers of another length are no answers.
func TestScanDoesNotBelieveShortAnswers(t *testing.T) {
	ask := func(context.Context, uint8, plc.Request) ([]byte, error) { return []byte{1}, nil }
	err := Scan(t.Context(), ask, ScanOptions{LastUnit: 2, Areas: []edgeagent.Area{3}}, func(f Finding) {
		if f.Kind != FoundProgress {
			t.Errorf("found %+v", f)
		}
	})
	if err != nil {
		t.Error(err)
	}
}

func TestScanRefusesNonsense(t *testing.T) {
	for name, o := range map[string]ScanOptions{
		"units backwards":     {FirstUnit: 9, LastUnit: 3},
		"addresses backwards": {From: 10, To: 3},
		"all forbidden":       {Areas: []edgeagent.Area{3}, To: 9, NeverRead: []plc.AddressRange{{Area: 3, From: 0, To: 65535}}},
	} {
		p := &plant{}
		if err := Scan(t.Context(), p.ask, o, func(Finding) {}); err == nil || len(p.asked) > 0 {
			t.Errorf("%s: error %v, %d requests", name, err, len(p.asked))
		}
	}
}
