package main

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"edgeagent"
	"edgeagent/status"
)

func newUpstreams(o *options) *cobra.Command {
	parked := jsonFlag(&cobra.Command{
		Use: "parked NAME", Short: "events that an upstream refused, and why", Args: exactly(1, "the name of an upstream"),
		RunE: func(c *cobra.Command, args []string) error { return upstreamParked(c, o, args[0]) },
	}, o)
	return group("upstreams", "what upstreams refused, and send it again", parked, newResend(o))
}

func newResend(o *options) *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use: "resend NAME", Short: "send everything that an upstream refused once more", Args: exactly(1, "the name of an upstream"),
		RunE: func(c *cobra.Command, args []string) error { return upstreamResend(c, o, args[0], reason) },
	}
	c.Flags().StringVar(&reason, "reason", "", "why, for the log")
	return c
}

func upstreamParked(c *cobra.Command, o *options, name string) error {
	cl, end, err := readingClient(c, o)
	if err != nil {
		return err
	}
	defer end()
	var a status.ParkedEvents
	if err := cl.get(c.Context(), upstreamPath(name, "parked"), &a); err != nil {
		return err
	}
	if o.json {
		return printJSON(c.OutOrStdout(), a)
	}
	if len(a.Parked) == 0 {
		c.Printf("%s has refused nothing\n", printable(name))
		return nil
	}
	return table(c.OutOrStdout(), parkedRows(a.Parked))
}

func parkedRows(all []edgeagent.ParkedEvent) [][]string {
	rows := [][]string{{"STREAM", "NUMBER", "TYPE", "WRITTEN", "REFUSED", "SENT AGAIN", "WHY"}}
	for _, e := range all {
		kind, again, why := strings.TrimPrefix(string(e.Type), "edgeagent."), "-", "-"
		if kind == "" {
			kind = "damaged"
		}
		if e.AskedAt != nil {
			again = "asked " + clock(e.AskedAt) + " by " + e.AskedBy
		}
		if e.Reason != nil {
			why = e.Reason.Text
		}
		rows = append(rows, []string{string(e.Stream), fmt.Sprint(e.Sequence), kind, clock(e.At), clock(&e.ParkedAt), again, why})
	}
	return rows
}

func upstreamResend(c *cobra.Command, o *options, name, reason string) error {
	cl, err := newClient(o)
	if err != nil {
		return err
	}
	var a status.SentAgain
	if err := cl.post(c.Context(), upstreamPath(name, "resend"), map[string]string{"reason": reason}, &a); err != nil {
		return err
	}
	switch a.Events {
	case 0:
		c.Printf("%s: nothing to send again\n", printable(name))
	case 1:
		c.Printf("%s: 1 event is sent again\n", printable(name))
	default:
		c.Printf("%s: %d events are sent again\n", printable(name), a.Events)
	}
	return nil
}

func upstreamPath(name, verb string) string {
	return "/api/v1/upstreams/" + url.PathEscape(name) + "/" + verb
}
