package main

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"edgeagent"
)

type alarmsAnswer struct {
	Alarms []edgeagent.Alarm `json:"alarms"`
	Next   edgeagent.ID      `json:"next"`
}

func newAlarms(o *options) *cobra.Command {
	var state string
	list := jsonFlag(&cobra.Command{
		Use: "list", Short: "alarms: active (default), shelved or history", Args: exactly(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error { return alarmsList(c, o, state) },
	}, o)
	list.Flags().StringVar(&state, "state", "active", "active, shelved or history")
	ack := jsonFlag(&cobra.Command{
		Use: "ack ID", Short: "acknowledge an alarm", Args: exactly(1, "one alarm id"),
		RunE: func(c *cobra.Command, args []string) error { return alarmAction(c, o, args[0], "ack", nil) },
	}, o)
	unshelve := jsonFlag(&cobra.Command{
		Use: "unshelve ID", Short: "end a shelving", Args: exactly(1, "one alarm id"),
		RunE: func(c *cobra.Command, args []string) error { return alarmAction(c, o, args[0], "unshelve", nil) },
	}, o)
	return group("alarms", "list, acknowledge and shelve alarms", list, ack, newShelve(o), unshelve)
}

func newShelve(o *options) *cobra.Command {
	var duration time.Duration
	var reason string
	c := jsonFlag(&cobra.Command{
		Use: "shelve ID --for 8h --reason TEXT", Short: "hide an alarm for a limited time", Args: exactly(1, "one alarm id"),
		RunE: func(c *cobra.Command, args []string) error {
			if duration <= 0 || reason == "" {
				return usagef("%s needs --for with a time above 0 and --reason", c.CommandPath())
			}
			return alarmAction(c, o, args[0], "shelve", map[string]any{"for_s": duration.Seconds(), "reason": reason})
		},
	}, o)
	c.Flags().DurationVar(&duration, "for", 0, "how long, for example 8h")
	c.Flags().StringVar(&reason, "reason", "", "why")
	return c
}

func alarmsList(c *cobra.Command, o *options, state string) error {
	cl, end, err := readingClient(c, o)
	if err != nil {
		return err
	}
	defer end()
	a, err := fetchAlarms(c.Context(), cl, state)
	if err != nil {
		return err
	}
	if a.Next != "" {
		c.PrintErrf("edgeagent: these are the newest %d; the page has the older ones\n", len(a.Alarms))
	}
	if o.json {
		return printJSON(c.OutOrStdout(), a)
	}
	return printAlarms(c.OutOrStdout(), a.Alarms)
}

// fetchAlarms reads every alarm that is open, however many there are: in a flood
// the one that matters is not among the newest. Of the history it reads the
// newest.
func fetchAlarms(ctx context.Context, cl *client, state string) (alarmsAnswer, error) {
	all := alarmsAnswer{Alarms: []edgeagent.Alarm{}}
	for {
		path := "/api/v1/alarms?state=" + url.QueryEscape(state)
		if all.Next != "" {
			path += "&after=" + string(all.Next)
		}
		var page alarmsAnswer
		if err := cl.get(ctx, path, &page); err != nil {
			return all, err
		}
		all.Alarms, all.Next = append(all.Alarms, page.Alarms...), page.Next
		if page.Next == "" || state == "history" {
			return all, nil
		}
	}
}

func printAlarms(w io.Writer, alarms []edgeagent.Alarm) error {
	if len(alarms) == 0 {
		_, err := fmt.Fprintln(w, "none")
		return err
	}
	rows := [][]string{{"P", "STATE", "SINCE", "ALARM", "TEXT", "HINT", "ID"}}
	for _, a := range alarms {
		hint := "-"
		if a.Hint != nil {
			hint = a.Hint.Summary
		}
		rows = append(rows, []string{strconv.Itoa(a.Priority), string(a.State), clock(&a.RaisedAt), a.Name(), a.Text, hint, string(a.ID)})
	}
	return table(w, rows)
}

func alarmAction(c *cobra.Command, o *options, id, action string, body any) error {
	cl, err := newClient(o)
	if err != nil {
		return err
	}
	var a edgeagent.Alarm
	if err := cl.post(c.Context(), "/api/v1/alarms/"+url.PathEscape(id)+"/"+action, body, &a); err != nil {
		return err
	}
	if o.json {
		return printJSON(c.OutOrStdout(), a)
	}
	c.Printf("%s is %s%s\n", printable(a.Name()), a.State, shelved(a))
	return nil
}

// shelved says until when an alarm is hidden, which is what was asked for.
func shelved(a edgeagent.Alarm) string {
	if a.ShelvedUntil == nil {
		return ""
	}
	return ", shelved until " + clock(a.ShelvedUntil)
}
