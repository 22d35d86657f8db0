package main

import (
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"edgeagent"
)

func newFeedback(o *options) *cobra.Command {
	var verdict, cause, fixedBy, provider string
	c := jsonFlag(&cobra.Command{
		Use: "feedback ID --verdict right|partly|wrong", Short: "say whether a diagnosis was right, and what it was", Args: exactly(1, "one job id"),
		RunE: func(c *cobra.Command, args []string) error {
			switch edgeagent.Verdict(verdict) {
			case edgeagent.VerdictRight, edgeagent.VerdictPartly, edgeagent.VerdictWrong:
			default:
				return usagef("%s needs --verdict right, partly or wrong", c.CommandPath())
			}
			return jobWord(c, o, args[0], "feedback", map[string]string{"verdict": verdict, "cause": cause, "fixed_by": fixedBy, "provider": provider})
		},
	}, o)
	c.Flags().StringVar(&verdict, "verdict", "", "right, partly or wrong")
	c.Flags().StringVar(&cause, "cause", "", "what it was")
	c.Flags().StringVar(&fixedBy, "fixed-by", "", "what fixed it")
	c.Flags().StringVar(&provider, "provider", "", "whose answer, when there are two (default the newer)")
	return c
}

func newConfirm(o *options) *cobra.Command {
	return jsonFlag(&cobra.Command{
		Use: "confirm ID", Short: "stand by what was said of a diagnosis, as an engineer: later diagnoses are told of it", Args: exactly(1, "one job id"),
		RunE: func(c *cobra.Command, args []string) error { return jobWord(c, o, args[0], "confirm", nil) },
	}, o)
}

// jobWord sends a person's word and prints how it stands then.
func jobWord(c *cobra.Command, o *options, id, action string, body any) error {
	cl, err := newClient(o)
	if err != nil {
		return err
	}
	var j edgeagent.Job
	if err := cl.post(c.Context(), "/api/v1/jobs/"+url.PathEscape(id)+"/"+action, body, &j); err != nil {
		return err
	}
	if o.json {
		return printJSON(c.OutOrStdout(), j)
	}
	printFeedback(c.OutOrStdout(), j.Feedback)
	return nil
}

func printFeedback(w io.Writer, f *edgeagent.Feedback) {
	if f == nil {
		return
	}
	text := fmt.Sprintf("judged %s by %s at %s", f.Verdict, printable(f.By), clock(&f.At))
	if f.Provider != "" {
		text += ", about " + printable(strings.TrimSpace(f.Provider+" "+f.Model))
	}
	if f.Cause != "" {
		text += "; the cause was: " + printable(f.Cause)
	}
	if f.FixedBy != "" {
		text += "; fixed by: " + printable(f.FixedBy)
	}
	if f.ConfirmedBy != "" {
		text += "; confirmed by " + printable(f.ConfirmedBy)
	}
	fmt.Fprintln(w, text)
}
