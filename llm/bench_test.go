package llm

import (
	"encoding/json"
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

// BenchmarkPrompt builds a prompt, every text of the plant cleaned, against the
// bare JSON of its case: of a usual alarm, and of a flood that has to be cut down
// to what fits a small model.
func BenchmarkPrompt(b *testing.B) {
	for name, c := range map[string]struct {
		edgeagent.Case
		PromptOptions
	}{
		"usual": {Case: fillerCase()},
		"flood": {Case: bigCase(50), PromptOptions: PromptOptions{MaxTokens: 1200}},
	} {
		b.Run(name, func(b *testing.B) {
			passages, tokens := fillerPassages(), 0
			build := func() { tokens = BuildPrompt(c.Case, passages, c.PromptOptions).Tokens }
			ours, peer := versus(b, build, func() {
				if _, err := json.Marshal(c.Case); err != nil {
					b.Fatal(err)
				}
			})
			b.ReportMetric(ours/1e3, "us/prompt")
			b.ReportMetric(ours/peer, "x-bare-JSON")
			b.ReportMetric(float64(tokens), "tokens/prompt")
		})
	}
}
