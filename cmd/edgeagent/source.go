package main

import (
	"errors"
	"slices"
	"syscall"
	"time"

	"edgeagent"
	"edgeagent/config"
	"edgeagent/llm"
	"edgeagent/queue"
	"edgeagent/status"
)

// source is what the pages read; see [status.Source].
type source struct{ *agent }

var errChecking = errors.New("the data file is being checked")

// Status collects everything but the headline. Before the data file is open
// most of it is empty and the storage says why.
func (s source) Status() edgeagent.Status {
	cfg := s.cfg.Load()
	st := edgeagent.Status{
		Agent: edgeagent.AgentInfo{
			ID: cfg.Agent.ID, Site: cfg.Agent.Site, Version: version, UptimeS: time.Since(s.started).Seconds(),
			ConfigHash: cfg.Hash(), ConfigError: s.configError(), ClockSynced: clockSynced(),
		},
		Devices: s.devices(), Providers: s.providers(), Upstreams: s.upstreams(),
		Storage: edgeagent.StorageStatus{State: edgeagent.StorageChecking, MaxBytes: cfg.Queue.MaxSize},
	}
	if s.conns.Load() != nil { // the file and the loop are there: they are stored before
		st.Agent.SamplesMerged = s.loop.Load().inbox.Merged()
		db := s.db.Load()
		st.Agent.Epoch, st.Alarms, st.Jobs, st.Spend, st.Storage = db.Epoch(), db.AlarmCounts(), db.JobCounts(), db.Spend(), db.Storage()
		waiting, fault := s.rec.Waiting()
		st.Storage.Waiting = waiting
		if st.Storage.Error == "" || st.Storage.State == edgeagent.StorageSalvaged {
			st.Storage.Trouble(fault)
		}
	}
	return st
}

func (s source) configError() string {
	refused := s.refused.Load()
	if refused == nil {
		return ""
	}
	return (*refused).Error()
}

func (s source) devices() []edgeagent.DeviceStatus {
	all := []edgeagent.DeviceStatus{}
	conns := s.conns.Load()
	if conns == nil {
		return all
	}
	for _, c := range *conns {
		for _, d := range c.Status() {
			if d.State == edgeagent.DevicePolling && !s.table.Heard(d.Name) {
				d.State = edgeagent.DeviceConnecting // it answered, and its values are still on their way to the table
			}
			d.Tags = s.table.Counts(d.Name)
			all = append(all, d)
		}
	}
	order := map[string]int{}
	for i, d := range s.cfg.Load().Devices {
		order[d.Name] = i
	}
	slices.SortStableFunc(all, func(a, b edgeagent.DeviceStatus) int { return order[a.Name] - order[b.Name] })
	return all
}

func (s source) providers() []edgeagent.ProviderStatus {
	r := s.router.Load()
	if r == nil {
		return []edgeagent.ProviderStatus{}
	}
	all := r.Status()
	for i := range all {
		if all[i].Kind == config.KindRunbook {
			all[i].Error = s.bookOf.String()
		}
	}
	return all
}

func (s source) upstreams() []edgeagent.UpstreamStatus {
	all := []edgeagent.UpstreamStatus{}
	if ups := s.ups.Load(); ups != nil {
		for _, u := range *ups {
			all = append(all, u.Status())
		}
	}
	return all
}

// Readings returns the tags of a device, or of all.
func (s source) Readings(device string) []edgeagent.Reading {
	if s.conns.Load() == nil {
		return nil
	}
	return s.table.Readings(device)
}

// Trend returns what is remembered of a tag.
func (s source) Trend(device, tag string, since time.Time) []status.Point {
	if s.conns.Load() == nil {
		return nil
	}
	points := s.table.History(device, tag, since)
	out := make([]status.Point, len(points))
	for i, p := range points {
		out[i] = status.Point{At: p.At, Min: p.Min, Max: p.Max, Last: p.Last}
	}
	return out
}

// Alarm returns one alarm as it was committed.
func (s source) Alarm(id edgeagent.ID) (edgeagent.Alarm, error) {
	return reading(s, func(db *queue.DB) (edgeagent.Alarm, error) { return db.Alarm(id) })
}

// Evidence returns what was frozen when the alarm rose.
func (s source) Evidence(id edgeagent.ID) (*edgeagent.Evidence, error) {
	return reading(s, func(db *queue.DB) (*edgeagent.Evidence, error) { return db.Evidence(id) })
}

// Job returns one job.
func (s source) Job(id edgeagent.ID) (edgeagent.Job, error) {
	return reading(s, func(db *queue.DB) (edgeagent.Job, error) { return db.Job(id) })
}

// Exchanges returns what was sent for a job and what came back.
func (s source) Exchanges(id edgeagent.ID) ([]edgeagent.Exchange, error) {
	return reading(s, func(db *queue.DB) ([]edgeagent.Exchange, error) { return db.Exchanges(id) })
}

// Faulty returns the answers to a job that were of no use.
func (s source) Faulty(id edgeagent.ID) ([]edgeagent.FaultyAnswer, error) {
	return reading(s, func(db *queue.DB) ([]edgeagent.FaultyAnswer, error) { return faultyAnswers(db, s.router.Load(), id) })
}

// asked is what is kept of what was asked for a job.
type asked interface {
	Exchanges(id edgeagent.ID) ([]edgeagent.Exchange, error)
	Case(id edgeagent.ID) (edgeagent.Case, error)
}

// faultyAnswers returns the answers to a job that were of no use. What may be
// shown of them depends on their case: without it, nothing.
func faultyAnswers(kept asked, r *llm.Router, id edgeagent.ID) ([]edgeagent.FaultyAnswer, error) {
	exchanges, err := kept.Exchanges(id)
	var all []edgeagent.FaultyAnswer
	for _, e := range exchanges {
		all = append(all, e.Faulty...)
	}
	if err != nil || len(all) == 0 {
		return nil, err
	}
	c, err := kept.Case(id)
	for i := range all {
		if err != nil || r == nil {
			all[i].Raw = ""
		} else {
			all[i].Raw = r.Quote(c, all[i].Raw)
		}
	}
	if errors.Is(err, edgeagent.ErrNotFound) {
		err = nil // cases go before their answers when the file fills up
	}
	return all, err
}

// Accuracy returns how every provider and model was judged.
func (s source) Accuracy() ([]edgeagent.Accuracy, error) {
	return reading(s, func(db *queue.DB) ([]edgeagent.Accuracy, error) { return db.Accuracy(), nil })
}

// Memory returns what people said of one alarm.
func (s source) Memory(device, line, code string) (edgeagent.Memory, error) {
	return reading(s, func(db *queue.DB) (edgeagent.Memory, error) { return db.Memory(device, line, code) })
}

// Memories returns what people said of the alarms that were judged most.
func (s source) Memories(limit int) ([]edgeagent.Memory, error) {
	return reading(s, func(db *queue.DB) ([]edgeagent.Memory, error) { return db.Memories(limit) })
}

// Alarms returns a page of alarms.
func (s source) Alarms(state string, limit int, after edgeagent.ID) ([]edgeagent.Alarm, edgeagent.ID, error) {
	db := s.db.Load()
	if db == nil {
		return nil, "", errChecking
	}
	return db.Alarms(queue.AlarmFilter{State: state, Limit: limit, After: after})
}

// Jobs returns a page of jobs.
func (s source) Jobs(state string, limit int, after edgeagent.ID) ([]edgeagent.Job, edgeagent.ID, error) {
	db := s.db.Load()
	if db == nil {
		return nil, "", errChecking
	}
	return db.Jobs(queue.JobFilter{State: edgeagent.JobState(state), Limit: limit, After: after})
}

func reading[T any](s source, read func(*queue.DB) (T, error)) (T, error) {
	db := s.db.Load()
	if db == nil {
		var zero T
		return zero, errChecking
	}
	return read(db)
}

// healthy says whether the process and its data file work.
func (a *agent) healthy() error {
	db := a.db.Load()
	if db == nil {
		return nil // being checked: the process works
	}
	select {
	case <-db.Failed():
		return errors.New(db.Storage().Error)
	default:
		return db.Stalled()
	}
}

// ready says whether the queue is open, every part runs and every device has been
// tried once.
func (a *agent) ready() error {
	if a.db.Load() == nil || a.conns.Load() == nil || a.ups.Load() == nil { // the upstream side starts last
		return errChecking
	}
	for _, d := range (source{a}).devices() {
		if d.State == edgeagent.DeviceConnecting {
			return errors.New("device " + d.Name + " has not been tried yet")
		}
	}
	return nil
}

// progressing says whether the agent still does its work: the loop turns and
// the data file is trusted.
func (a *agent) progressing() bool {
	beat := time.Unix(0, a.loop.Load().beat.Load())
	if errors.Is(a.healthy(), queue.ErrStalled) {
		return time.Since(beat) < 30*time.Second // a new process would wait for the same disk; this one says so
	}
	return time.Since(beat) < 30*time.Second && a.healthy() == nil
}

// clockSynced asks the kernel whether somebody keeps the clock right.
func clockSynced() bool {
	const unsynchronised = 0x40 // STA_UNSYNC
	var t syscall.Timex
	_, err := syscall.Adjtimex(&t)
	return err == nil && t.Status&unsynchronised == 0
}
