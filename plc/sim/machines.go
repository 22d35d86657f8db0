package sim

import (
	"math"
	"math/rand/v2"

	"edgeagent"
)

// States of PackML that the machines show in holding:0.
const (
	stateExecute = 6
	stateAborted = 9
)

const (
	nominalSpeed   = 24.0 // m/min
	nominalCurrent = 3.2  // A
	ambient        = 22.0 // °C
)

// common is the head of every register map.
type common struct {
	beat     uint16
	produced float64
}

// write shows state, heartbeat and the produced count; rate is per minute.
func (c *common) write(d *Device, state uint16, rate float64) {
	c.beat++
	c.produced += rate * Tick.Minutes()
	d.SetHolding(0, state, c.beat)
	d.SetUint32(2, uint32(c.produced), edgeagent.OrderABCD)
}

// toward moves v a share of the way to target: a first-order lag.
func toward(v, target, share float64) float64 { return v + (target-v)*share }

type filler struct {
	common
	level, temperature float64
	window             [20]float64 // two seconds of level: what jitter is computed from
	ticks              int
}

// step lets the level wander around 72 %. A sensor of F212 reports a sloshing
// level: the amplitude is real to everything that computes with it.
func (f *filler) step(s *script, r *rand.Rand, d *Device) {
	slosh, _ := s.phase("F212")
	f.level = toward(f.level, 72, 0.05) + 0.15*r.NormFloat64()
	f.temperature = toward(f.temperature, 21.5, 0.002) + 0.01*r.NormFloat64()
	shown := f.level + slosh*(12*math.Sin(2*math.Pi*float64(f.ticks)/13)+r.NormFloat64())
	shown = min(max(shown, 0), 100)
	f.window[f.ticks%len(f.window)] = shown
	f.ticks++
	valve := 0.55 + (72-shown)/60
	f.write(d, stateExecute, 180)
	d.SetFloat32(100, float32(shown), edgeagent.OrderCDAB)
	d.SetFloat32(102, float32(140*valve/0.55+0.5*r.NormFloat64()), edgeagent.OrderABCD)
	d.SetHolding(104, uint16(int16(math.Round(f.temperature*10))), 0, uint16(312+r.IntN(5)))
	d.SetHolding(108, uint16(math.Round(10*f.jitter())))
	d.SetString(110, 8, "PILS 0.5L")
	d.SetInput(0, uint16(27648*min(max(valve, 0), 1)))
	d.SetCoil(0, true)
	d.SetDiscrete(0, f.ticks%4 < 2)
}

// jitter is the standard deviation of the level over the window, in %.
func (f *filler) jitter() float64 {
	n := min(f.ticks, len(f.window))
	var sum, squares float64
	for _, v := range f.window[:n] {
		sum += v
		squares += v * v
	}
	mean := sum / float64(n)
	return math.Sqrt(max(squares/float64(n)-mean*mean, 0))
}

type capper struct {
	common
	torque, caps float64
}

// step uses up caps and has the chute refilled at a hundred.
func (c *capper) step(_ *script, r *rand.Rand, d *Device) {
	c.torque = toward(c.torque, 1.8, 0.1) + 0.01*r.NormFloat64()
	if c.caps -= 180 * Tick.Minutes(); c.caps < 100 {
		c.caps = 900
	}
	c.write(d, stateExecute, 180)
	d.SetFloat32(100, float32(c.torque), edgeagent.OrderABCD)
	d.SetHolding(102, uint16(c.caps))
	d.SetFloat32(104, float32(2.1+0.03*r.NormFloat64()), edgeagent.OrderCDAB)
	d.SetDiscrete(0, true)
}

type packaging struct {
	common
	speed, current, temperature float64
}

// step lets a jam (A101) slow the infeed before the photo-eye is covered, and a
// stiff bearing (A305) draw current and heat the motor until the relay drops.
func (p *packaging) step(s *script, r *rand.Rand, d *Device) {
	jam, blocked := s.phase("A101")
	stiff, overload := s.phase("A305")
	speed, current, state := nominalSpeed*(1-0.7*jam), nominalCurrent+0.4*jam+3.4*stiff, uint16(stateExecute)
	if overload {
		speed, current, state = 0, 0, stateAborted
	}
	p.speed = toward(p.speed, speed, 0.2)
	p.current = toward(p.current, current, 0.3)
	p.temperature = toward(p.temperature, ambient+2.54*p.current*p.current, 0.004)
	var bits uint16
	if blocked {
		bits |= 1
	}
	if overload {
		bits |= 2
	}
	p.write(d, state, 180*p.speed/nominalSpeed)
	d.SetFloat32(100, float32(max(p.speed+0.05*r.NormFloat64(), 0)), edgeagent.OrderABCD)
	d.SetFloat32(102, float32(max(p.current+0.02*r.NormFloat64(), 0)), edgeagent.OrderCDAB)
	d.SetHolding(104, uint16(int16(math.Round(p.temperature*10))), 0, bits)
	d.SetDiscrete(1, true)
}
