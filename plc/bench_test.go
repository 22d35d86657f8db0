package plc

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"edgeagent"
)

// versus times two ways to do the same turn and turn about, and returns the
// medians in nanoseconds: a noisy neighbour spoils single rounds, and both.
func versus(b *testing.B, ours, peer func()) (o, p float64) {
	b.Helper()
	var took [2][]float64
	for b.Loop() {
		for i, do := range []func(){ours, peer} {
			begin := time.Now()
			do()
			took[i] = append(took[i], float64(time.Since(begin)))
		}
	}
	b.ReportMetric(0, "ns/op")
	slices.Sort(took[0])
	slices.Sort(took[1])
	return took[0][len(took[0])/2], took[1][len(took[1])/2]
}

// BenchmarkDecode is the full answer to one request, 62 floats with their words
// swapped, against the bare conversion of the same bytes.
func BenchmarkDecode(b *testing.B) {
	const tags, rounds = 62, 20
	spec := TagSpec{Tag: edgeagent.Tag{Name: "level", Type: edgeagent.TypeFloat32}, Addr: edgeagent.Address{Area: edgeagent.AreaHolding, Bit: -1}, Order: edgeagent.OrderCDAB}
	raw := make([]byte, 4*tags)
	for i := range tags {
		bits := math.Float32bits(float32(i) + 0.5)
		binary.BigEndian.PutUint16(raw[4*i:], uint16(bits))
		binary.BigEndian.PutUint16(raw[4*i+2:], uint16(bits>>16))
	}
	samples, values := make([]edgeagent.Sample, tags), make([]float64, tags)
	decode := func() {
		for i := range tags {
			samples[i] = Decode(&spec, raw[4*i:4*i+4])
		}
	}
	bare := func() {
		for i := range tags {
			low, high := binary.BigEndian.Uint16(raw[4*i:]), binary.BigEndian.Uint16(raw[4*i+2:])
			values[i] = float64(math.Float32frombits(uint32(high)<<16 | uint32(low)))
		}
	}
	ours, peer := versus(b, repeat(rounds, decode), repeat(rounds, bare))
	for i := range tags {
		if v, _ := samples[i].Value.Float64(); v != values[i] {
			b.Fatalf("tag %d: %v and %v", i, v, values[i])
		}
	}
	b.ReportMetric(ours/rounds/(2*tags), "ns/register")
	b.ReportMetric(ours/peer, "x-bare-conversion")
	b.ReportMetric(testing.AllocsPerRun(10, decode)/tags, "allocs/tag")
}

func repeat(n int, do func()) func() {
	return func() {
		for range n {
			do()
		}
	}
}

// scattered are 1,000 tags in 25 blocks, with holes of up to 11 registers
// between them: a PLC program that has grown.
func scattered() []TagSpec {
	rng := rand.New(rand.NewPCG(1, 2))
	var out []TagSpec
	for block := range 25 {
		at := uint16(block * 2000)
		for range 40 {
			out = append(out, TagSpec{
				Tag:  edgeagent.Tag{Name: fmt.Sprint("t", at), Type: edgeagent.TypeFloat32},
				Addr: edgeagent.Address{Area: edgeagent.AreaHolding, Offset: at, Bit: -1},
			})
			at += 2 + uint16(rng.IntN(12))
		}
	}
	return out
}

// BenchmarkPlan says how many round trips the plan saves: requests are what a
// PLC makes one wait for.
func BenchmarkPlan(b *testing.B) {
	tags := scattered()
	var merged []Request
	for b.Loop() {
		merged = Plan(tags, 0, 0, 16, nil)
	}
	b.ReportMetric(float64(len(merged)), "requests/1000-tags")
	b.ReportMetric(float64(len(Plan(tags, 0, 0, 0, nil)))/float64(len(merged)), "x-fewer-than-without-gaps")
	b.ReportMetric(float64(len(tags))/float64(len(merged)), "x-fewer-than-one-by-one")
}

// BenchmarkHear is one notification of 1,000 changes on its way to the inbox,
// against taking the samples into a map of the last values.
func BenchmarkHear(b *testing.B) {
	const tags = 1000
	spec, in := filler(), NewInbox()
	spec.Tags = nil
	var samples []edgeagent.Sample
	for i := range tags {
		name := fmt.Sprint("t", i)
		spec.Tags = append(spec.Tags, TagSpec{Tag: edgeagent.Tag{Name: name}, Node: "ns=2;s=" + name})
		samples = append(samples, edgeagent.Sample{Tag: name, Value: edgeagent.Uint(1), Quality: edgeagent.QualityGood})
	}
	s := NewSubscription(nil, spec, Options{Deliver: in.Put})
	s.hear(Heard{Up: true}, 0)
	hear := func() {
		s.hear(Heard{Samples: samples, Requests: 1}, 0)
		if got, ok := in.take(); !ok || len(got.Samples) != tags {
			b.Fatalf("%d samples", len(got.Samples))
		}
	}
	last := make(map[string]edgeagent.Sample, tags)
	bare := func() {
		for _, sample := range samples {
			last[sample.Tag] = sample
		}
	}
	in.take()
	ours, peer := versus(b, hear, bare)
	b.ReportMetric(ours/tags, "ns/change")
	b.ReportMetric(ours/peer, "x-bare-map")
	b.ReportMetric(testing.AllocsPerRun(10, hear), "allocs/notification")
}
