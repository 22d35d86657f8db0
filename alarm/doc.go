// Package alarm turns scans into transitions of alarms.
//
// The engine is pure: it does no I/O, starts no goroutine and has no clock. It
// is told what was read and what time it is, and answers with what changed; one
// goroutine owns it. Everything that an alarm can do is in the table of
// machine.go.
//
// The loop of cmd/edgeagent calls it and hands the transitions to the recorder.
// After a kill -9 [Engine.Restore] goes on from the alarms of the data file;
// what was not committed was never shown, and is seen again as it stands then.
//
// An alarm comes from an expression over tags, from a bit of a word, from the
// number of the present fault, or from a condition of an OPC UA server. The mode
// of its line, another alarm, a device that cannot be seen or is in maintenance
// may keep it from rising; when that ends it is looked at again.
//
// Two rules stand above all others. Losing a value never clears an alarm: it
// stays, marked, until somebody can see again that it is gone. And one activation
// has one id: nothing, a restart least of all, raises it twice.
package alarm
