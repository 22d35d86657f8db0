package main

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"edgeagent/alarm"
	"edgeagent/config"
	"edgeagent/status"
)

// reload reads the file again. A refused file changes nothing. Only the wings
// whose part of the configuration changed are restarted; tags keep their
// history and alarms their state.
func (a *agent) reload(ctx context.Context) ([]string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.path == "" {
		return nil, fmt.Errorf("%w: a demo does not read its configuration again; start it anew", status.ErrInvalid)
	}
	if a.ended {
		return nil, errEnding
	}
	old := a.cfg.Load()
	cfg, err := a.candidate(old)
	if err != nil {
		a.refuse(err)
		return nil, fmt.Errorf("%w: %w", status.ErrInvalid, err)
	}
	err = a.db.Load().Stalled() // to keep the file would hang there, and the end of the agent behind it
	if err == nil {
		err = config.Accept(cfg)
	}
	if err == nil {
		err = a.apply(ctx, old, cfg)
	}
	if err != nil {
		if cfg.Hash() != old.Hash() { // a signal has no answer, and the file is not what runs
			a.refuse(err)
		}
		return nil, err
	}
	a.refused.Store(nil)
	a.page.Changed(status.KindAgent, "")
	changed := cfg.Diff(old)
	settleMemory()
	return changed, nil
}

var errEnding = errors.New("the agent is ending; try again when it runs again")

// candidate reads the file and judges whether it can take old's place.
func (a *agent) candidate(old *config.Config) (*config.Config, error) {
	cfg, err := config.Load(a.path, checks())
	if err != nil {
		return nil, err
	}
	if fixed := needsRestart(old, cfg); len(fixed) > 0 {
		return nil, fmt.Errorf("%s cannot change while the agent runs; restart it", strings.Join(fixed, ", "))
	}
	return cfg, nil
}

func (a *agent) refuse(err error) {
	a.refused.Store(&err)
	a.page.Changed(status.KindAgent, "")
}

// needsRestart names what is bound to open files and listeners.
func needsRestart(old, cfg *config.Config) []string {
	var names []string
	for _, key := range []struct {
		name   string
		differ bool
	}{
		{"[agent] id", old.Agent.ID != cfg.Agent.ID},
		{"[agent] site", old.Agent.Site != cfg.Agent.Site},
		{"[agent] data_dir", old.Agent.DataDir != cfg.Agent.DataDir},
		{"[agent] socket", old.Agent.Socket != cfg.Agent.Socket},
		{"[agent] timezone", old.Agent.Timezone.String() != cfg.Agent.Timezone.String()},
		{"[log]", old.Log != cfg.Log},
		{"[status]", !reflect.DeepEqual(old.Status, cfg.Status)},
		{"[queue] max_size", old.Queue.MaxSize != cfg.Queue.MaxSize},
	} {
		if key.differ {
			names = append(names, key.name)
		}
	}
	return names
}

// apply restarts what changed. When it fails, everything still runs on old, so
// that the same file can be tried again.
func (a *agent) apply(ctx context.Context, old, cfg *config.Config) error {
	var engine *alarm.Engine // of the new plant; nil when it is the old one
	if plantChanged(old, cfg) {
		var err error
		if engine, err = a.haltPlant(ctx, old, cfg); err != nil {
			return err
		}
	}
	a.cfg.Store(cfg)
	a.db.Load().Configure(queueOptions(cfg))
	newBook := a.loadRunbook(cfg)
	if engine != nil {
		a.changePlant(ctx, cfg, engine)
	}
	if newBook || diagnosisChanged(old, cfg) {
		a.diagnose.stop()
		a.startDiagnosis(ctx, cfg)
	} else {
		a.router.Load().Pardon()
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

func diagnosisChanged(old, cfg *config.Config) bool {
	return !reflect.DeepEqual(old.LLM, cfg.LLM) || old.Queue != cfg.Queue || old.Agent.ShutdownGrace != cfg.Agent.ShutdownGrace
}

// haltPlant stops the plant once an engine for the new one is sure, and
// returns that. Everything the old engine said is committed then. What people do
// to devices waits until changePlant.
func (a *agent) haltPlant(ctx context.Context, old, cfg *config.Config) (*alarm.Engine, error) {
	all, lines := plainTags(cfg)
	engine, err := newEngine(cfg, all, lines)
	if err != nil {
		return nil, err
	}
	if _, fault := a.rec.Waiting(); fault != nil {
		if err := a.drained(ctx); err != nil {
			return nil, err // before every device is left, and what could not be saved of it forgotten
		}
	}
	a.exchange.Lock()
	a.plant.stop()
	if err := a.drained(ctx); err != nil {
		a.startPlant(ctx, old)
		a.exchange.Unlock()
		return nil, err
	}
	return engine, nil
}

// changePlant goes on with the alarms that are open and the tags that stayed.
func (a *agent) changePlant(ctx context.Context, cfg *config.Config, engine *alarm.Engine) {
	a.table.Configure(plainTags(cfg))
	a.rec.Put(engine.Restore(a.db.Load().OpenAlarms()), nil)
	a.loop.Store(newLoop(a.table, engine, a.rec, a.calls, a.scanned))
	a.startPlant(ctx, cfg)
	a.exchange.Unlock()
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
