package main

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
	"edgeagent/diagnose"
	"edgeagent/internal/retry"
	"edgeagent/queue"
)

// moody is a data file that refuses what a worker hands it, or stores it and does not
// say so, for as long as it is in the mood for it.
type moody struct {
	*queue.DB

	until time.Time

	mu   sync.Mutex
	seed *rand.Rand
	paid int // requests
}

func (m *moody) luck(n int) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.seed.IntN(n)
}

func (m *moody) mood(store func() error) error {
	switch {
	case time.Now().After(m.until):
		return store()
	case m.luck(4) == 0:
		return errors.Join(store(), queue.ErrStalled)
	default:
		return edgeagent.ErrFull
	}
}

func (m *moody) Complete(ctx context.Context, l edgeagent.Lease, o edgeagent.Outcome) error {
	return m.mood(func() error { return m.DB.Complete(ctx, l, o) })
}

func (m *moody) Retry(ctx context.Context, l edgeagent.Lease, o edgeagent.Outcome, why *edgeagent.Note, wait time.Duration) error {
	return m.mood(func() error { return m.DB.Retry(ctx, l, o, why, wait) })
}

func (m *moody) Release(ctx context.Context, l edgeagent.Lease, o edgeagent.Outcome) error {
	return m.mood(func() error { return m.DB.Release(ctx, l, o) })
}

// Diagnose takes a while, and is not always of use.
func (m *moody) Diagnose(ctx context.Context, _ edgeagent.Case) (edgeagent.Outcome, error) {
	m.mu.Lock()
	m.paid++
	m.mu.Unlock()
	out := edgeagent.Outcome{Calls: []edgeagent.Call{{Provider: "cloud", CostUSD: 0.001}}}
	if err := retry.Sleep(ctx, time.Duration(m.luck(90))*time.Second); err != nil {
		return out, err
	}
	if m.luck(3) == 0 {
		return out, errors.New("of no use")
	}
	out.Diagnosis = &edgeagent.Diagnosis{Summary: "dirty lens"}
	return out, nil
}

// However often workers are replaced while the file takes nothing, no job is left
// running with nobody at it, and no request is forgotten, once the file takes results
// again: nobody has to start the agent anew.
func TestNoReloadLeavesAJobBehind(t *testing.T) {
	const jobs = 12
	for seed := range uint64(20) {
		path := filepath.Join(t.TempDir(), "edgeagent.db")
		synctest.Test(t, func(t *testing.T) {
			log := slog.New(slog.DiscardHandler)
			db, err := queue.Open(t.Context(), queue.Options{Path: path, Site: "plant-a", Agent: "gw", MaxAttempts: 50, Log: log})
			if err != nil {
				t.Fatal(err)
			}
			m := &moody{DB: db, until: time.Now().Add(10 * time.Minute), seed: rand.New(rand.NewPCG(seed, 1))}
			backlog := &diagnose.Backlog{}
			outer := startWing(t.Context(), log, runner{"backlog", backlog.Run})
			work := func(d time.Duration) {
				w := diagnose.New(diagnose.Options{Jobs: m, Ready: db, Diagnoser: m, Workers: 3, Grace: 10 * time.Second, Backlog: backlog})
				wing := startWing(t.Context(), log, runner{"worker", w.Run})
				time.Sleep(d)
				wing.stop()
			}
			(&cappedLife{db: db}).raise(t, 0, jobs)
			for time.Now().Before(m.until) {
				work(time.Duration(m.luck(120)) * time.Second)
			}
			work(2 * time.Hour)
			outer.stop()
			stored := 0
			all, _, err := db.Jobs(queue.JobFilter{})
			for _, j := range all {
				stored += len(j.Calls)
			}
			if c := db.JobCounts(); err != nil || c.Completed != jobs || stored != m.paid {
				t.Errorf("seed %d: jobs %+v, %v; %d of %d requests are known", seed, c, err, stored, m.paid)
			}
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
