package qemu

import (
	"errors"
	"fmt"
	"slices"
	"sync"
)

// Disk is a drive with a volatile write cache.
type Disk struct {
	// Lie makes a drive that says "flushed" and has not: asked at each flush.
	// What it withheld becomes durable with the next flush that is honoured.
	Lie func() bool

	mu       sync.Mutex
	durable  []byte
	cached   []byte // what a read returns
	pending  []Write
	flushes  int
	withheld bool
	counted  Kind
	left     int           // requests until the power fails; negative: it does not
	failed   chan struct{} // closed when it has
	over     chan struct{} // closed when the disk is not used any more
}

// errNoPower is what a request gets at a disk whose power is cut.
var errNoPower = errors.New("the power of the disk is cut")

// Write is a write in the cache of a drive.
type Write struct {
	Off  int64
	Data []byte
}

// NewDisk returns a disk that holds image, whose bytes become the disk's.
func NewDisk(image []byte) *Disk {
	return &Disk{durable: image, cached: slices.Clone(image), left: -1, failed: make(chan struct{}), over: make(chan struct{})}
}

// FailAfter cuts the disk's power after n more requests of a kind, n from 0: the
// next one is not carried out, and no request is answered any more. The channel
// is closed when that has happened.
func (d *Disk) FailAfter(n int, kind Kind) (failed <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left, d.counted = n, kind
	return d.failed
}

// Kind is a kind of request.
type Kind string

// The kinds of requests at which the power can fail.
const (
	AnyRequest Kind = "request" // a write or a flush
	AnyFlush   Kind = "flush"   // most is at stake: all that was written since the last one
)

// spend takes one request from those that are left. Once there is none, it does
// not return before the disk is given up: nobody is told anything.
func (d *Disk) spend(kind Kind) error {
	if d.counted == AnyFlush && kind != AnyFlush {
		return nil
	}
	if d.left > 0 {
		d.left--
	} else if d.left == 0 {
		d.left = -1
		close(d.failed)
		d.mu.Unlock()
		<-d.over
		d.mu.Lock()
		return errNoPower
	}
	return nil
}

// Size returns the bytes of the disk.
func (d *Disk) Size() int64 { return int64(len(d.durable)) }

// Read fills p from off; it errs outside of the disk.
func (d *Disk) Read(p []byte, off int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.within(len(p), off); err != nil {
		return err
	}
	copy(p, d.cached[off:])
	return nil
}

// Write takes data into the cache and keeps it; it errs outside of the disk.
func (d *Disk) Write(data []byte, off int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := errors.Join(d.within(len(data), off), d.spend(AnyRequest)); err != nil {
		return err
	}
	copy(d.cached[off:], data)
	d.pending = append(d.pending, Write{off, data})
	return nil
}

// WriteThrough makes data durable (FUA) and nothing else.
func (d *Disk) WriteThrough(data []byte, off int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := errors.Join(d.within(len(data), off), d.spend(AnyRequest)); err != nil {
		return err
	}
	copy(d.cached[off:], data)
	copy(d.durable[off:], data)
	for _, w := range d.pending { // an older write must not come back over it
		from, to := max(w.Off, off), min(w.Off+int64(len(w.Data)), off+int64(len(data)))
		if from < to {
			copy(w.Data[from-w.Off:to-w.Off], data[from-off:])
		}
	}
	return nil
}

// Flush makes every write durable that was acknowledged, unless the disk lies.
func (d *Disk) Flush() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.spend(AnyFlush); err != nil {
		return err
	}
	d.flushes++
	if d.withheld = d.Lie != nil && d.Lie(); d.withheld {
		return nil
	}
	for _, w := range d.pending {
		copy(d.durable[w.Off:], w.Data)
	}
	d.pending = nil
	return nil
}

// Flushes returns how often the disk was flushed, and whether the last time was
// a lie.
func (d *Disk) Flushes() (n int, withheld bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.flushes, d.withheld
}

// release lets go of a request that a disk without power has not answered.
func (d *Disk) release() { close(d.over) }

// Left returns what a power cut leaves: the durable bytes, and the writes of
// which nobody knows. The disk must not be used any more.
func (d *Disk) Left() (durable []byte, pending []Write) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.durable, d.pending
}

func (d *Disk) within(n int, off int64) error {
	if off < 0 || off > int64(len(d.cached))-int64(n) {
		return fmt.Errorf("%d bytes at %d of a disk of %d", n, off, len(d.cached))
	}
	return nil
}
