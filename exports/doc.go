// Package exports reads what other tools write about a plant: tag lists of
// Kepware and Ignition, PLC tags and HMI alarms of TIA Portal, projects of
// Logix controllers. It makes our own CSV files of them, and says of every row
// it could not take which one and why.
//
// A row is taken only when its address and type are certain. What depends on a
// setting that the export does not hold, such as the order of the words of a
// 32-bit value, is written out and noted, so that a person checks it with
// edgeagent doctor. A wrong tag that looks right is worse than a missing one.
//
// cmd/edgeagent calls it for edgeagent import. It holds no state, starts no
// goroutine and touches no file: exports are hostile text, bounded by [MaxSize].
package exports
