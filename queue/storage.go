package queue

import (
	"os"
	"syscall"

	"edgeagent"
)

// Storage says how the file is doing; sizes in bytes.
func (db *DB) Storage() edgeagent.StorageStatus {
	o := db.options.Load()
	s := edgeagent.StorageStatus{MaxBytes: o.MaxSize, State: edgeagent.StorageOK, Commits: db.commits.Load()}
	s.FileBytes, s.FreeBytes = db.sizes()
	s.DiskFreeBytes, s.ReserveBytes, s.JobsRefused = diskFree(db.path), db.reserve.size.Load(), db.refused.Load()
	if s.Error = db.salvaged; s.Error != "" && !db.newer { // a newer file set aside is a fault, until a person decides
		s.State = edgeagent.StorageSalvaged
	}
	pressure := db.pressure(o.MaxSize)
	s.Refusing = pressure.said()
	if db.full.Load() || pressure >= pressureFull {
		s.State, s.Error = edgeagent.StorageFull, "what comes waits in memory until there is space; free the disk, raise max_size, or see what an upstream has not confirmed"
	}
	s.Trouble(db.Stalled())
	s.Trouble(db.failure())
	return s
}

// pressure returns how full the file is as of the last commit.
func (db *DB) pressure(quota int64) pressure {
	c := db.JobCounts()
	room := db.roomOf(quota)
	room.used += db.unsettled.Load()
	room.reserved = int64(c.Pending+c.Running) * jobReserve
	return room.pressure()
}

// diskFree returns what the disk under path has left for us, in bytes.
func diskFree(path string) int64 {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(path, &fs); err != nil {
		return 0
	}
	return int64(fs.Bavail) * int64(fs.Bsize)
}

// allocated returns the bytes that the file has on the disk: of what it has
// already it needs no more.
func allocated(path string) int64 {
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		return 0
	}
	return st.Blocks * 512
}

// sizes returns the size of the file, and of its pages that hold nothing. The
// file grows in steps, and what lies behind the last page is free too.
func (db *DB) sizes() (file, free int64) {
	info, err := os.Stat(db.path)
	if err != nil {
		return 0, 0
	}
	db.swapping.RLock()
	stats := db.bolt.Stats()
	db.swapping.RUnlock()
	free = int64(stats.FreePageN+stats.PendingPageN) * db.page.Load()
	return info.Size(), free + info.Size() - db.used.Load()
}
