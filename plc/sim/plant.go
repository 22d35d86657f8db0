package sim

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"
)

// Tick is how often the plant moves on.
const Tick = 100 * time.Millisecond

// deviceNames are the machines that a plant can have.
var deviceNames = []string{"filler", "capper", "packaging"}

// machine is the model of one device. It moves by one tick and writes what its
// PLC would show. Models are deterministic: time is counted, never read.
type machine interface {
	step(p *script, r *rand.Rand, d *Device)
}

// Plant is a bottling line that produces, and runs through a repeating script
// of faults: a photo-eye that is blocked (A101), a level that sloshes (F212) and
// a conveyor motor that is overloaded (A305).
type Plant struct {
	devices map[string]*Device

	mu       sync.Mutex
	machines map[string]machine
	rand     *rand.Rand
	script   script
	stopped  bool
}

// CPUStop is the name of a fault of the whole plant: its servers answer, and
// every value stands still, the heartbeat too.
const CPUStop = "freeze"

// NewPlant returns a plant with the named devices, or an error that names
// those there are. Two plants of one seed live the same life; the seed is 1
// until [Plant.Seed].
func NewPlant(names ...string) (*Plant, error) {
	p := &Plant{devices: map[string]*Device{}, machines: map[string]machine{}}
	for _, name := range names {
		m, err := newMachine(name)
		if err != nil {
			return nil, err
		}
		p.machines[name], p.devices[name] = m, NewDevice()
	}
	p.Seed(1)
	return p, nil
}

func newMachine(name string) (machine, error) {
	switch name {
	case "filler":
		return &filler{level: 72, temperature: 21}, nil
	case "capper":
		return &capper{torque: 1.8, caps: 900}, nil
	case "packaging":
		return &packaging{speed: nominalSpeed, current: nominalCurrent, temperature: 48}, nil
	default:
		return nil, fmt.Errorf("simulated device %q is not known: name it %s", name, strings.Join(deviceNames, ", "))
	}
}

// Seed makes the noise of the plant anew and shows its first values, so that
// nobody who reads before Run finds a plant of zeros.
func (p *Plant) Seed(seed uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rand = rand.New(rand.NewPCG(seed, seed))
	p.write()
}

// Device returns the image of a device of this plant, nil for any other name.
func (p *Plant) Device(name string) *Device { return p.devices[name] }

// Run moves the plant until ctx ends, and returns nil then.
func (p *Plant) Run(ctx context.Context) error {
	t := time.NewTicker(Tick)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			p.Step(1)
		}
	}
}

// Step moves the plant by n ticks at once.
func (p *Plant) Step(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return
	}
	for range n {
		p.script.tick++
		p.write()
	}
}

// ForceFault lets a fault be there from the next tick on until it is forced off,
// whatever the script says: A101, F212, A305 or [CPUStop]. An error names them.
func (p *Plant) ForceFault(name string, on bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if name == CPUStop {
		p.stopped = on
		return nil
	}
	for _, e := range episodes {
		if e.code == name {
			p.script.force(name, on)
			return nil
		}
	}
	return fmt.Errorf("fault %q of the simulated plant is not known: name it A101, F212, A305 or %s", name, CPUStop)
}

func (p *Plant) write() {
	for _, name := range slices.Sorted(maps.Keys(p.machines)) { // one order: the noise is shared
		p.machines[name].step(&p.script, p.rand, p.devices[name])
	}
}
