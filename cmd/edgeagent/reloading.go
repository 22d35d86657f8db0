package main

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"edgeagent/config"
	"edgeagent/status"
)

// reload reads the file again. A refused file changes nothing. Only the wings
// whose part of the configuration changed are restarted; tags keep their
// history and alarms their state.
func (a *agent) reload(ctx context.Context) ([]string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	old := a.cfg.Load()
	cfg, err := config.Load(a.path, checks())
	if err != nil {
		a.refuse(err)
		return nil, fmt.Errorf("%w: %w", status.ErrInvalid, err)
	}
	if fixed := needsRestart(old, cfg); len(fixed) > 0 {
		err := fmt.Errorf("%v cannot change while the agent runs; restart it", fixed)
		a.refuse(err)
		return nil, fmt.Errorf("%w: %w", status.ErrInvalid, err)
	}
	if err := config.Accept(cfg); err != nil {
		return nil, fmt.Errorf("keep the configuration: %w", err)
	}
	a.refused.Store(nil)
	changes := cfg.Diff(old)
	if err := a.apply(ctx, old, cfg); err != nil {
		return nil, err
	}
	a.page.Changed(status.KindAgent, "")
	return changes, nil
}

func (a *agent) refuse(err error) {
	a.refused.Store(&err)
	a.page.Changed(status.KindAgent, "")
}

// needsRestart names what is bound to open files and listeners.
func needsRestart(old, cfg *config.Config) []string {
	var names []string
	for name, differ := range map[string]bool{
		"[agent] id":       old.Agent.ID != cfg.Agent.ID,
		"[agent] site":     old.Agent.Site != cfg.Agent.Site,
		"[agent] data_dir": old.Agent.DataDir != cfg.Agent.DataDir,
		"[agent] socket":   old.Agent.Socket != cfg.Agent.Socket,
		"[agent] timezone": old.Agent.Timezone.String() != cfg.Agent.Timezone.String(),
		"[status]":         !reflect.DeepEqual(old.Status, cfg.Status),
		"[log]":            old.Log != cfg.Log,
		"[queue] max_size": old.Queue.MaxSize != cfg.Queue.MaxSize,
	} {
		if differ {
			names = append(names, name)
		}
	}
	return names
}

func (a *agent) apply(ctx context.Context, old, cfg *config.Config) error {
	a.cfg.Store(cfg)
	a.db.Load().Configure(queueOptions(cfg))
	newBook := a.loadRunbook(cfg)
	if plantChanged(old, cfg) {
		if err := a.restartPlant(ctx, cfg); err != nil {
			return err
		}
	}
	if newBook || !reflect.DeepEqual(old.LLM, cfg.LLM) || old.Queue != cfg.Queue {
		a.diagnose.stop()
		a.startDiagnosis(ctx, cfg)
	}
	if !reflect.DeepEqual(old.Sync, cfg.Sync) {
		a.upstream.stop()
		a.startUpstream(ctx, cfg)
	}
	return nil
}

func plantChanged(old, cfg *config.Config) bool {
	return !reflect.DeepEqual(old.Devices, cfg.Devices) || !reflect.DeepEqual(old.Lines, cfg.Lines) || old.Alarms != cfg.Alarms
}

// restartPlant builds the engine anew from the alarms that are open, after
// everything the old one said has been committed.
func (a *agent) restartPlant(ctx context.Context, cfg *config.Config) error {
	a.plant.stop()
	if err := a.drained(ctx); err != nil {
		a.startPlant(ctx, cfg)
		return err
	}
	all, lines := plainTags(cfg)
	engine, err := newEngine(cfg, all, lines)
	if err != nil {
		return err
	}
	a.table.Configure(all, lines)
	a.rec.Put(engine.Restore(a.db.Load().OpenAlarms()), nil)
	a.loop.Store(newLoop(a.table, engine, a.rec, a.log, a.scanned))
	a.startPlant(ctx, cfg)
	return nil
}

// drained waits until the recorder has committed everything.
func (a *agent) drained(ctx context.Context) error {
	deadline := time.NewTimer(flushTime)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		waiting, fault := a.rec.Waiting()
		if waiting == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			return errors.Join(errors.New("alarms wait for the data file; reload again when it can be written"), fault)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
