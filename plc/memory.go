package plc

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"edgeagent"
	"edgeagent/internal/retry"
)

// Memory keeps what a device must not forget over a restart.
type Memory interface {
	// LoadDevice returns what was saved last; it answers from memory.
	LoadDevice(name string) (edgeagent.DeviceMemory, bool)
	// SaveDevice may wait for the disk, until ctx ends.
	SaveDevice(ctx context.Context, m edgeagent.DeviceMemory) error
}

const (
	saveTimeout = 5 * time.Second
	saveAgain   = 5 * time.Second // after a save that failed
)

// saver writes memories from a goroutine of its own, so that a stalled disk
// never delays a scan. Of each device it writes the latest only.
type saver struct {
	memory  Memory
	log     *slog.Logger
	failing bool // run's: the last save failed, and that was said

	mu      sync.Mutex
	unsaved map[string]edgeagent.DeviceMemory
	wake    chan struct{}
}

func newSaver(m Memory, log *slog.Logger) *saver {
	return &saver{memory: m, log: log, unsaved: make(map[string]edgeagent.DeviceMemory), wake: make(chan struct{}, 1)}
}

func (s *saver) put(m edgeagent.DeviceMemory) {
	s.mu.Lock()
	s.unsaved[m.Device] = m
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// run writes until ctx ends, and then once more what is unsaved.
func (s *saver) run(ctx context.Context) {
	for ctx.Err() == nil {
		if !s.flush(ctx) {
			_ = retry.Sleep(ctx, saveAgain) // ends early with ctx, which the loop sees
			continue
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
		}
	}
	s.flush(ctx)
}

// flush writes what is unsaved and reports whether all of it was. A save
// outlives ctx for a while: what a device went through just before the end is
// just what the next start has to know.
func (s *saver) flush(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
	defer cancel()
	for {
		m, some := s.take()
		if !some {
			return true
		}
		if err := s.memory.SaveDevice(ctx, m); err != nil {
			s.say(true, "device", m.Device, "error", err)
			s.putBack(m)
			return false
		}
		s.say(false)
	}
}

// say logs where failing begins and where it ends: a disk can be full for days.
func (s *saver) say(failing bool, about ...any) {
	switch was := s.failing; {
	case failing && !was:
		s.log.Error("device state not saved: a restart now would forget it; trying on", about...)
	case was && !failing:
		s.log.Info("device states are saved again")
	}
	s.failing = failing
}

func (s *saver) take() (edgeagent.DeviceMemory, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, m := range s.unsaved {
		delete(s.unsaved, name)
		return m, true
	}
	return edgeagent.DeviceMemory{}, false
}

// putBack keeps m for another try unless a newer one came meanwhile.
func (s *saver) putBack(m edgeagent.DeviceMemory) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, newer := s.unsaved[m.Device]; !newer {
		s.unsaved[m.Device] = m
	}
}
