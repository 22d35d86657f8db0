// Package commission answers the questions of the day on which a device is
// connected: which unit ids answer, which addresses can be read, and whether
// address base and byte order are the ones that the configuration says.
//
// It only reads, and it reads politely: one request at a time through the [Ask]
// it is given, with a pause between them, and never an address of a never-read
// range. It has no connection of its own: inside the running agent Ask is the
// agent's, because a second connection can push a panel off a PLC.
//
// [Doctor] weighs values and never more than they bear: where two readings are
// equally plausible it says so and concludes nothing.
//
// Called by cmd/edgeagent for scan and doctor. It holds no state and starts no
// goroutine; whoever calls it bounds it by a context.
package commission
