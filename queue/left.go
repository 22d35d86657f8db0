package queue

import (
	"errors"
	"os"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"edgeagent"
)

// What a running agent answers from memory a reader loads as a start does, and
// then leaves as it is: no job is taken back, no epoch begun.

// recall fills memory from a file that is only read. A shelving whose time has
// passed hides nothing, though nobody was there to end it.
func (db *DB) recall(tx *bbolt.Tx) error {
	if err := current(tx); err != nil {
		return err
	}
	if err := db.load(tx); err != nil {
		return err
	}
	now := time.Now()
	for _, a := range db.work.alarms { // our own, nobody else has them yet
		if a.State.Open() && a.ShelvedUntil != nil && !now.Before(*a.ShelvedUntil) {
			a.ShelvedUntil, a.ShelveReason = nil, ""
		}
	}
	db.publish(&batch{now: now})
	return nil
}

// Alarms returns a page of alarms, as [DB.Alarms] does.
func (r *Reader) Alarms(f AlarmFilter) ([]edgeagent.Alarm, edgeagent.ID, error) {
	return r.db.Alarms(f)
}

// OpenAlarms returns every open alarm of the file, newest first.
func (r *Reader) OpenAlarms() []edgeagent.Alarm {
	return slices.DeleteFunc(r.db.OpenAlarms(), func(a edgeagent.Alarm) bool { return !a.State.Open() })
}

// AlarmCounts counts the alarms, as [DB.AlarmCounts] does.
func (r *Reader) AlarmCounts() edgeagent.AlarmCounts { return r.db.AlarmCounts() }

// LastTime returns the activation before, as [DB.LastTime] does.
func (r *Reader) LastTime(device, line, code string, before edgeagent.ID) *edgeagent.Occurrence {
	return r.db.LastTime(device, line, code, before)
}

// JobCounts counts the jobs, as [DB.JobCounts] does. Those that were running when
// the agent ended are still counted as such.
func (r *Reader) JobCounts() edgeagent.JobCounts { return r.db.JobCounts() }

// Exchanges returns what was sent for a job, as [DB.Exchanges] does.
func (r *Reader) Exchanges(job edgeagent.ID) ([]edgeagent.Exchange, error) {
	return r.db.Exchanges(job)
}

// Accuracy returns how answers were judged, as [DB.Accuracy] does.
func (r *Reader) Accuracy() []edgeagent.Accuracy { return r.db.Accuracy() }

// Memory returns what was said of one alarm, as [DB.Memory] does.
func (r *Reader) Memory(device, line, code string) (edgeagent.Memory, error) {
	return r.db.Memory(device, line, code)
}

// LoadDevice returns what was saved last for a device, as [DB.LoadDevice] does.
func (r *Reader) LoadDevice(name string) (edgeagent.DeviceMemory, bool) {
	return r.db.LoadDevice(name)
}

// Parked returns what a destination has refused, as [DB.Parked] does.
func (r *Reader) Parked(dest string, limit int) ([]edgeagent.ParkedEvent, error) {
	return r.db.Parked(dest, limit)
}

// Backlog returns what a destination has not confirmed yet, as [DB.Backlog] does.
func (r *Reader) Backlog(dest string) edgeagent.Backlog { return r.db.Backlog(dest) }

// Epoch names the life of the file.
func (r *Reader) Epoch() edgeagent.ID { return r.db.Epoch() }

// Storage returns what of the file's state can be told without writing it: its
// size and what the disk has left, in bytes, and in Error what a salvage has lost
// that nobody was told of yet. The rest is zero.
func (r *Reader) Storage() edgeagent.StorageStatus {
	s := edgeagent.StorageStatus{DiskFreeBytes: diskFree(r.db.path), Error: r.db.salvaged}
	if info, err := os.Stat(r.db.path); err == nil {
		s.FileBytes = info.Size()
	}
	if s.Error != "" {
		s.State = edgeagent.StorageSalvaged
	}
	return s
}

// WrittenAt returns when somebody wrote the file or its journal last, by the
// clock of then.
func (r *Reader) WrittenAt() (time.Time, error) {
	info, err := os.Stat(r.db.path)
	if err != nil {
		return time.Time{}, err
	}
	at := info.ModTime()
	switch info, err = os.Stat(r.db.path + journalSuffix); {
	case errors.Is(err, os.ErrNotExist): // a copy has none
	case err != nil:
		return time.Time{}, err
	case info.ModTime().After(at):
		at = info.ModTime()
	}
	return at, nil
}
