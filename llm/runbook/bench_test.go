package runbook

import (
	"slices"
	"strings"
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

// BenchmarkHint is the first answer to an alarm from 5,000 passages, with an
// entry of its own and without, against a search through all of them for the
// words of its text.
func BenchmarkHint(b *testing.B) {
	book := bigBook(5000)
	var texts []string
	for _, e := range book.entries {
		texts = append(texts, strings.ToLower(strings.Join(append([]string{e.title, e.text, e.causes[0].Cause}, e.checks...), " ")))
	}
	entry, similar := alarm("d27", "X77"), alarm("d27", "Q1")
	entry.Text, similar.Text = "Level sensor drifts, valve sticks after cleaning", "Sensor 77 drifts, valve sticks after cleaning"
	for name, a := range map[string]edgeagent.Alarm{"entry": entry, "similar": similar} {
		b.Run(name, func(b *testing.B) {
			hint := func() {
				if d := book.Hint(a, nil, a.Line); len(d.Causes) == 0 || d.InsufficientEvidence != (name == "similar") {
					b.Fatalf("not an answer from what is %s: %+v", name, d)
				}
			}
			ours, peer := versus(b, hint, func() { contain(texts, words(a.Text)) })
			b.ReportMetric(ours/1e3, "us/hint")
			b.ReportMetric(ours/peer, "x-linear-search")
			b.ReportMetric(testing.AllocsPerRun(10, hint), "allocs/hint")
		})
	}
}

// contain counts the texts that hold each word.
func contain(texts, words []string) (found int) {
	for _, t := range texts {
		for _, w := range words {
			if strings.Contains(t, w) {
				found++
			}
		}
	}
	return found
}
