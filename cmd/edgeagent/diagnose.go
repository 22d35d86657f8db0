package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"edgeagent"
	"edgeagent/status"
)

func newDiagnose(o *options) *cobra.Command {
	var q status.AskedCase
	c := jsonFlag(&cobra.Command{
		Use: "diagnose --alarm CODE", Short: "one diagnosis now, outside the queue; --dry-run shows what would be sent",
		Long: "Diagnoses the open alarm of that code as it was recorded, else the configuration's text with the present values. The running\n" +
			"agent answers: its providers, holds and caps are the same as for an alarm, and what it costs counts into the caps. Without\n" +
			"an agent this process asks by itself, from the configuration and the data file, and present values are missing.\n" +
			"Exit code 1 if nobody answered.",
		Args: exactly(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			if q.Alarm == "" {
				return usagef("%s needs --alarm CODE", c.CommandPath())
			}
			return runDiagnose(c, o, q)
		},
	}, o)
	c.Flags().StringVar(&q.Alarm, "alarm", "", "the alarm's `code`")
	c.Flags().StringVar(&q.Device, "device", "", "of this device, where several have the code")
	c.Flags().StringVar(&q.Line, "line", "", "of this line, likewise")
	c.Flags().StringVar(&q.Provider, "provider", "", "ask this provider alone (default all in their order)")
	c.Flags().BoolVar(&q.DryRun, "dry-run", false, "print what each provider would be sent; send nothing")
	return c
}

func runDiagnose(c *cobra.Command, o *options, q status.AskedCase) error {
	a, err := askOnce(c, o, q)
	if err != nil {
		return err
	}
	if o.json {
		if err := printJSON(c.OutOrStdout(), a); err != nil {
			return err
		}
		return unanswered(a, q.DryRun)
	}
	printCaseHead(c.OutOrStdout(), a)
	if q.DryRun {
		return printPrompts(c.OutOrStdout(), a.Prompts)
	}
	if a.Diagnosis != nil {
		printDiagnosis(c.OutOrStdout(), *a.Diagnosis)
	}
	printCalls(c.OutOrStdout(), a.Calls)
	return unanswered(a, false)
}

// askOnce asks whoever answers, and shows on a terminal that it takes its time.
func askOnce(c *cobra.Command, o *options, q status.AskedCase) (status.AnsweredCase, error) {
	who, err := newAnswerer(c, o)
	if err != nil {
		return status.AnsweredCase{}, err
	}
	defer who.end()
	quiet := ticking(c.ErrOrStderr(), "asking")
	defer quiet()
	a, err := who.ask(c.Context(), q)
	if err == nil && c.Context().Err() != nil && a.Diagnosis == nil {
		err = errInterrupted
	}
	return a, err
}

// ticking counts the seconds on a terminal until what it returns is called.
func ticking(w io.Writer, what string) (quiet func()) {
	if !isTerminal(w) {
		return func() {}
	}
	began, done, gone := time.Now(), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-done:
				fmt.Fprint(w, "\r\x1b[K")
				return
			case <-tick.C:
				fmt.Fprintf(w, "\r%s … %.0f s, Ctrl-C gives up", what, time.Since(began).Seconds())
			}
		}
	}()
	return func() { close(done); <-gone }
}

// unanswered is the error of an answer that is none.
func unanswered(a status.AnsweredCase, dry bool) error {
	if dry || a.Diagnosis != nil {
		return nil
	}
	if a.Error == "" {
		return errors.New("nobody answered")
	}
	return errors.New(printable(a.Error))
}

// caseWords says where a case comes from.
var caseWords = map[string]string{
	status.CaseActive:     "the open alarm, as it was recorded",
	status.CaseDefinition: "not open: its definition in the configuration, with the values of now",
	status.CaseStored:     "the job's stored case",
	status.CaseGiven:      "as given",
}

func printCaseHead(w io.Writer, a status.AnsweredCase) {
	first := a.Case.First()
	fmt.Fprintf(w, "%s %s\n", printable(first.Alarm.Name()), printable(first.Alarm.Text))
	tags, bad := 0, 0
	if first.Evidence != nil {
		for _, t := range first.Evidence.Tags {
			tags++
			if t.Quality == edgeagent.QualityBad {
				bad++
			}
		}
	}
	fmt.Fprintf(w, "case: %s; %d tags (%d without a value), %d related alarms, %d earlier ones\n",
		caseWords[a.From], tags, bad, len(a.Case.Related), len(a.Case.Before))
	for _, n := range a.Notes {
		fmt.Fprintf(w, "note: %s\n", printable(n))
	}
}

func printCalls(w io.Writer, calls []edgeagent.Call) {
	for _, call := range calls {
		fmt.Fprintf(w, "  call %s %s: %s, status %d, %d ms, %d tokens in, %d out, $%.5f%s\n", call.Provider, printable(call.Model),
			call.Outcome, call.Status, call.TookMS, call.TokensIn, call.TokensOut, call.CostUSD, because(call.Error.String()))
	}
}

// printPrompts writes the texts as they would be sent, control characters made
// visible: the prompt itself has none.
func printPrompts(w io.Writer, all []status.PreviewedPrompt) error {
	for _, p := range all {
		fmt.Fprintf(w, "\n=== %s\n", p.Provider)
		if p.Error != "" {
			fmt.Fprintf(w, "nothing would be sent: %s\n", printable(p.Error))
			continue
		}
		fmt.Fprintf(w, "about %d tokens, prompt version %s, answer as JSON by the schema %q\n", p.Tokens, p.Version, schemaName)
		if !p.Fits {
			fmt.Fprintln(w, "it would NOT be sent: even the bare alarm does not fit into the model's context")
		}
		fmt.Fprintf(w, "--- system\n%s\n--- user\n%s\n", strings.TrimRight(printableLines(p.System), "\n"), printableLines(p.User))
	}
	return nil
}

// schemaName is what providers are told the shape of the answer is called.
const schemaName = "diagnosis"
