// Package powercut records what a program asks of its disk, and makes from it
// any state that a power cut may leave.
//
// A [Disk] is a FUSE file system in memory. It notes every write, truncation,
// flush, creation and rename in exact order, and between them what the program
// promised to others: an [Ack]. A [Recording] then makes crash states offline,
// thousands from one second of work: what was flushed before the cut is there,
// and of everything after the last flush each sector is kept, dropped or torn.
//
// The model is harder than most hardware: names are durable after a flush of the
// folder alone, sectors of one write know nothing of each other, and a torn one
// is part new, part old.
package powercut
