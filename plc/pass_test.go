package plc

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
)

// block is a device with tags at consecutive registers from 100.
func block(n int) DeviceSpec {
	d := filler()
	d.Tags = nil
	for i := range n {
		d.Tags = append(d.Tags, word(fmt.Sprint("w", 100+i), uint16(100+i)))
	}
	return d
}

func (r *rig) plan() []string {
	var out []string
	for _, c := range r.driver.takeCalls() {
		out = append(out, c.r.String())
	}
	return out
}

func TestOneIllegalAddressCostsOneTag(t *testing.T) {
	for _, code := range []byte{1, 2, 3} {
		synctest.Test(t, func(t *testing.T) {
			r := run(t, &fakeDriver{answer: refusing(code, 107)}, nil, block(20))
			r.until(500 * time.Millisecond)
			for tag, s := range r.latest("filler") {
				if tag != "w107" && s.Quality != edgeagent.QualityGood {
					t.Errorf("exception %d: %s = %+v, want good", code, tag, s)
				}
			}
			illegal := r.latest("filler")["w107"]
			if illegal.Quality != edgeagent.QualityBad || !illegal.Reason.Is(edgeagent.ReasonException) ||
				illegal.Reason.Params["code"] != fmt.Sprint(code) || illegal.Reason.Params["address"] != "holding:107" {
				t.Errorf("w107 = %+v %v, want bad: exception %d at holding:107", illegal, illegal.Reason, code)
			}
			s := r.status("filler")
			if s.State != edgeagent.DevicePolling || s.Attempt != 0 || s.Tags.Good != 19 || s.Tags.Bad != 1 {
				t.Errorf("status = %+v, want polling, 19 good, 1 bad", s)
			}
		})
	}
}

func TestHoleIsLearnedAndAskedForEveryTenMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeDriver{answer: refusing(2, 107)}
		r := run(t, f, nil, block(20))
		r.until(500 * time.Millisecond)
		f.takeCalls()
		r.until(1500 * time.Millisecond)
		want := []string{"FC3 holding:100-106 (7 registers)", "FC3 holding:108-119 (12 registers)"}
		if got := r.plan(); !slices.Equal(got, want) {
			t.Errorf("second scan asked %v, want %v", got, want)
		}
		r.until(21 * time.Minute)
		var asked []float64
		for _, c := range f.takeCalls() {
			if c.r.Offset == 107 {
				asked = append(asked, c.at.Sub(r.start).Seconds())
			}
		}
		if !slices.Equal(asked, []float64{600, 1200}) {
			t.Errorf("asked for the refused tag at %v s, want every ten minutes", asked)
		}
		f.set(nil)
		r.until(30*time.Minute + 500*time.Millisecond)
		f.takeCalls()
		r.until(30*time.Minute + 1500*time.Millisecond)
		if got := r.plan(); !slices.Equal(got, []string{"FC3 holding:100-119 (20 registers)"}) {
			t.Errorf("once it is answered the scan is %v, want one request again", got)
		}
		if s := r.latest("filler")["w107"]; s.Quality != edgeagent.QualityGood {
			t.Errorf("w107 = %+v, want good", s)
		}
	})
}

func TestHoleBetweenTagsCostsNoTag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec := filler()
		spec.MaxGap = 16
		spec.Tags = []TagSpec{word("a", 100), word("b", 101), word("c", 110), word("d", 111)}
		r := run(t, &fakeDriver{answer: refusing(2, 105)}, nil, spec)
		r.until(500 * time.Millisecond)
		for tag, s := range r.latest("filler") {
			if s.Quality != edgeagent.QualityGood {
				t.Errorf("%s = %+v, want good", tag, s)
			}
		}
		r.driver.takeCalls()
		r.until(1500 * time.Millisecond)
		want := []string{"FC3 holding:100-101 (2 registers)", "FC3 holding:110-111 (2 registers)"}
		if got := r.plan(); !slices.Equal(got, want) {
			t.Errorf("second scan asked %v, want %v", got, want)
		}
	})
}

// TestLimitThatWasNotToldIsLearned: many PLCs take fewer registers a request
// than the protocol allows, and refuse the rest with exception 2 or 3.
func TestLimitThatWasNotToldIsLearned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeDriver{answer: func(_ uint8, r Request) error {
			if r.Quantity > 60 {
				return &Exception{Function: 3, Code: 3}
			}
			return nil
		}}
		r := run(t, f, nil, block(250))
		r.until(5500 * time.Millisecond)
		f.takeCalls()
		r.until(6500 * time.Millisecond)
		for _, c := range f.takeCalls() {
			if c.r.Quantity > 60 {
				t.Errorf("%v asked again", c.r)
			}
		}
		if s := r.status("filler"); s.Tags.Good != 250 {
			t.Errorf("%+v, want 250 good tags", s.Tags)
		}
	})
}

func TestExactIllegalAddressOfAWideTag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec := filler()
		wide := word("count", 100)
		wide.Type = edgeagent.TypeUint64
		spec.Tags = []TagSpec{wide, word("next", 104)}
		r := run(t, &fakeDriver{answer: refusing(2, 102)}, nil, spec)
		r.until(500 * time.Millisecond)
		s := r.latest("filler")
		if got := s["count"].Reason; got == nil || got.Params["address"] != "holding:102" {
			t.Errorf("count = %+v, want bad at holding:102", s["count"])
		}
		if s["next"].Quality != edgeagent.QualityGood {
			t.Errorf("next = %+v, want good", s["next"])
		}
	})
}

func TestBitsOfOneIllegalRegisterAreRefusedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec := filler()
		for bit := range 16 {
			tag := word(fmt.Sprint("bit", bit), 105)
			tag.Type, tag.Addr.Bit = edgeagent.TypeBool, bit
			spec.Tags = append(spec.Tags, tag)
		}
		spec.MaxGap = 16
		r := run(t, &fakeDriver{answer: refusing(2, 105)}, nil, spec)
		r.until(500 * time.Millisecond)
		if got := r.plan(); len(got) != 3 {
			t.Errorf("asked %v, want the block, the good half and the bad one", got)
		}
		if s := r.status("filler"); s.Tags.Good != 1 || s.Tags.Bad != 16 {
			t.Errorf("%+v, want 1 good and 16 bad", s.Tags)
		}
	})
}

func TestDeviceThatRefusesEverythingIsNotDeadAndNotForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeDriver{answer: func(uint8, Request) error { return &Exception{Function: 3, Code: 2} }}
		r := run(t, f, nil, block(100))
		r.until(5500 * time.Millisecond)
		if s := r.status("filler"); s.State != edgeagent.DevicePolling || s.Tags.Bad != 100 || s.Link != edgeagent.LinkUp {
			t.Errorf("status = %+v, want polling, up and 100 bad tags", s)
		}
		f.takeCalls()
		r.until(6500 * time.Millisecond)
		if got := r.plan(); len(got) != 1 {
			t.Errorf("asked %v, want one request to see whether it is there", got)
		}
		f.set(dead)
		r.until(8 * time.Second)
		if s := r.status("filler"); s.State != edgeagent.DeviceRetrying {
			t.Errorf("state = %v, want retrying: it does not answer any more", s.State)
		}
	})
}

// TestProgramThatIsLoadedIsNoHole: meanwhile such a PLC refuses everything. Then
// it is read as before, at once, though one of its tags really is not there.
func TestProgramThatIsLoadedIsNoHole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec := block(1000)
		spec.Tags = append([]TagSpec{word("missing", 60000)}, spec.Tags...)
		f := &fakeDriver{answer: refusing(2, 60000)}
		r := run(t, f, nil, spec)
		r.until(9500 * time.Millisecond)
		f.takeCalls()
		r.until(10500 * time.Millisecond)
		before := len(r.plan())
		f.set(func(uint8, Request) error { return &Exception{Function: 3, Code: 2} })
		r.until(30500 * time.Millisecond)
		f.set(refusing(2, 60000))
		r.until(34500 * time.Millisecond)
		if s := r.status("filler"); s.Tags.Good != 1000 || s.Tags.Bad != 1 {
			t.Errorf("%+v, want all that are there good again", s.Tags)
		}
		f.takeCalls()
		r.until(35500 * time.Millisecond)
		if got := len(r.plan()); got != before {
			t.Errorf("%d requests a scan, want %d as before", got, before)
		}
	})
}

// TestProgramThatIsLoadedIsNoHoleForTheSlowTags: they are only ever read together
// with others, which are answered by then.
func TestProgramThatIsLoadedIsNoHoleForTheSlowTags(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec := block(20)
		for i := range 10 {
			spec.Tags[i].Scan = 10 * time.Second
		}
		f := &fakeDriver{}
		r := run(t, f, nil, spec)
		r.until(20500 * time.Millisecond)
		f.set(func(uint8, Request) error { return &Exception{Function: 3, Code: 2} })
		r.until(40500 * time.Millisecond)
		f.set(nil)
		r.until(51500 * time.Millisecond)
		if s := r.status("filler"); s.Tags.Good != 20 {
			t.Errorf("%+v, want all good again after the slow tags' next scan", s.Tags)
		}
	})
}

// TestRefusalThatIsNotRepeatedIsNoCut: one every minute would else make a request
// of every tag within a day.
func TestRefusalThatIsNotRepeatedIsNoCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeDriver{}
		r := run(t, f, nil, block(100))
		for m := range 10 {
			once := false
			f.set(func(uint8, Request) error {
				if once {
					return nil
				}
				once = true
				return &Exception{Function: 3, Code: 3}
			})
			r.until(time.Duration(m+1)*time.Minute - 500*time.Millisecond)
		}
		if s := r.status("filler"); s.RequestsPerScan != 1 || s.Tags.Good != 100 {
			t.Errorf("%d requests a scan, %+v; want one and all good", s.RequestsPerScan, s.Tags)
		}
	})
}

// TestRefusalsThatEndLeaveNoCuts: where a part was refused for a while, the scan
// is of as many requests as before once that is answered again.
func TestRefusalsThatEndLeaveNoCuts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeDriver{}
		r := run(t, f, nil, block(1000))
		r.until(500 * time.Millisecond)
		before := len(r.plan())
		f.set(func(_ uint8, r Request) error {
			if r.end() > 600 {
				return &Exception{Function: 3, Code: 2}
			}
			return nil
		})
		r.until(30500 * time.Millisecond)
		f.set(nil)
		r.until(12*time.Minute - 500*time.Millisecond)
		f.takeCalls()
		r.until(12*time.Minute + 500*time.Millisecond)
		if got, s := len(r.plan()), r.status("filler"); got != before || s.Tags.Good != 1000 {
			t.Errorf("%d requests a scan and %+v, want %d as before, all good", got, s.Tags, before)
		}
	})
}

// TestTagThatComesBackCostsNoOther: the device takes fewer registers than is
// configured. To find that out anew for a tag of an I/O card that was pulled for
// a while would leave hundreds of others unread for several scans.
func TestTagThatComesBackCostsNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		small := func(_ uint8, r Request) error {
			if r.Quantity > 8 {
				return &Exception{Function: 3, Code: 3}
			}
			return nil
		}
		f := &fakeDriver{answer: small}
		r := run(t, f, nil, block(1000))
		r.until(60500 * time.Millisecond)
		pulled := refusing(2, 105)
		f.set(func(unit uint8, r Request) error { return cmp.Or(pulled(unit, r), small(unit, r)) })
		r.until(70500 * time.Millisecond)
		f.set(small)
		for s := 71; s < 700; s++ {
			r.until(time.Duration(s)*time.Second + 500*time.Millisecond)
			if got := r.status("filler").Tags; got.Good < 999 {
				t.Fatalf("after %d s: %+v", s, got)
			}
		}
		if got := r.status("filler").Tags; got.Good != 1000 {
			t.Errorf("%+v, want it good again", got)
		}
	})
}

func TestNarrowingIsBoundedAPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeDriver{answer: func(uint8, Request) error { return &Exception{Function: 3, Code: 2} }}
		r := run(t, f, nil, block(1000))
		r.until(500 * time.Millisecond)
		if n := len(f.takeCalls()); n > narrowing+10 {
			t.Errorf("one pass sent %d requests", n)
		}
		r.until(2 * time.Minute)
		if s := r.status("filler"); s.Tags.Bad != 1000 {
			t.Errorf("%+v, want all 1000 tags found out in the end", s.Tags)
		}
	})
}

func TestBusyDeviceIsAskedAgainShortly(t *testing.T) {
	for _, code := range []byte{5, 6} {
		synctest.Test(t, func(t *testing.T) {
			f := &fakeDriver{answer: refusing(code, 100)}
			r := run(t, f, nil, filler())
			r.until(900 * time.Millisecond)
			if got, want := r.seconds(1), []float64{0, 0.1, 0.2, 0.3}; !slices.Equal(got, want) {
				t.Errorf("exception %d: asked at %v s, want %v", code, got, want)
			}
			f.set(nil)
			r.until(1500 * time.Millisecond)
			f.set(refusing(code, 100))
			r.until(3 * time.Second)
			s := r.latest("filler")["level"]
			if s.Quality != edgeagent.QualityUncertain || !s.Reason.Is(edgeagent.ReasonNoAnswer) || s.Value.IsNone() {
				t.Errorf("exception %d: level = %+v, want the last value, uncertain", code, s)
			}
			r.until(10 * time.Minute)
			if s := r.status("filler"); s.State != edgeagent.DevicePolling || s.Attempt != 0 {
				t.Errorf("exception %d: status = %+v, want polling for ever", code, s)
			}
		})
	}
}

func TestBusyDeviceWithALongPlanDoesNotHoldUpItsNeighbour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		long := filler().named("capper", 2)
		long.Tags = nil
		for i := range 50 {
			long.Tags = append(long.Tags, word(fmt.Sprint("w", i), uint16(1000*i)))
		}
		f := &fakeDriver{answer: func(unit uint8, _ Request) error {
			if unit == 2 {
				return &Exception{Function: 3, Code: 6}
			}
			return nil
		}}
		r := run(t, f, nil, filler(), long)
		r.until(time.Minute)
		if n := len(r.seconds(1)); n < 30 {
			t.Errorf("the neighbour was read %d times in a minute, want at least every other slot", n)
		}
	})
}

func TestBusyForAMomentIsNotSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, n := &fakeDriver{}, 0
		spec := filler()
		for i := range 20 {
			spec.Tags = append(spec.Tags, word(fmt.Sprint("w", i), uint16(1000+1000*i)))
		}
		f.set(func(uint8, Request) error {
			if n++; n%3 != 0 {
				return &Exception{Function: 3, Code: 6}
			}
			return nil
		})
		r := run(t, f, nil, spec)
		r.until(10 * time.Second)
		for _, s := range r.takeScans() {
			for _, sample := range s.Samples {
				if s.Err != nil || sample.Quality != edgeagent.QualityGood {
					t.Errorf("%+v in a scan with %v, want good", sample, s.Err)
				}
			}
		}
	})
}

func TestDeviceFailureCountsOnceItLastsThreeScans(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeDriver{}
		r := run(t, f, nil, filler())
		r.until(500 * time.Millisecond)
		f.set(refusing(4, 100))
		r.until(2500 * time.Millisecond)
		if s := r.status("filler"); s.State != edgeagent.DevicePolling || s.Tags.Uncertain != 1 {
			t.Errorf("after two scans: %+v, want polling with an uncertain tag", s)
		}
		r.until(3500 * time.Millisecond)
		if s := r.status("filler"); s.State != edgeagent.DeviceRetrying || s.Attempt != 1 {
			t.Errorf("after three scans: %+v, want retrying(1)", s)
		}
		r.until(10 * time.Minute)
		if s := r.status("filler"); s.State != edgeagent.DeviceStopped || s.Link != edgeagent.LinkUp {
			t.Errorf("status = %+v, want stopped, although the link is up", s)
		}
	})
}

func TestBlockThatFailsForEverCostsNotItsNeighbours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec := filler()
		spec.Tags = append(spec.Tags, word("broken", 5000))
		f := &fakeDriver{answer: refusing(4, 5000)}
		r := run(t, f, nil, spec)
		r.until(10*time.Minute + 500*time.Millisecond)
		if s := r.status("filler"); s.State != edgeagent.DevicePolling || s.Attempt != 0 || s.Tags.Good != 1 || s.Error == "" {
			t.Errorf("status = %+v, want polling with one good tag, and the block's error", s)
		}
		f.set(dead)
		r.until(10*time.Minute + 1500*time.Millisecond)
		f.set(refusing(4, 5000))
		r.until(12 * time.Minute)
		if s := r.status("filler"); s.State != edgeagent.DevicePolling || s.Attempt != 0 {
			t.Errorf("status = %+v, want the failure forgotten after 60 s", s)
		}
	})
}

// TestClassThatFailsForEverCostsNotTheOthers: the block that fails has a scan of
// its own, in which nothing else is asked for.
func TestClassThatFailsForEverCostsNotTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec := filler()
		spec.Tags = append(spec.Tags, word("slow", 200), word("broken", 5000))
		spec.Tags[0].Scan, spec.Tags[1].Scan = 30*time.Second, 10*time.Second
		f := &fakeDriver{answer: refusing(4, 5000)}
		r := run(t, f, nil, spec)
		r.until(10*time.Minute + 500*time.Millisecond)
		if s := r.status("filler"); s.State != edgeagent.DevicePolling || s.Attempt != 0 || s.Tags.Good != 2 {
			t.Errorf("status = %+v, want polling with two good tags", s)
		}
		f.set(refusing(4, 100, 200, 5000))
		r.until(11 * time.Minute)
		if s := r.status("filler"); s.State == edgeagent.DevicePolling {
			t.Errorf("status = %+v, want it failed: it gives no value at all", s)
		}
	})
}

// TestClassThatIsReadSeldomDoesNotSpeakForADeadDevice: one tag is read once an
// hour, and was read just before the device began to answer nothing but that it
// has failed.
func TestClassThatIsReadSeldomDoesNotSpeakForADeadDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec := filler()
		spec.Tags = append(spec.Tags, word("hourly", 5000))
		spec.Tags[1].Scan = time.Hour
		f := &fakeDriver{}
		r := run(t, f, nil, spec)
		r.until(10*time.Second + 500*time.Millisecond)
		f.set(refusing(4, 100))
		r.until(10*time.Minute + 500*time.Millisecond)
		if s := r.status("filler"); s.State != edgeagent.DevicePolling || s.Attempt != 0 || s.Tags.Good != 1 {
			t.Errorf("status = %+v, want polling with the tag good that is answered", s)
		}
		f.set(refusing(4, 100, 5000))
		r.until(12 * time.Minute)
		if s := r.status("filler"); s.State == edgeagent.DevicePolling {
			t.Errorf("status = %+v, want it failed: it has given no value for over a minute", s)
		}
	})
}

func TestWhatWasReadBeforeAFailureIsDelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec := filler()
		spec.Tags = []TagSpec{word("first", 100), word("second", 5000)}
		f := &fakeDriver{answer: func(_ uint8, r Request) error {
			if r.Offset == 5000 {
				return errDead
			}
			return nil
		}}
		r := run(t, f, nil, spec)
		r.until(500 * time.Millisecond)
		scans := r.takeScans()
		if len(scans) != 2 || len(scans[0].Samples) != 1 || scans[0].Samples[0].Quality != edgeagent.QualityGood {
			t.Fatalf("scans = %+v, want first the value that was read", scans)
		}
		if got := scans[1].Samples; len(got) != 2 || got[0].Quality != edgeagent.QualityUncertain || got[1].Quality != edgeagent.QualityBad {
			t.Errorf("then %+v, want one uncertain and one never read", got)
		}
	})
}

func TestProbeThatFailsHalfwayLeavesNoTagGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec := filler()
		spec.ResumeEvery = 5 * time.Minute
		spec.Tags = []TagSpec{word("first", 100), word("second", 5000)}
		r := run(t, &fakeDriver{answer: dead}, nil, spec)
		r.until(2 * time.Minute)
		r.driver.set(func(_ uint8, r Request) error {
			if r.Offset == 5000 {
				return errDead
			}
			return nil
		})
		r.takeScans()
		r.until(7 * time.Minute)
		if slices.ContainsFunc(r.takeScans(), hasGood) {
			t.Error("told a good value, which ends the alarm of a device that is still stopped")
		}
		r.until(12 * time.Minute)
		if first := r.latest("filler")["first"]; first.Quality != edgeagent.QualityBad || !first.Reason.Is(edgeagent.ReasonDeviceStopped) {
			t.Errorf("first = %+v, want bad: its device is still stopped", first)
		}
		if s := r.status("filler"); s.State != edgeagent.DeviceStopped || s.Tags.Bad != 2 {
			t.Errorf("status = %+v, want stopped with two bad tags", s)
		}
	})
}

func hasGood(s edgeagent.Scan) bool {
	return slices.ContainsFunc(s.Samples, func(s edgeagent.Sample) bool { return s.Quality == edgeagent.QualityGood })
}

func TestUnreadableTagSaysWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec := filler()
		spec.NeverRead = []AddressRange{{Area: edgeagent.AreaHolding, From: 200, To: 219}}
		spec.Tags = append(spec.Tags, word("latch", 210))
		r := run(t, &fakeDriver{}, nil, spec)
		r.until(10 * time.Second)
		for _, c := range r.driver.takeCalls() {
			if c.r.end() > 200 {
				t.Errorf("%v touches never_read", c.r)
			}
		}
		if s := r.status("filler"); s.Tags.Good != 1 || s.Tags.Bad != 1 {
			t.Errorf("%+v, want one good and one bad tag", s.Tags)
		}
		if s, told := r.latest("filler")["latch"]; !told || !s.Reason.Is(edgeagent.ReasonNeverRead) {
			t.Errorf("latch = %+v, want bad: never read, with the reason why", s)
		}
	})
}
