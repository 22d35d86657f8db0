package main

import (
	"os"
	"runtime/debug"
)

// gcPercent is how much garbage may lie beside what lives. With Go's 100 a plant
// of 10,000 tags, 34 MB alive, would take 80 MB of a small box; a fifth costs
// half a percent of a core there, and nothing that can be measured with a few
// hundred tags. A limit on the heap instead would turn into one collection after
// the other in the first plant that outgrows it.
const gcPercent = 20

// settleMemory is called when the agent stands, after start and reload: reading
// the configuration of a large plant leaves garbage of the same size, which
// nothing would ever grow into again. GOGC in the environment wins.
func settleMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	debug.FreeOSMemory()
}
