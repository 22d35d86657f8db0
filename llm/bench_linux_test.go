package llm

import (
	"context"
	"runtime"
	"syscall"
	"testing"
	"time"

	"edgeagent"
)

// instant answers at once, from memory: what is left is the router's own cost.
type instant struct{ text string }

func (p instant) Ask(context.Context, Request) (Answer, error) {
	return Answer{Text: p.text, TokensIn: 900, TokensOut: 120, Status: 200}, nil
}

func (instant) Probe(context.Context) error { return nil }

// shelf is a runbook whose passages are at hand.
type shelf struct{ passages []Passage }

func (shelf) Diagnose(edgeagent.Case) edgeagent.Diagnosis { return edgeagent.Diagnosis{} }
func (s shelf) Passages(edgeagent.Case, int) []Passage    { return s.passages }

// cpu is what the process has used so far.
func cpu() (d time.Duration) {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) == nil {
		d = time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return d
}

// BenchmarkRouter diagnoses a usual case with a model that answers at once:
// prompt, caps, breaker, judgement and record, in CPU and in bytes a diagnosis.
// The budgets are 2 ms and 8 MB.
func BenchmarkRouter(b *testing.B) {
	const answer = `{"evidence":[],"causes":[{"cause":"The probe is dirty","likelihood":"likely","evidence":[],"sources":[]}],` +
		`"checks":["Look at the probe","Clean it","Check its cable"],"urgency":"shift","missing":[],"insufficient_evidence":false,"summary":"The probe is dirty."}`
	for name, c := range map[string]edgeagent.Case{"usual": fillerCase(), "flood": bigCase(50)} {
		b.Run(name, func(b *testing.B) {
			r := New(Options{Providers: []ProviderOptions{{Name: "cloud", Kind: "openai", Model: "m", Provider: instant{answer}}}, Runbook: shelf{fillerPassages()}})
			var took []float64
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			n := 0
			for b.Loop() {
				began := cpu()
				out, err := r.Diagnose(b.Context(), c)
				if err != nil || out.Diagnosis.By.Provider != "cloud" {
					b.Fatalf("%+v, %v", out.Diagnosis, err)
				}
				took = append(took, float64(cpu()-began))
				n++
			}
			runtime.ReadMemStats(&after)
			mean := 0.0
			for _, t := range took {
				mean += t / float64(len(took))
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(mean/1e6, "CPU-ms/diagnosis")
			b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/float64(n)/1e6, "MB/diagnosis")
		})
	}
}
