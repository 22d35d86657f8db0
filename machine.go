package edgeagent

// Step is one row of a state machine's table, as the rooms export it to be
// drawn in docs/state-machines.md. The table that is drawn is the table that
// runs: a room derives its behaviour from the same rows.
type Step struct {
	From, Event, To, Action string
}
