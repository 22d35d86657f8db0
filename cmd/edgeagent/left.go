package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"edgeagent"
	"edgeagent/config"
	"edgeagent/llm"
	"edgeagent/llm/runbook"
	"edgeagent/plc"
	"edgeagent/queue"
	"edgeagent/status"
)

// left is what the data file tells while no agent runs; see [status.Source]. What
// only a running agent knows is missing in it, never made up.
type left struct {
	*queue.Reader
	cfg  *config.Config
	path string
}

// readingClient returns a client of the running agent. Where none answers it is
// one of the same handlers over what the agent has left in its data file. Call
// end when done with it.
func readingClient(c *cobra.Command, o *options) (cl *client, end func(), err error) {
	cfg, err := anyConfig(o)
	if err != nil {
		return nil, nil, err
	}
	cl = clientOn(clientSocket(cfg))
	gone := cl.get(c.Context(), "/healthz", nil)
	if exitCode(gone) != exitUnreachable {
		return cl, func() {}, nil
	}
	l, err := openLeft(c, cfg, gone)
	if err != nil {
		return nil, nil, err
	}
	page := status.New(status.Options{Source: l, Refusals: l, Location: cfg.Agent.Timezone})
	return &client{socket: cl.socket, left: l, http: &http.Client{Transport: local{page.Local()}}}, func() { _ = l.Close() }, nil
}

// openLeft opens the data file of the agent that did not answer, and says so.
// Whatever keeps it from that is told together with gone, which says who was
// asked.
func openLeft(c *cobra.Command, cfg *config.Config, gone error) (*left, error) {
	path := dataFile(cfg)
	r, err := queue.OpenChecked(c.Context(), path, func(ctx context.Context, path string) error {
		c.PrintErrf("edgeagent: no agent runs: reading %s as it was left\n", path)
		err := checkInChild(ctx, path)
		if err != nil && !errors.Is(err, queue.ErrUnchecked) {
			err = fmt.Errorf("nothing was changed, and the agent's next start sets a damaged file aside and keeps what is whole of it: %w", err)
		}
		return err
	})
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, &exitError{exitUnreachable, fmt.Errorf("there is no data file yet (%s), and %w", path, gone)}
	case errors.Is(err, queue.ErrInUse), errors.Is(err, os.ErrPermission): // an agent may well run
		return nil, &exitError{exitUnreachable, fmt.Errorf("%w; %w", err, gone)}
	case err != nil:
		return nil, fmt.Errorf("read what was left: %w", err)
	}
	return &left{Reader: r, cfg: cfg, path: path}, nil
}

// local is the way to a handler in this process.
type local struct{ http.Handler }

// RoundTrip has the handler answer.
func (l local) RoundTrip(r *http.Request) (*http.Response, error) {
	a := answer{header: http.Header{}}
	l.ServeHTTP(&a, r)
	return &http.Response{
		StatusCode: cmp.Or(a.status, http.StatusOK), Header: a.header, Body: io.NopCloser(&a.body),
		ContentLength: int64(a.body.Len()), Request: r,
	}, nil
}

// answer is what a handler writes.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header returns the header.
func (a *answer) Header() http.Header { return a.header }

// WriteHeader keeps the first status.
func (a *answer) WriteHeader(status int) { a.status = cmp.Or(a.status, status) }

// Write keeps p.
func (a *answer) Write(p []byte) (int, error) { return a.body.Write(p) }

// Status returns what the file knows of everything.
func (l *left) Status() edgeagent.Status {
	st := edgeagent.Status{
		Agent:   edgeagent.AgentInfo{ID: l.cfg.Agent.ID, Site: l.cfg.Agent.Site, Epoch: l.Epoch()},
		Devices: l.devices(time.Now()), Upstreams: l.upstreams(),
		Alarms: l.AlarmCounts(), Jobs: l.JobCounts(), Storage: l.Storage(),
	}
	st.Storage.State = cmp.Or(st.Storage.State, edgeagent.StorageOK) // it was checked
	st.Storage.MaxBytes = l.cfg.Queue.MaxSize
	st.Spend.DailyCapUSD = l.cfg.LLM.DailyCapUSD
	return st
}

// devices returns the configured devices, with what the file remembers of those
// that were stopped or in maintenance. The state of every other is empty.
func (l *left) devices(now time.Time) []edgeagent.DeviceStatus {
	all := []edgeagent.DeviceStatus{}
	for _, d := range l.cfg.Devices {
		spec := deviceSpec(d)
		m, _ := l.LoadDevice(d.Name)
		was := plc.Left(spec, m, now)
		switch {
		case was.State == edgeagent.DeviceDisabled, was.State == edgeagent.DeviceStopped:
		case was.State == edgeagent.DeviceMaintenance && was.Until != nil && now.Before(*was.Until):
		default:
			was.State, was.Since, was.Until, was.Attempt, was.Error = "", nil, nil, 0, ""
		}
		was.NextTryAt = nil // nobody will
		all = append(all, was)
	}
	return all
}

// upstreams returns what every configured upstream has not confirmed.
func (l *left) upstreams() []edgeagent.UpstreamStatus {
	all := []edgeagent.UpstreamStatus{}
	for _, s := range l.cfg.Sync {
		b := l.Backlog(s.Name)
		u := edgeagent.UpstreamStatus{Name: s.Name, URL: s.URL, Backlog: b.Events, Confirmed: b.Confirmed, Parked: b.Parked, Again: b.Again}
		if !b.Oldest.IsZero() {
			u.OldestS = max(time.Since(b.Oldest).Seconds(), 0)
		}
		all = append(all, u)
	}
	return all
}

// Readings returns none: values live in a running agent.
func (l *left) Readings(string) []edgeagent.Reading { return nil }

// Trend returns nothing: history lives in a running agent.
func (l *left) Trend(string, string, time.Time) []status.Point { return nil }

// Alarms returns a page of alarms.
func (l *left) Alarms(state string, limit int, after edgeagent.ID) ([]edgeagent.Alarm, edgeagent.ID, error) {
	return l.Reader.Alarms(queue.AlarmFilter{State: state, Limit: limit, After: after})
}

// Jobs returns a page of jobs.
func (l *left) Jobs(state string, limit int, after edgeagent.ID) ([]edgeagent.Job, edgeagent.ID, error) {
	return l.Reader.Jobs(queue.JobFilter{State: edgeagent.JobState(state), Limit: limit, After: after})
}

// Faulty returns the answers to a job that were of no use, as far as the rules of
// the configuration let them be shown.
func (l *left) Faulty(job edgeagent.ID) ([]edgeagent.FaultyAnswer, error) {
	options := routerOptions(l.cfg, &runbook.Book{}, &purse{}, slog.New(slog.DiscardHandler), nil)
	defer hangUpOn(options.Providers)
	return faultyAnswers(l, llm.New(options), job)
}

// Accuracy returns how every provider and model was judged.
func (l *left) Accuracy() ([]edgeagent.Accuracy, error) { return l.Reader.Accuracy(), nil }

// Parked returns what an upstream has refused.
func (l *left) Parked(upstream string, limit int) ([]edgeagent.ParkedEvent, error) {
	if err := knowsUpstream(l.cfg, upstream); err != nil {
		return nil, err
	}
	return l.Reader.Parked(upstream, limit)
}

// Resend is for a running agent.
func (l *left) Resend(context.Context, string, string, string) (int, error) {
	return 0, errors.New("no agent runs that could send anything")
}
