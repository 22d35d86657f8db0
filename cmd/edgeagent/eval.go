package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"edgeagent"
	"edgeagent/config"
	"edgeagent/eval"
	"edgeagent/llm"
	"edgeagent/status"
)

// evalOptions are the flags of eval.
type evalOptions struct {
	dataset, format, out string
	providers            []string
	limit                int
	confirmed            float64
}

func newEval(o *options) *cobra.Command {
	var e evalOptions
	c := jsonFlag(&cobra.Command{
		Use: "eval --dataset FILE|builtin", Short: "how good diagnoses are, on cases whose cause is known",
		Long: "Asks the providers about every case of a data set and counts whose first cause, or one of whose first three, is right, what\n" +
			"it cost and how long it took; docs/evaluation.md says how answers are scored and what the figures mean. The runbook, and\n" +
			"who gives the same answer to everything, are baselines. \"builtin\" are thirty cases of filling and packaging lines.\n" +
			"With --out the answers are kept as they come, and what is there is not asked again. Exit code 1 if not all was asked.",
		Args: exactly(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			switch {
			case e.dataset == "":
				return usagef("%s needs --dataset FILE, or --dataset builtin", c.CommandPath())
			case e.format != "cases" && e.format != "assetopsbench":
				return usagef("--format %q is not known; want cases or assetopsbench", e.format)
			case e.limit < 0 || e.confirmed < 0:
				return usagef("--limit and --confirm-cost are not negative")
			}
			return runEval(c, o, e)
		},
	}, o)
	c.Flags().StringVar(&e.dataset, "dataset", "", "`file` with a case a line, \"builtin\", or the folder of a benchmark")
	c.Flags().StringVar(&e.format, "format", "cases", "of the data set: cases, or assetopsbench for a folder of its CSV files")
	c.Flags().StringSliceVar(&e.providers, "provider", nil, "whom to ask, separated by commas (default all of the configuration)")
	c.Flags().IntVar(&e.limit, "limit", 0, "ask about the first so many cases only (default all)")
	c.Flags().StringVar(&e.out, "out", "", "keep the answers in this `file` (JSON lines), and go on from what is in it")
	c.Flags().Float64Var(&e.confirmed, "confirm-cost", 0, "agree to so many US dollars; needed above 0.10")
	return c
}

func runEval(c *cobra.Command, o *options, e evalOptions) error {
	items, notes, err := loadItems(e)
	if err != nil {
		return err
	}
	who, err := newAnswerer(c, o)
	if err != nil {
		return err
	}
	defer who.end()
	x := &evaluation{evalOptions: e, c: c, who: who, items: items, notes: notes, failures: map[string]int{}}
	if err := x.prepare(); err != nil {
		return err
	}
	if err := x.agreed(); err != nil {
		return err
	}
	err = x.askAll(c.Context())
	return errors.Join(x.print(o.json), err)
}

// loadItems reads the data set; the notes say what of it is not used.
func loadItems(e evalOptions) (items []eval.Item, notes []string, err error) {
	switch {
	case e.format == "assetopsbench":
		b, err := eval.LoadAssetOps(os.DirFS(e.dataset))
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", e.dataset, err)
		}
		items, notes = b.Items, append(b.Notes, fmt.Sprintf("%d rules, %d pairs of rule and failure, %d failure codes", b.Rules, b.Pairs, b.Codes))
	case e.dataset == "builtin":
		items, err = eval.Builtin()
	default:
		f, openErr := os.Open(e.dataset)
		if openErr != nil {
			return nil, nil, fmt.Errorf("open the data set: %w", openErr)
		}
		defer f.Close()
		items, err = eval.Load(e.dataset, f)
	}
	if e.limit > 0 {
		items = items[:min(e.limit, len(items))]
	}
	return items, notes, err
}

// evaluation is one run of the command.
type evaluation struct {
	evalOptions
	c        *cobra.Command
	who      *answerer
	items    []eval.Item
	notes    []string
	answers  []eval.Answer
	file     *eval.File     // of answers; nil: they are not kept
	failures map[string]int // in a row, by provider
	gaveUp   []string
}

// prepare checks whom to ask, and reads what was answered before.
func (x *evaluation) prepare() error {
	cfg := x.who.cfg
	known := providerNames(cfg)
	if len(x.providers) == 0 {
		x.providers = known
	}
	for _, p := range x.providers {
		if !slices.Contains(known, p) {
			return fmt.Errorf("no provider %q in the configuration; it has %s", p, strings.Join(known, ", "))
		}
	}
	if book := known[len(known)-1]; !slices.Contains(x.providers, book) { // it is free, and what a model has to beat
		x.providers = append(slices.Clone(x.providers), book)
	}
	if x.out == "" {
		return nil
	}
	file, before, err := eval.OpenFile(x.out)
	if err != nil {
		return err
	}
	x.file, x.answers = file, before
	return nil
}

// freely is what may be spent without being asked for, in US dollars.
const freely = 0.10

// agreed refuses what might cost more than somebody agreed to, or than the day
// has left: alarms come first.
func (x *evaluation) agreed() error {
	most := x.atMost()
	spend, err := x.who.spent()
	if err != nil {
		return fmt.Errorf("ask what today has cost: %w", err)
	}
	left := spend.DailyCapUSD - spend.TodayUSD
	switch {
	case spend.DailyCapUSD > 0 && most > left:
		return fmt.Errorf("it may cost up to $%.2f and the day has $%.2f left, which alarms need; take fewer cases with --limit, or raise daily_cap_usd", most, max(left, 0))
	case most > freely && x.confirmed < most:
		return fmt.Errorf("it may cost up to $%.2f; if that is agreed: --confirm-cost %.2f", most, most+0.005)
	}
	if most > 0 {
		x.c.PrintErrf("edgeagent: %d questions, at most $%.2f\n", len(x.open()), most)
	}
	return nil
}

// atMost is what the questions that are still open can cost, in US dollars: each
// with every attempt that a provider has, within the cap of a job.
func (x *evaluation) atMost() float64 {
	worst := map[string]float64{}
	for _, p := range providers(x.who.cfg) {
		worst[p.Name] = worstOf(x.who.cfg, p)
	}
	sum := 0.0
	for _, q := range x.open() {
		if !q.item.Safety {
			sum += worst[q.provider]
		}
	}
	return sum
}

func worstOf(cfg *config.Config, p llm.ProviderOptions) float64 {
	worst := llm.WorstCaseUSD(p) * float64(max(p.Attempts, 1))
	if cfg.LLM.JobCapUSD > 0 {
		worst = min(worst, cfg.LLM.JobCapUSD)
	}
	return worst
}

// question is a case for a provider.
type question struct {
	item     eval.Item
	provider string
}

// open lists what nobody has answered yet, provider by provider: a local model
// stays loaded.
func (x *evaluation) open() []question {
	known := eval.Latest(x.items, x.answers)
	var all []question
	for _, p := range x.providers {
		for _, it := range x.items {
			if a, asked := known[eval.Asked{Item: it.ID, Provider: p}]; !asked || a.Diagnosis == nil {
				all = append(all, question{it, p})
			}
		}
	}
	return all
}

// enough is how many failures in a row are enough of a provider.
const enough = 3

// askAll asks whatever is open, and keeps each answer before the next question.
func (x *evaluation) askAll(ctx context.Context) error {
	open := x.open()
	defer x.file.Close()
	for i, q := range open {
		if x.failures[q.provider] >= enough {
			continue
		}
		if isTerminal(x.c.ErrOrStderr()) {
			x.c.PrintErrf("\r\x1b[K%d of %d: %s, %s …", i+1, len(open), q.provider, q.item.ID)
		}
		a, err := x.askOne(ctx, q)
		if ctx.Err() != nil {
			return fmt.Errorf("interrupted: %d of %d questions are answered%s", i, len(open), x.goOn())
		}
		if err != nil {
			return err
		}
		if err := x.keep(a); err != nil {
			return err
		}
	}
	if isTerminal(x.c.ErrOrStderr()) && len(open) > 0 {
		x.c.PrintErr("\r\x1b[K")
	}
	if left := len(x.open()); left > 0 {
		return fmt.Errorf("%d questions are without an answer%s%s", left, strings.Join(x.gaveUp, ""), x.goOn())
	}
	return nil
}

func (x *evaluation) goOn() string {
	if x.file == nil {
		return ""
	}
	return "; the same command goes on"
}

func (x *evaluation) askOne(ctx context.Context, q question) (eval.Answer, error) {
	began := time.Now()
	ask := status.AskedCase{Case: &q.item.Case, Provider: q.provider}
	if q.item.Safety { // no provider is asked: that is what is looked at
		ask.Provider = ""
	}
	a, err := x.who.ask(ctx, ask)
	if err != nil {
		return eval.Answer{}, err
	}
	return eval.Answer{
		Item: q.item.ID, Hash: q.item.Hash, Provider: q.provider, At: began, TookMS: time.Since(began).Milliseconds(),
		Diagnosis: a.Diagnosis, Calls: a.Calls, Error: a.Error,
	}, nil
}

func (x *evaluation) keep(a eval.Answer) error {
	x.answers = append(x.answers, a)
	if a.Diagnosis != nil {
		x.failures[a.Provider] = 0
	} else if x.failures[a.Provider]++; x.failures[a.Provider] == enough {
		x.gaveUp = append(x.gaveUp, fmt.Sprintf("; %s gave none %d times in a row: %s", a.Provider, enough, edgeagent.OneLine(a.Error, 200)))
	}
	return x.file.Add(a)
}
