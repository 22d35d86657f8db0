// Package plc reads the tags of PLCs and watches over the devices that hold
// them: which requests a scan is made of, how bytes become values, and when a
// device that does not answer is asked again, or no more.
//
// It only ever reads. A [Driver] speaks one protocol over one connection; a
// [Connection] drives the units behind it in one goroutine, each with a state
// machine of its own (machine.go), and delivers every pass as an
// edgeagent.Scan. Nothing in here waits for whoever takes the scans.
//
// cmd/edgeagent makes a Connection of each endpoint in the configuration and
// takes its scans from an [Inbox].
//
// After a kill -9 a stopped device is still stopped and one that was being
// retried goes on in its window: that state goes to [Memory] with every change,
// within seconds unless the disk fails, which is logged. Values are not kept:
// every tag begins as never read, and no last value is taken for a present one.
package plc
