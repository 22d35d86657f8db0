// Package plc reads the tags of PLCs and watches over the devices that hold
// them: which requests a scan is made of, how bytes become values, and when a
// device that does not answer is asked again, or no more.
//
// It only ever reads. Two kinds of connections share one machine a device
// (machine.go), one memory and one way of marking values (roster.go, device.go):
//
//   - A [Driver] is asked. A [Connection] drives the units behind it in one
//     goroutine, each on its own grid of scans, one request at a time.
//   - A [Subscriber] tells by itself, in episodes that are made anew each time.
//     A [Subscription] listens to it; an episode that ends is a failure.
//
// Both deliver edgeagent.Scan and wait for nobody who takes them.
//
// What is delivered is good only while nothing speaks against it. A failure makes
// all tags uncertain, a stop makes them bad; a heartbeat that stands still holds
// them back although the device answers (heartbeat.go); a line that is out of
// step after a timeout quarantines them; maintenance takes them away
// (maintenance.go). Nothing of these makes a value new, and each that is over is
// told as a gap (gap.go).
//
// cmd/edgeagent makes a connection of each endpoint in the configuration and
// takes its scans from an [Inbox].
//
// After a kill -9 a stopped device is still stopped, one that was being retried
// goes on in its window, a maintenance goes on until its end and a frozen device
// is frozen until it beats: that state goes to [Memory] with every change, within
// seconds unless the disk fails, which is logged. Values are not kept: every tag
// begins as never read, and no last value is taken for a present one.
package plc
