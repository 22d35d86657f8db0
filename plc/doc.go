// Package plc reads the tags of PLCs and watches over the devices that hold
// them: which requests a scan is made of, how bytes become values, and when a
// device that does not answer is asked again, or no more.
//
// It only ever reads. A [Driver] speaks one protocol over one connection; a
// [Connection] drives the units behind it in one goroutine, each with a state
// machine of its own (machine.go), and delivers every pass as an
// edgeagent.Scan. Nothing in here waits for whoever takes the scans.
package plc
