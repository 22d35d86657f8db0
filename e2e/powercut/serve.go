package powercut

import (
	"slices"
	"strings"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// What the kernel asks of a [Disk]. Each answer is given under the lock, after
// its entry was written: the order of the recording is the order of the answers.

// Lookup finds a name.
func (d *Disk) Lookup(_ <-chan struct{}, _ *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	id, there := d.names[name]
	if !there {
		return fuse.ENOENT
	}
	return d.entry(id, out)
}

// GetAttr describes a file.
func (d *Disk) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.attr(in.NodeId, &out.Attr)
}

// SetAttr truncates; everything else is let pass.
func (d *Disk) SetAttr(_ <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	if size, ok := in.GetSize(); ok {
		d.do(Entry{Kind: Truncate, File: in.NodeId, Off: int64(size)})
	}
	return d.attr(in.NodeId, &out.Attr)
}

// Create makes a file and opens it.
func (d *Disk) Create(_ <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	id, there := d.names[name]
	if !there {
		id = d.next
		d.next++
		d.do(Entry{Kind: Create, File: id, Name: name})
	} else if in.Flags&syscall.O_EXCL != 0 {
		return fuse.Status(syscall.EEXIST)
	}
	d.open(id, in.Flags, &out.OpenOut)
	return d.entry(id, &out.EntryOut)
}

// Open opens a file.
func (d *Disk) Open(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open(in.NodeId, in.Flags, out)
	return fuse.OK
}

// open keeps pages in the cache, without which nothing can be mapped; promises
// come straight through.
func (d *Disk) open(id uint64, flags uint32, out *fuse.OpenOut) {
	out.OpenFlags = fuse.FOPEN_KEEP_CACHE
	if id == d.names[Acks] {
		out.OpenFlags = fuse.FOPEN_DIRECT_IO
		return
	}
	if flags&syscall.O_TRUNC != 0 && len(d.files[id]) > 0 {
		d.do(Entry{Kind: Truncate, File: id})
	}
}

// Read reads a file.
func (d *Disk) Read(_ <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	d.mu.Lock()
	defer d.mu.Unlock()
	content := d.files[in.NodeId]
	from := min(in.Offset, uint64(len(content)))
	n := copy(buf[:min(int(in.Size), len(buf))], content[from:])
	return fuse.ReadResultData(buf[:n]), fuse.OK
}

// Write writes a file, or makes a promise of each line.
func (d *Disk) Write(_ <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if in.NodeId == d.names[Acks] {
		for line := range strings.Lines(string(data)) {
			d.rec.Entries = append(d.rec.Entries, Entry{Kind: Ack, Name: strings.TrimSuffix(line, "\n")})
		}
		return uint32(len(data)), fuse.OK
	}
	d.do(Entry{Kind: Write, File: in.NodeId, Off: int64(in.Offset), Data: slices.Clone(data)})
	return uint32(len(data)), fuse.OK
}

// Fsync makes a file durable.
func (d *Disk) Fsync(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	if in.NodeId != d.names[Acks] {
		d.do(Entry{Kind: Sync, File: in.NodeId})
	}
	return fuse.OK
}

// FsyncDir makes names durable.
func (d *Disk) FsyncDir(_ <-chan struct{}, _ *fuse.FsyncIn) fuse.Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.do(Entry{Kind: SyncFolder})
	return fuse.OK
}

// Link gives a file one more name.
func (d *Disk) Link(_ <-chan struct{}, in *fuse.LinkIn, name string, out *fuse.EntryOut) fuse.Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, there := d.names[name]; there {
		return fuse.Status(syscall.EEXIST)
	}
	d.do(Entry{Kind: Link, File: in.Oldnodeid, Name: name})
	return d.entry(in.Oldnodeid, out)
}

// Rename gives a file another name; what had it before is gone.
func (d *Disk) Rename(_ <-chan struct{}, in *fuse.RenameIn, from, to string) fuse.Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	if in.Flags != 0 {
		return fuse.EINVAL
	}
	if _, there := d.names[from]; !there {
		return fuse.ENOENT
	}
	d.do(Entry{Kind: Rename, Name: from, To: to})
	return fuse.OK
}

// Unlink takes a name away.
func (d *Disk) Unlink(_ <-chan struct{}, _ *fuse.InHeader, name string) fuse.Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, there := d.names[name]; !there {
		return fuse.ENOENT
	}
	d.do(Entry{Kind: Unlink, Name: name})
	return fuse.OK
}

// OpenDir opens the folder.
func (d *Disk) OpenDir(<-chan struct{}, *fuse.OpenIn, *fuse.OpenOut) fuse.Status { return fuse.OK }

// ReadDir lists the folder.
func (d *Disk) ReadDir(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, name := range sorted(d.names) {
		if uint64(i) < in.Offset {
			continue
		}
		if !out.AddDirEntry(fuse.DirEntry{Mode: syscall.S_IFREG, Name: name, Ino: d.names[name], Off: uint64(i) + 1}) {
			break
		}
	}
	return fuse.OK
}

// Flush comes with every close.
func (d *Disk) Flush(<-chan struct{}, *fuse.FlushIn) fuse.Status { return fuse.OK }

// Access lets everybody in.
func (d *Disk) Access(<-chan struct{}, *fuse.AccessIn) fuse.Status { return fuse.OK }

// StatFs shows a disk with room.
func (d *Disk) StatFs(_ <-chan struct{}, _ *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	out.Bsize, out.Frsize, out.NameLen = blockSize, blockSize, 255
	out.Blocks, out.Bfree, out.Bavail = 1<<20, 1<<20, 1<<20
	out.Files, out.Ffree = 1<<16, 1<<16
	return fuse.OK
}
