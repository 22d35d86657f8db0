package main

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
	"edgeagent/config"
	"edgeagent/queue"
	upsync "edgeagent/sync"
)

// overloaded is an upstream that wants to be left alone for an hour.
type overloaded struct{ requests atomic.Int32 }

func (o *overloaded) Send(context.Context, []edgeagent.Outgoing) (edgeagent.Receipt, error) {
	o.requests.Add(1)
	return edgeagent.Receipt{}, &upsync.Error{Class: upsync.Busy, Status: 429, RetryAfter: time.Hour, Text: "429"}
}

// A person's word has an upstream tried before its time when there is something
// to send again; a second tap on the button does not.
func TestOnlySomethingToSendAgainAsksBeforeItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAgent(&config.Config{Sync: []config.Sync{{Name: "historian"}}}, slog.New(slog.DiscardHandler))
		db, err := queue.Open(t.Context(), queue.Options{Path: filepath.Join(t.TempDir(), "agent.db"), Agent: "gw", Location: time.UTC,
			BootID: "boot-1", Destinations: []queue.Destination{{Name: "historian", Keep: time.Hour}}})
		if err != nil {
			t.Fatal(err)
		}
		a.db.Store(db)
		peer := &overloaded{}
		u := upsync.New(upsync.Options{Name: "historian", Destination: peer, Outbox: db, Book: db, Refusals: db, Source: "/gw", Receipt: "body"})
		a.ups.Store(&[]*upsync.Uploader{u})
		refuseOne(t, db)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- u.Run(ctx) }()
		for n, want := range []struct {
			events   int
			requests int32
		}{{1, 2}, {0, 2}} { // the first request is the agent's own
			time.Sleep(time.Minute)
			if got, err := (refusals{a}).Resend(t.Context(), "historian", "erika", "mended"); err != nil || got != want.events {
				t.Errorf("word %d: %d events, %v; want %d", n+1, got, err, want.events)
			}
			time.Sleep(time.Minute)
			if got := peer.requests.Load(); got != want.requests {
				t.Errorf("word %d: %d requests, want %d", n+1, got, want.requests)
			}
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
}

// refuseOne writes an event that the historian has refused.
func refuseOne(t *testing.T, db *queue.DB) {
	t.Helper()
	if err := db.AgentStarted(t.Context(), map[string]string{"version": "1"}); err != nil {
		t.Fatal(err)
	}
	all, err := db.Pending("historian", 1, 1<<20)
	if err != nil || len(all) != 1 {
		t.Fatalf("pending = %v, %v", all, err)
	}
	if err := db.Park(t.Context(), "historian", all[0], edgeagent.NewNote("refused_upstream", "422")); err != nil {
		t.Fatal(err)
	}
}
