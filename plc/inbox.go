package plc

import (
	"context"
	"slices"
	"sync"

	"edgeagent"
)

// maxLayers bounds the scans of one device that wait apart from each other. A
// notification of an OPC UA server tells ten changes of a bit, and they are put
// faster than any reader takes them: none of them may be merged away.
const maxLayers = 12

// Inbox stands between drivers, which never wait, and the one reader of scans,
// which may be late. Of a device whose scan was not taken yet, the last sample
// of each measurement wins; its events and conditions are kept, all of them and
// in order. A bit, word or code that changed stays apart, so that a pulse that
// was told is seen, and so does what takes away the worth of a value that was
// just read. A stalled reader costs a few scans of memory a device,
// however long it stalls.
type Inbox struct {
	mu      sync.Mutex
	waiting map[string][]*waitingScan // oldest first, never empty
	order   []string                  // devices by the arrival of their oldest sample
	merged  uint64
	wake    chan struct{}
}

type waitingScan struct {
	scan edgeagent.Scan
	at   map[string]int // index of a tag's sample; nil until a second scan comes
}

// NewInbox returns an empty inbox.
func NewInbox() *Inbox {
	return &Inbox{waiting: make(map[string][]*waitingScan), wake: make(chan struct{}, 1)}
}

// Put adds a scan and never blocks. The inbox owns its slices from then on.
func (in *Inbox) Put(s edgeagent.Scan) {
	in.mu.Lock()
	switch layers := in.waiting[s.Device]; {
	case len(layers) == 0:
		in.waiting[s.Device] = []*waitingScan{{scan: s}}
		in.order = append(in.order, s.Device)
	case len(layers) < maxLayers && layers[len(layers)-1].apart(s):
		in.waiting[s.Device] = append(layers, &waitingScan{scan: s})
	default:
		in.merged += layers[len(layers)-1].merge(s)
	}
	in.mu.Unlock()
	select {
	case in.wake <- struct{}{}:
	default:
	}
}

// Next returns the scan of the device that has waited longest, or ctx's error.
func (in *Inbox) Next(ctx context.Context) (edgeagent.Scan, error) {
	for {
		if s, ok := in.take(); ok {
			return s, nil
		}
		select {
		case <-in.wake:
		case <-ctx.Done():
			return edgeagent.Scan{}, ctx.Err()
		}
	}
}

func (in *Inbox) take() (edgeagent.Scan, bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if len(in.order) == 0 {
		return edgeagent.Scan{}, false
	}
	device := in.order[0]
	layers := in.waiting[device]
	in.order = append(in.order[:0], in.order[1:]...)
	if len(layers) > 1 {
		in.waiting[device] = layers[1:]
		in.order = append(in.order, device)
	} else {
		delete(in.waiting, device)
	}
	return layers[0].scan, true
}

// Merged returns how many samples were replaced by a later one of their tag
// before anybody took them.
func (in *Inbox) Merged() uint64 {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.merged
}

// apart reports whether something waits that nobody would see if s were merged
// into it.
func (w *waitingScan) apart(s edgeagent.Scan) bool {
	w.learn()
	for i := range s.Samples {
		at, known := w.at[s.Samples[i].Tag]
		if known && (flips(&w.scan.Samples[at], &s.Samples[i]) || marks(&w.scan.Samples[at], &s.Samples[i])) {
			return true
		}
	}
	return false
}

// flips reports whether a value that can be an alarm by itself, a bit or a
// whole number, is another now, or none.
func flips(was, now *edgeagent.Sample) bool {
	return (discrete(was.Value) || discrete(now.Value)) && !now.Value.Equal(was.Value)
}

// marks reports whether the same value is told again as worth less: the device
// has failed since, most often in the middle of the scan that read it. An alarm
// is not evaluated with such a value; with what was read it still must be.
func marks(was, now *edgeagent.Sample) bool {
	return now.Quality < was.Quality && now.At.Equal(was.At)
}

func discrete(v edgeagent.Value) bool {
	return v.Kind() == edgeagent.KindBool || v.Kind() == edgeagent.KindInt || v.Kind() == edgeagent.KindUint
}

func (w *waitingScan) learn() {
	if w.at != nil {
		return
	}
	w.at = make(map[string]int, len(w.scan.Samples))
	for i, sample := range w.scan.Samples {
		w.at[sample.Tag] = i
	}
}

// merge returns how many samples it replaced.
func (w *waitingScan) merge(s edgeagent.Scan) uint64 {
	w.learn()
	w.confirm(s)
	var replaced uint64
	for _, sample := range s.Samples {
		if i, known := w.at[sample.Tag]; known {
			w.scan.Samples[i] = sample
			replaced++
			continue
		}
		w.at[sample.Tag] = len(w.scan.Samples)
		w.scan.Samples = append(w.scan.Samples, sample)
	}
	w.scan.Events = append(w.scan.Events, s.Events...)
	w.scan.Conditions = append(w.scan.Conditions, s.Conditions...)
	w.scan.Requests += s.Requests
	w.scan.At, w.scan.Took, w.scan.Err = s.At, s.Took, s.Err
	return replaced
}

// confirm adds what s confirms. What an earlier scan confirmed of a tag that s
// has a sample of is out of date. Others may share the slices: it makes its own.
func (w *waitingScan) confirm(s edgeagent.Scan) {
	if len(w.scan.Confirmed) == 0 {
		w.scan.Confirmed = s.Confirmed
		return
	}
	newer := make(map[string]bool, len(s.Samples)+len(s.Confirmed))
	for _, sample := range s.Samples {
		newer[sample.Tag] = true
	}
	for _, tag := range s.Confirmed {
		newer[tag] = true
	}
	out := slices.Clone(s.Confirmed)
	for _, tag := range w.scan.Confirmed {
		if !newer[tag] {
			out = append(out, tag)
		}
	}
	w.scan.Confirmed = out
}
