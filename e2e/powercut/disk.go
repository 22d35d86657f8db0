package powercut

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

const (
	folder    = fuse.FUSE_ROOT_ID
	firstFile = folder + 1
	blockSize = 4096
)

// Acks is the name of a file on every [Disk] that holds no bytes: each write to
// it is a promise, and stands among the other entries where it was made.
const Acks = "acks"

// Disk is a file system in memory, one folder of files, that records what is
// done to it.
type Disk struct {
	fuse.RawFileSystem

	mu    sync.Mutex
	rec   Recording
	names map[string]uint64
	files map[uint64][]byte
	next  uint64
}

// NewDisk returns a disk that holds the files of base; their bytes are durable
// and become the disk's.
func NewDisk(base map[string][]byte) *Disk {
	d := &Disk{
		RawFileSystem: fuse.NewDefaultRawFileSystem(), next: firstFile,
		names: make(map[string]uint64), files: make(map[uint64][]byte), rec: Recording{Base: make(map[string][]byte)},
	}
	for _, name := range sorted(base) {
		d.rec.Base[name] = slices.Clone(base[name])
		d.names[name], d.files[d.next] = d.next, base[name]
		d.next++
	}
	d.names[Acks], d.files[d.next] = d.next, nil
	d.next++
	return d
}

// Mount makes the disk a folder. The process that mounts it must not use it: a
// page fault of its own could wait for itself. Unmount ends it.
func (d *Disk) Mount(dir string) (unmount func() error, err error) {
	server, err := fuse.NewServer(d, dir, &fuse.MountOptions{
		DirectMountStrict: true, Name: "powercut", FsName: "powercut", DisableXAttrs: true,
		DisableReadDirPlus: true, ExplicitDataCacheControl: true, MaxWrite: 1 << 20,
	})
	if err != nil {
		return nil, fmt.Errorf("mount the recording disk at %s: %w", dir, err)
	}
	go server.Serve()
	if err := server.WaitMount(); err != nil {
		return nil, fmt.Errorf("mount the recording disk at %s: %w", dir, err)
	}
	return server.Unmount, nil
}

// Promise records an acknowledgement that was heard of elsewhere.
func (d *Disk) Promise(text string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rec.Entries = append(d.rec.Entries, Entry{Kind: Ack, Name: text})
}

// Recording returns what has happened so far.
func (d *Disk) Recording() Recording {
	d.mu.Lock()
	defer d.mu.Unlock()
	return Recording{Base: d.rec.Base, Entries: slices.Clone(d.rec.Entries)}
}

// do records an entry and carries it out.
func (d *Disk) do(e Entry) {
	d.rec.Entries = append(d.rec.Entries, e)
	switch e.Kind {
	case Write, Truncate:
		d.files[e.File] = e.apply(d.files[e.File])
	case Create, Link, Rename, Unlink:
		d.names = rename(d.names, []Entry{e})
		if e.Kind == Create {
			d.files[e.File] = nil
		}
	}
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// attr describes a file. Times stand still, or the kernel would drop the pages
// that others have mapped.
func (d *Disk) attr(id uint64, out *fuse.Attr) fuse.Status {
	out.Ino, out.Nlink, out.Blksize, out.Mode = id, 1, blockSize, syscall.S_IFDIR|0o755
	if id == folder {
		return fuse.OK
	}
	content, there := d.files[id]
	if !there {
		return fuse.ENOENT
	}
	out.Mode, out.Size = syscall.S_IFREG|0o644, uint64(len(content))
	out.Blocks = (out.Size + 511) / 512
	return fuse.OK
}

func (d *Disk) entry(id uint64, out *fuse.EntryOut) fuse.Status {
	out.NodeId, out.Generation = id, 1
	out.SetEntryTimeout(time.Hour) // nobody changes names behind the kernel's back
	return d.attr(id, &out.Attr)
}
