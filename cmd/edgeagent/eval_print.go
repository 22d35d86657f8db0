package main

import (
	"fmt"
	"io"
	"slices"
	"time"

	"edgeagent/eval"
)

// evalAnswer is what eval --json prints.
type evalAnswer struct {
	Dataset string     `json:"dataset"`
	Items   int        `json:"items"`
	Notes   []string   `json:"notes"`
	Rows    []eval.Row `json:"rows"`
}

func (x *evaluation) print(asJSON bool) error {
	all := slices.Concat(x.answers, eval.Baseline(x.items))
	a := evalAnswer{Dataset: x.dataset, Items: len(x.items), Notes: append(slices.Clone(x.notes), x.mixed()...),
		Rows: eval.Table(x.items, all, append(slices.Clone(x.providers), eval.Constant))}
	if asJSON {
		a.Notes = append([]string{}, a.Notes...)
		return printJSON(x.c.OutOrStdout(), a)
	}
	return printEval(x.c.OutOrStdout(), a)
}

// mixed notes providers whose answers are not of one model and prompt: their
// figures are of no model at all.
func (x *evaluation) mixed() []string {
	of := map[string][]string{}
	for asked, a := range eval.Latest(x.items, x.answers) {
		if a.Diagnosis == nil || a.Diagnosis.By.Kind == "runbook" {
			continue
		}
		made := a.Diagnosis.By.Model + " with prompt " + a.Diagnosis.By.PromptVersion
		if !slices.Contains(of[asked.Provider], made) {
			of[asked.Provider] = append(of[asked.Provider], made)
		}
	}
	var notes []string
	for _, p := range x.providers {
		if slices.Sort(of[p]); len(of[p]) > 1 {
			notes = append(notes, fmt.Sprintf("the answers of %s are not of one model and prompt: %q; begin a new file with --out", p, of[p]))
		}
	}
	return notes
}

func printEval(w io.Writer, a evalAnswer) error {
	fmt.Fprintf(w, "%s: %d cases\n", printable(a.Dataset), a.Items)
	rows := [][]string{{"PROVIDER", "ANSWERED", "TOP 1", "TOP 3", "ABSTAINED", "RIGHTLY", "SAFETY", "GROUNDED", "FILTERED", "UNREADABLE", "REPAIRED", "COST", "MEDIAN", "P95", "TOKENS IN+OUT"}}
	parts := [][]string{{"CATEGORY", "PROVIDER", "ANSWERED", "TOP 1", "TOP 3", "RIGHTLY ABSTAINED"}}
	for _, r := range a.Rows {
		if r.Category != "" {
			parts = append(parts, []string{r.Category, r.Provider, of(r.Answered, r.Items), share(r.Top1, r.Decidable), share(r.Top3, r.Decidable), of(r.Rightly, r.Undecidable)})
			continue
		}
		rows = append(rows, []string{
			r.Provider, of(r.Answered, r.Items), share(r.Top1, r.Decidable), share(r.Top3, r.Decidable), of(r.Abstained, r.Answered), of(r.Rightly, r.Undecidable),
			of(r.SafetyRight, r.Safety), share(r.Held, r.Checked), fmt.Sprint(r.Filtered), fmt.Sprint(r.Unstructured), fmt.Sprint(r.Repaired),
			fmt.Sprintf("$%.4f", r.CostUSD), millis(r.MedianMS), millis(r.P95MS), fmt.Sprintf("%d+%d", r.TokensIn, r.TokensOut),
		})
	}
	if err := table(w, rows); err != nil {
		return err
	}
	fmt.Fprintln(w)
	if err := table(w, parts); err != nil {
		return err
	}
	for _, n := range a.Notes {
		fmt.Fprintf(w, "note: %s\n", printable(n))
	}
	return nil
}

func of(n, all int) string {
	if all == 0 {
		return "-"
	}
	return fmt.Sprintf("%d/%d", n, all)
}

// share adds a percentage where there is enough to make one of.
func share(n, all int) string {
	if all < 10 {
		return of(n, all)
	}
	return fmt.Sprintf("%d/%d %.0f%%", n, all, 100*float64(n)/float64(all))
}

func millis(ms int64) string {
	if ms < 1000 {
		return fmt.Sprintf("%d ms", ms)
	}
	return seconds((time.Duration(ms) * time.Millisecond).Seconds())
}
