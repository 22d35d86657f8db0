// Package sim is a simulated bottling line that answers over Modbus in every
// form and over OPC UA, with scripted faults of the machines and of the wire.
//
// It serves two masters: the demo, which must show a plausible plant on a desk
// without one, and the tests of the drivers, which need a peer that lies, stalls
// and hangs up on command. It speaks Modbus by its own code, so that a mistake
// shared with the driver's library cannot hide in both ends.
//
// [FaultTable] lists what can go wrong and where. An [Oracle] is a server in
// which every value tells its own address: a driver that takes one answer for
// another is found out.
package sim
