package main

import (
	"encoding/json"
	"fmt"
	"net/url"

	"github.com/spf13/cobra"

	"edgeagent"
	"edgeagent/queue"
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
	pages, end, err := jobPages(c, o, state)
	if err != nil {
		return err
	}
	defer end()
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

// jobPages reads from the running agent, or from the file when there is none.
func jobPages(c *cobra.Command, o *options, state edgeagent.JobState) (jobPager, func(), error) {
	cl, err := newClient(o)
	if err != nil {
		return nil, nil, err
	}
	online := func(after edgeagent.ID) ([]edgeagent.Job, edgeagent.ID, error) {
		var a jobsAnswer
		q := url.Values{"state": {string(state)}, "limit": {fmt.Sprint(exportPage)}, "after": {string(after)}}
		err := cl.get(c.Context(), "/api/v1/jobs?"+q.Encode(), &a)
		return a.Jobs, a.Next, err
	}
	if err := cl.get(c.Context(), "/healthz", nil); exitCode(err) != exitUnreachable {
		return online, func() {}, nil
	}
	cfg, err := anyConfig(o)
	if err != nil {
		return nil, nil, err
	}
	c.PrintErrln("edgeagent: no agent runs; reading the data file itself")
	if err := checkInChild(c.Context(), dataFile(cfg)); err != nil {
		return nil, nil, err
	}
	r, err := queue.OpenReader(c.Context(), dataFile(cfg))
	if err != nil {
		return nil, nil, err
	}
	offline := func(after edgeagent.ID) ([]edgeagent.Job, edgeagent.ID, error) {
		return r.Jobs(queue.JobFilter{State: state, Limit: exportPage, After: after})
	}
	return offline, func() { _ = r.Close() }, nil
}
