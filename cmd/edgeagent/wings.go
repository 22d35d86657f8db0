package main

import (
	"cmp"
	"context"
	"strconv"
	"time"

	"edgeagent"
	"edgeagent/config"
	"edgeagent/diagnose"
	"edgeagent/internal/retry"
	"edgeagent/llm"
	"edgeagent/plc"
	"edgeagent/queue"
	"edgeagent/status"
	upsync "edgeagent/sync"
	"edgeagent/sync/https"
)

// startPlant runs the loop and one connection per endpoint.
func (a *agent) startPlant(ctx context.Context, cfg *config.Config) {
	loop := a.loop.Load()
	ensureCertificates(cfg, a.log)
	conns := connections(cfg, plc.Options{
		Deliver: loop.inbox.Put, Memory: a.db.Load(), Log: a.log, OnRequest: a.metrics.RequestDone,
	})
	a.conns.Store(&conns)
	parts := []runner{{"loop", loop.Run}}
	for i, c := range conns {
		parts = append(parts, runner{"connection " + strconv.Itoa(i), c.Run})
	}
	a.plant = startWing(ctx, a.log, parts...)
}

// startDiagnosis runs the router's probers and the workers.
func (a *agent) startDiagnosis(ctx context.Context, cfg *config.Config) {
	db := a.db.Load()
	router := llm.New(routerOptions(cfg, a.book.Load(), db, a.log, a.called))
	a.router.Store(router)
	worker := diagnose.New(diagnose.Options{
		Jobs: db, Ready: db, Diagnoser: router, Workers: cfg.Queue.Workers, Grace: cfg.Agent.ShutdownGrace,
		Deadline: router.Deadline(), Retry: jobRetry, Log: a.log, Backlog: a.backlog, OnJob: a.jobDone,
	})
	counter := a.newCounter()
	a.counter.Store(counter)
	parts := []runner{{"router", router.Run}, {"worker", worker.Run}, {"runbook watch", a.watchRunbook}, {"counter", counter.Run}}
	if cfg.LLM.ReviewLocal {
		parts = append(parts, runner{"reviewer", a.reviewer(cfg, db, router).Run})
	}
	a.diagnose = startWing(ctx, a.log, parts...)
}

// reviewer asks the first provider again about what others answered in its place.
func (a *agent) reviewer(cfg *config.Config, db *queue.DB, router *llm.Router) *diagnose.Reviewer {
	first := cfg.LLM.Providers[0]
	return diagnose.NewReviewer(diagnose.ReviewOptions{
		Jobs: db, Book: db, Asker: router, Provider: first.Name, Outside: outside(first), Log: a.log, Backlog: a.backlog,
		OnReview: func(job edgeagent.ID) {
			a.page.Changed(status.KindJob, string(job))
			a.page.Changed(status.KindAlarm, "") // its answer is shown there
		},
	})
}

// startUpstream runs one uploader per upstream and the watcher of the links.
func (a *agent) startUpstream(ctx context.Context, cfg *config.Config) {
	db := a.db.Load()
	parts := []runner{{"link watch", func(ctx context.Context) error { return watchLinks(ctx, a.pokes.poke) }}}
	var ups []*upsync.Uploader
	for _, s := range cfg.Sync {
		ready, unsubscribe := db.OutboxReady()
		poke, unpoke := a.pokes.subscribe()
		u := upsync.New(uploaderOptions(cfg, s, db, ready, poke, a))
		ups = append(ups, u)
		parts = append(parts, runner{"upstream " + s.Name, func(ctx context.Context) error {
			defer unsubscribe()
			defer unpoke()
			return u.Run(ctx)
		}})
	}
	a.ups.Store(&ups)
	a.upstream = startWing(ctx, a.log, parts...)
}

// outbox is what the data file is to an uploader.
type outbox interface {
	upsync.Outbox
	upsync.Book
	upsync.Refusals
}

func uploaderOptions(cfg *config.Config, s config.Sync, db outbox, ready, poke <-chan struct{}, a *agent) upsync.Options {
	return upsync.Options{
		Name: s.Name, URL: s.URL, Destination: destination(s), Outbox: db, Book: db, Refusals: db, Ready: ready, Poke: poke,
		Source: edgeagent.Source(cfg.Agent.Site, cfg.Agent.ID), Batch: s.Batch, Timeout: s.Timeout, Heartbeat: cmp.Or(s.Heartbeat, never),
		Retry: retry.Backoff{First: s.Retry.First, Max: s.Retry.Max}, Receipt: s.Receipt, Log: a.log,
		HeartbeatData: a.heartbeat, Stamp: a.db.Load().Stamp,
		OnChange: func() { a.page.Changed(status.KindUpstream, s.Name) },
	}
}

// never is how often an upstream hears from us that is to hear nothing but events:
// 0 is an uploader's own default.
const never = 100 * 365 * 24 * time.Hour

func destination(s config.Sync) *https.Destination {
	to := https.Options{
		URL: s.URL, CAFile: s.CAFile, Timeout: s.Timeout, ReceiptStatus: s.Receipt == "status", UserAgent: "edgeagent/" + version,
	}
	if s.Token.IsSet() {
		to.Token = s.Token.Read
	}
	return https.New(to)
}

// heartbeatData is what upstream learns of an agent that has nothing to send.
type heartbeatData struct {
	Version  string                `json:"version"`
	UptimeS  float64               `json:"uptime_s"`
	Headline edgeagent.Headline    `json:"headline"`
	Alarms   edgeagent.AlarmCounts `json:"alarms"`
	Jobs     edgeagent.JobCounts   `json:"jobs"`
}

func (a *agent) heartbeat() any {
	s := a.page.Snapshot()
	return heartbeatData{version, s.Agent.UptimeS, s.Headline, s.Alarms, s.Jobs}
}

// The hooks: what happened is counted, and open pages hear of it.

func (a *agent) scanned(s edgeagent.Scan) {
	a.metrics.ScanDone(s.Device, s.Took, s.Err)
	a.page.Changed(status.KindDevice, s.Device)
	a.page.Changed(status.KindTag, s.Device)
}

func (a *agent) stored(t edgeagent.Transition, stored edgeagent.Alarm) {
	if t.Kind == edgeagent.TransitionRaised {
		a.metrics.AlarmRaised(stored.Device)
		a.log.Info("alarm raised", "alarm", stored.ID, "device", stored.Device, "code", stored.Code, "job", stored.Job)
	}
	a.page.Changed(status.KindAlarm, string(stored.ID))
	if stored.Job != "" {
		a.page.Changed(status.KindJob, string(stored.Job))
	}
}

func (a *agent) called(c edgeagent.Call) {
	a.metrics.CallDone(c)
	a.page.Changed(status.KindProvider, c.Provider)
}

func (a *agent) jobDone(outcome string, took time.Duration) {
	a.metrics.JobDone(outcome, took)
	a.page.Changed(status.KindJob, "")
	a.page.Changed(status.KindAlarm, "") // its job's state is shown there
}
