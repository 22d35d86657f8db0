package main

import (
	"fmt"
	"io"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"edgeagent"
)

type jobsAnswer struct {
	Jobs []edgeagent.Job `json:"jobs"`
	Next edgeagent.ID    `json:"next"`
}

func newJobs(o *options) *cobra.Command {
	var state string
	list := jsonFlag(&cobra.Command{
		Use: "list", Short: "diagnosis jobs, newest first", Args: exactly(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error { return jobsList(c, o, state) },
	}, o)
	list.Flags().StringVar(&state, "state", "", "pending, running, completed, failed or discarded (default all)")
	var exchanges bool
	show := jsonFlag(&cobra.Command{
		Use: "show ID", Short: "one job: diagnosis, calls and timeline", Args: exactly(1, "one job id"),
		RunE: func(c *cobra.Command, args []string) error { return jobShow(c, o, args[0], exchanges) },
	}, o)
	show.Flags().BoolVar(&exchanges, "exchanges", false, "also what was sent to models and what they said, unfiltered")
	retry := &cobra.Command{
		Use: "retry ID…", Short: "put failed jobs back into the queue", Args: atLeast(1, "job ids"),
		RunE: func(c *cobra.Command, args []string) error { return jobsAction(c, o, args, "retry", nil) },
	}
	return group("jobs", "diagnosis jobs", list, show, retry, newDiscard(o), newFeedback(o), newConfirm(o), newExport(o))
}

func newDiscard(o *options) *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use: "discard ID… --reason TEXT", Short: "give up jobs", Args: atLeast(1, "job ids"),
		RunE: func(c *cobra.Command, args []string) error {
			if reason == "" {
				return usagef("%s needs --reason", c.CommandPath())
			}
			return jobsAction(c, o, args, "discard", map[string]string{"reason": reason})
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why")
	return c
}

func jobsList(c *cobra.Command, o *options, state string) error {
	cl, end, err := readingClient(c, o)
	if err != nil {
		return err
	}
	defer end()
	var a jobsAnswer
	if err := cl.get(c.Context(), "/api/v1/jobs?state="+url.QueryEscape(state), &a); err != nil {
		return err
	}
	if a.Next != "" {
		c.PrintErrf("edgeagent: these are the newest %d; edgeagent jobs export prints all\n", len(a.Jobs))
	}
	if o.json {
		return printJSON(c.OutOrStdout(), a)
	}
	return printJobs(c.OutOrStdout(), a.Jobs)
}

func printJobs(w io.Writer, jobs []edgeagent.Job) error {
	if len(jobs) == 0 {
		_, err := fmt.Fprintln(w, "none")
		return err
	}
	rows := [][]string{{"ID", "STATE", "LINE", "P", "ALARMS", "TRIES", "NEXT", "BY", "SUMMARY OR ERROR"}}
	for _, j := range jobs {
		by, text := "-", dash(j.LastError.String())
		if d := j.Latest(); d != nil {
			by, text = d.By.Provider, d.Summary
		}
		rows = append(rows, []string{
			string(j.ID), string(j.State), j.Line, strconv.Itoa(j.Priority), strconv.Itoa(len(j.Alarms)),
			fmt.Sprintf("%d/%d", j.Attempts, j.MaxAttempts), clock(j.NextTryAt), by, text,
		})
	}
	return table(w, rows)
}

// shownJob is the API's answer about one job.
type shownJob struct {
	edgeagent.Job
	Faulty    []edgeagent.FaultyAnswer `json:"faulty"`
	Exchanges []edgeagent.Exchange     `json:"exchanges,omitempty"`
}

func jobShow(c *cobra.Command, o *options, id string, exchanges bool) error {
	cl, end, err := readingClient(c, o)
	if err != nil {
		return err
	}
	defer end()
	path := "/api/v1/jobs/" + url.PathEscape(id)
	if exchanges {
		path += "?exchanges=true"
	}
	var j shownJob
	if err := cl.get(c.Context(), path, &j); err != nil {
		return err
	}
	if o.json {
		return printJSON(c.OutOrStdout(), j)
	}
	printJob(c.OutOrStdout(), j.Job)
	printExchanges(c.OutOrStdout(), j.Exchanges)
	return nil
}

func printExchanges(w io.Writer, all []edgeagent.Exchange) {
	said := func(what, text string) {
		if text != "" {
			fmt.Fprintf(w, "\n%s:\n%s\n", what, printableLines(text))
		}
	}
	for _, e := range all {
		said("sent", e.Prompt)
		for _, f := range e.Faulty {
			said(fmt.Sprintf("answer of call %d, not taken%s", f.Call+1, because(f.Fault.String())), f.Raw)
		}
		said("answer, unfiltered", e.Raw)
	}
}

func printJob(w io.Writer, j edgeagent.Job) {
	fmt.Fprintf(w, "job %s: %s, line %s, priority %d\n", j.ID, j.State, printable(j.Line), j.Priority)
	for _, t := range j.Timeline {
		fmt.Fprintf(w, "  %s  %s%s\n", clock(&t.At), t.Event, because(t.Detail.String()))
	}
	for _, call := range j.Calls {
		fmt.Fprintf(w, "  call %s %s: %s, status %d, %d ms, $%.5f%s\n", call.Provider, printable(call.Model),
			call.Outcome, call.Status, call.TookMS, call.CostUSD, because(call.Error.String()))
	}
	if newest := j.Latest(); newest != nil && newest != j.Diagnosis {
		fmt.Fprintln(w, "\nasked twice; the newer answer first:")
		printDiagnosis(w, *newest)
		fmt.Fprintln(w, "\nthe first answer, superseded:")
	}
	if j.Diagnosis != nil {
		printDiagnosis(w, *j.Diagnosis)
	}
	printFeedback(w, j.Feedback)
}

func printDiagnosis(w io.Writer, d edgeagent.Diagnosis) {
	fmt.Fprintf(w, "\n%s\n", printable(d.Summary))
	if d.Safety != "" {
		fmt.Fprintf(w, "SAFETY: %s\n", printable(d.Safety))
	}
	for _, cause := range d.Causes {
		fmt.Fprintf(w, "  %s: %s\n", cause.Likelihood, printable(cause.Cause))
	}
	for i, check := range d.Checks {
		fmt.Fprintf(w, "  %d. %s\n", i+1, printable(check))
	}
	if d.Unstructured != "" {
		fmt.Fprintf(w, "unstructured answer:\n%s\n", printable(d.Unstructured))
	}
	fmt.Fprintf(w, "by %s %s%s; advisory only\n", d.By.Provider, printable(d.By.Model), because(d.By.WhyNotFirst))
}

// jobsAction does what it can and reports every job that refused.
func jobsAction(c *cobra.Command, o *options, ids []string, action string, body any) error {
	cl, err := newClient(o)
	if err != nil {
		return err
	}
	failed := 0
	for _, id := range ids {
		if err := cl.post(c.Context(), "/api/v1/jobs/"+url.PathEscape(id)+"/"+action, body, nil); err != nil {
			if exitCode(err) == exitUnreachable {
				return err
			}
			failed++
			c.PrintErrf("edgeagent: %s: %v\n", printable(id), err)
			continue
		}
		c.Printf("%s %s\n", id, action)
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d jobs refused", failed, len(ids))
	}
	return nil
}
