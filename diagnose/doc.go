// Package diagnose works the jobs off: lease, ask, complete.
//
// It knows neither the data file nor a model. It owns what lies between them:
// how many diagnoses run at a time, how long one may take, what a crash of one
// costs (one attempt, never the agent), and that a paid answer is written down
// even when the disk hesitates or the agent is being stopped.
//
// cmd/edgeagent runs one Worker over the queue and the router of llm, and beside it
// the Backlog, which goes on when a reload stops the Worker. They keep
// nothing over a kill -9 and need nothing: what they held is found running in the
// data file at the next open, and is leased anew.
package diagnose
