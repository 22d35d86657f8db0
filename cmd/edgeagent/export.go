package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"

	"github.com/spf13/cobra"

	"edgeagent"
)

// exportPage is how many jobs are read at a time.
const exportPage = 200

func newExport(o *options) *cobra.Command {
	var state string
	c := jsonFlag(&cobra.Command{
		Use: "export", Short: "all jobs whole, newest first, one JSON object a line", Args: exactly(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error { return export(c, o, edgeagent.JobState(state)) },
	}, o)
	c.Flags().StringVar(&state, "state", "", "pending, running, completed, failed or discarded (default all)")
	return c
}

// A jobPager returns a page of jobs and where the next one begins.
type jobPager func(after edgeagent.ID) ([]edgeagent.Job, edgeagent.ID, error)

func export(c *cobra.Command, o *options, state edgeagent.JobState) error {
	cl, end, err := readingClient(c, o)
	if err != nil {
		return err
	}
	defer end()
	pages := jobPages(c.Context(), cl, state)
	one := []edgeagent.Job{}
	enc := json.NewEncoder(c.OutOrStdout())
	enc.SetEscapeHTML(false)
	for after := edgeagent.ID(""); ; {
		jobs, next, err := pages(after)
		if err != nil {
			return keepCode(err, "export jobs")
		}
		for _, j := range jobs {
			if o.json {
				one = append(one, j)
			} else if err := enc.Encode(j); err != nil {
				return fmt.Errorf("export jobs: %w", err)
			}
		}
		if after = next; next == "" {
			break
		}
	}
	if o.json {
		return printJSON(c.OutOrStdout(), jobsAnswer{Jobs: one})
	}
	return nil
}

// jobPages reads jobs a page at a time.
func jobPages(ctx context.Context, cl *client, state edgeagent.JobState) jobPager {
	return func(after edgeagent.ID) ([]edgeagent.Job, edgeagent.ID, error) {
		var a jobsAnswer
		q := url.Values{"state": {string(state)}, "limit": {fmt.Sprint(exportPage)}, "after": {string(after)}}
		err := cl.get(ctx, "/api/v1/jobs?"+q.Encode(), &a)
		return a.Jobs, a.Next, err
	}
}
