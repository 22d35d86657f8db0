// Package diagnose works the jobs off: lease, ask, complete.
//
// It knows neither the data file nor a model. It owns what lies between them:
// how many diagnoses run at a time, how long one may take, what a crash of one
// costs (one attempt, never the agent), and that a paid answer is written down
// even when the disk hesitates or the agent is being stopped.
package diagnose
