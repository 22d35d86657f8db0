package eval

import (
	"testing"
	"time"

	"edgeagent"
)

func TestOf(t *testing.T) {
	it := Item{ID: "a", Truth: "foam", Accept: []Cause{{{"foam"}}}, Reject: []Cause{{{"sensor"}, {"defect"}}}}
	unlikely := says(it, "foam")
	unlikely.Diagnosis.Causes[0].Likelihood = edgeagent.Unlikely
	both := says(it, "foam")
	both.Diagnosis.InsufficientEvidence = true
	for _, tt := range []struct {
		name   string
		answer Answer
		want   Score
	}{
		{"right", says(it, "foam"), Score{Answered: true, Top1: true, Top3: true, Right: true}},
		{"third", says(it, "x", "y", "foam"), Score{Answered: true, Top3: true}},
		{"fourth", says(it, "x", "y", "z", "foam"), Score{Answered: true}},
		{"called unlikely", unlikely, Score{Answered: true}},
		{"named and abstained", both, Score{Answered: true, Abstained: true}},
		{"with the wrong one", says(it, "foam, or a defect sensor: defective sensor"), Score{Answered: true}},
		{"nothing", says(it), Score{Answered: true}},
		{"no answer", Answer{Error: "breaker open"}, Score{}},
	} {
		if got := Of(it, tt.answer); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

func TestTable(t *testing.T) {
	all := []Item{
		{ID: "a", Category: "x", Hash: "1", Truth: "foam", Accept: []Cause{{{"foam"}}}},
		{ID: "b", Category: "x", Hash: "1", Truth: "leak", Accept: []Cause{{{"leak"}}}},
		{ID: "c", Category: "y", Hash: "1", Undecidable: true},
		{ID: "d", Category: "y", Hash: "1", Truth: "foam", Accept: []Cause{{{"foam"}}}},
	}
	answer := func(id string, ms int64, edit func(*Answer)) Answer {
		a := Answer{Item: id, Hash: "1", Provider: "p", TookMS: ms, At: time.Now(), Diagnosis: &edgeagent.Diagnosis{}}
		edit(&a)
		return a
	}
	cause := func(text string) func(*Answer) {
		return func(a *Answer) {
			a.Diagnosis.Causes = []edgeagent.Cause{{Cause: text}}
			a.Diagnosis.Grounded = edgeagent.Grounded{Checked: 3, Held: 2}
			a.Calls = []edgeagent.Call{{Outcome: edgeagent.CallOutput, CostUSD: 0.01, TokensIn: 10, TokensOut: 1}, {Outcome: edgeagent.CallOK, CostUSD: 0.02, TokensIn: 20, TokensOut: 2}}
		}
	}
	answers := []Answer{
		answer("a", 900, cause("leak")), // asked again below: the last one counts
		answer("a", 100, cause("foam")),
		answer("b", 300, func(a *Answer) { a.Diagnosis.Filtered, a.Diagnosis.Unstructured = []string{"x"}, "y" }),
		answer("c", 200, func(a *Answer) { a.Diagnosis.InsufficientEvidence = true }),
		answer("d", 5, func(a *Answer) {
			a.Diagnosis, a.Error = nil, "no route"
			a.Calls = []edgeagent.Call{{Outcome: edgeagent.CallOutput}} // of which no repair came
		}),
		{Item: "a", Hash: "old", Provider: "p"}, {Item: "gone", Hash: "1", Provider: "p"},
	}
	rows := Table(all, answers, []string{"p", "q"})
	if len(rows) != 6 || rows[0].Category != "" || rows[2].Category != "x" || rows[4].Category != "y" {
		t.Fatalf("rows %+v", rows)
	}
	want := Row{Provider: "p", Items: 4, Asked: 4, Answered: 3, Decidable: 3, Top1: 1, Top3: 1, Abstained: 1, Undecidable: 1, Rightly: 1,
		Checked: 3, Held: 2, Filtered: 1, Unstructured: 1, Repaired: 1, Calls: 3, TokensIn: 30, TokensOut: 3, CostUSD: 0.03, MedianMS: 200, P95MS: 300}
	if rows[0] != want {
		t.Errorf("got  %+v\nwant %+v", rows[0], want)
	}
	if rows[1] != (Row{Provider: "q", Items: 4}) {
		t.Errorf("who was not asked: %+v", rows[1])
	}
}

func TestQuantile(t *testing.T) {
	var hundred []int64
	for i := range 100 {
		hundred = append(hundred, int64(i+1))
	}
	for _, tt := range []struct {
		of      []int64
		percent int
		want    int64
	}{{nil, 50, 0}, {[]int64{7}, 50, 7}, {[]int64{7}, 95, 7}, {[]int64{1, 2, 3}, 50, 2}, {[]int64{1, 2, 3, 4}, 50, 2}, {hundred, 95, 95}, {hundred, 50, 50}} {
		if got := quantile(tt.of, tt.percent); got != tt.want {
			t.Errorf("%d %% of %d values: %d, want %d", tt.percent, len(tt.of), got, tt.want)
		}
	}
}

func TestBaseline(t *testing.T) {
	all := items(t)
	r := Table(all, Baseline(all), []string{Constant})[0]
	if r.Asked != 30 || r.Top1 == 0 || r.Top1 > 3 || r.Top3 > 8 || r.Rightly != 0 || r.SafetyRight != 0 {
		t.Errorf("%+v: the same answer to everything should score a little, and little", r)
	}
	t.Logf("the same answer always: %d of %d first, %d among three", r.Top1, r.Decidable, r.Top3)
	if again := Table(all, Baseline(all), []string{Constant})[0]; again != r {
		t.Error("another run, another baseline")
	}
	if got := frequent([]Item{{Undecidable: true}}, 3); got != nil {
		t.Errorf("of nothing: %v", got)
	}
}
