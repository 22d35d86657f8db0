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
// Two rules stand above all others. Losing a value never clears an alarm: it
// stays, marked, until somebody can see again that it is gone. And one activation
// has one id: nothing, a restart least of all, raises it twice.
package alarm
