package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"edgeagent"
	"edgeagent/llm/runbook"
)

func newDrafts(o *options) *cobra.Command {
	var dir string
	c := jsonFlag(&cobra.Command{
		Use:   "drafts",
		Short: "entries made of what people said fixed an alarm, for an engineer to read",
		Long: "Prints an entry for every alarm of which somebody said a cause or a remedy that the runbook does not know, those that an engineer\n" +
			"confirmed first. With --write each becomes a file of its own; one that is there is left alone. A draft is never quoted to anybody\n" +
			"until \"status: draft\" is taken out of it. Reads from the running agent, else from the data file.",
		Args: exactly(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error { return runbookDrafts(c, o, dir) },
	}, o)
	c.Flags().StringVar(&dir, "write", "", "`folder` for a file each, the runbook's own for example")
	return c
}

func runbookDrafts(c *cobra.Command, o *options, dir string) error {
	cfg, err := anyConfig(o)
	if err != nil {
		return err
	}
	book, err := runbook.Load(runbookPath(cfg))
	if err != nil {
		return err
	}
	book.Language, book.Templates = cfg.LLM.Language, templatesOf(cfg)
	cl, end, err := readingClient(c, o)
	if err != nil {
		return err
	}
	defer end()
	said, err := whatPeopleSaid(c, saidTo(c.Context(), cl))
	if err != nil {
		return err
	}
	drafts := book.Drafts(said)
	switch {
	case o.json:
		err = printJSON(c.OutOrStdout(), map[string]any{"drafts": drafts})
	case dir == "":
		printDrafts(c, drafts)
	}
	if dir != "" {
		err = errors.Join(err, writeDrafts(c, dir, drafts))
	}
	return err
}

// saidSource is where jobs and alarms are read.
type saidSource struct {
	jobs  jobPager
	alarm func(edgeagent.ID) (edgeagent.Alarm, error)
	// remembered is what outlives both, of the alarms that were judged most.
	remembered func() ([]edgeagent.Memory, error)
}

func saidTo(ctx context.Context, cl *client) *saidSource {
	return &saidSource{
		jobs: jobPages(ctx, cl, ""),
		alarm: func(id edgeagent.ID) (a edgeagent.Alarm, err error) {
			return a, cl.get(ctx, "/api/v1/alarms/"+url.PathEscape(string(id)), &a)
		},
		remembered: func() ([]edgeagent.Memory, error) {
			var a struct{ Alarms []edgeagent.Memory }
			err := cl.get(ctx, "/api/v1/accuracy", &a)
			return a.Alarms, err
		},
	}
}

// whatPeopleSaid reads what they said of jobs that are kept, and what is
// remembered of those that are not.
func whatPeopleSaid(c *cobra.Command, src *saidSource) ([]runbook.PersonSaid, error) {
	said, err := saidOfJobs(c, src)
	if err != nil {
		return nil, err
	}
	memories, err := src.remembered()
	if err != nil {
		return nil, keepCode(err, "read what is remembered")
	}
	kept := map[edgeagent.ID]bool{}
	for _, s := range said {
		kept[s.Alarm.ID] = true
	}
	for _, m := range memories {
		for _, p := range m.Before {
			if !kept[p.Alarm] {
				said = append(said, runbook.Remembered(m, p))
			}
		}
	}
	return said, nil
}

// saidOfJobs reads every job with feedback that names a cause or a remedy, or
// finds the diagnosis right.
func saidOfJobs(c *cobra.Command, src *saidSource) ([]runbook.PersonSaid, error) {
	var said []runbook.PersonSaid
	for after := edgeagent.ID(""); ; {
		jobs, next, err := src.jobs(after)
		if err != nil {
			return nil, keepCode(err, "read the jobs")
		}
		for _, j := range jobs {
			if j.Feedback == nil || len(j.Alarms) == 0 {
				continue
			}
			s := runbook.PersonSaid{Job: j.ID, Feedback: *j.Feedback}
			if d := j.Latest(); d != nil && len(d.Causes) > 0 {
				s.Found = d.Causes[0].Cause
			}
			switch s.Alarm, err = firstOut(src, j.Alarms); {
			case exitCode(err) == exitUnreachable:
				return nil, err
			case err != nil: // its alarm is gone: no reason to lose what was said of the others
				c.PrintErrf("edgeagent: what was said of job %s is left out: %v\n", j.ID, err)
			default:
				said = append(said, s)
			}
		}
		if after = next; next == "" {
			return said, nil
		}
	}
}

// maxOfJob bounds the search for the first-out among a flood's alarms; it is
// among the first.
const maxOfJob = 20

// firstOut returns the alarm that a diagnosis was about.
func firstOut(src *saidSource, ids []edgeagent.ID) (edgeagent.Alarm, error) {
	var first edgeagent.Alarm
	for i, id := range ids[:min(len(ids), maxOfJob)] {
		a, err := src.alarm(id)
		if err != nil {
			return a, err
		}
		if a.FirstOut {
			return a, nil
		}
		if i == 0 {
			first = a
		}
	}
	return first, nil
}

func printDrafts(c *cobra.Command, drafts []runbook.Draft) {
	if len(drafts) == 0 {
		c.PrintErrln("nothing was said that the runbook does not know")
	}
	for i, d := range drafts {
		if i > 0 {
			fmt.Fprintln(c.OutOrStdout())
		}
		fmt.Fprint(c.OutOrStdout(), printableLines(d.Markdown))
	}
}

// writeDrafts makes a new file of each draft. One that is there is somebody's
// work and stays as it is.
func writeDrafts(c *cobra.Command, dir string, drafts []runbook.Draft) error {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return fmt.Errorf("write drafts into %s: it is no folder; make it first", dir)
	}
	written := 0
	for _, d := range drafts {
		path := filepath.Join(dir, d.File)
		err := writeNew(path, d.Markdown)
		switch {
		case errors.Is(err, fs.ErrExist):
			c.PrintErrf("%s is there already; it is left as it is\n", path)
		case err != nil:
			return fmt.Errorf("write a draft: %w", err)
		default:
			written++
			c.PrintErrln(path)
		}
	}
	c.PrintErrf("%d drafts written; read them, then take \"status: draft\" out and reload\n", written)
	return nil
}

// writeNew writes a file that was not there, whole or not at all.
func writeNew(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}
