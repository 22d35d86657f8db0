// Package edgeagent holds the domain of the agent: tags, alarms, cases,
// diagnoses, jobs and the events that leave the site, with the rules that
// belong to them and to nothing else.
//
// It imports the standard library alone and starts nothing. Every room of the
// agent (config, plc, tags, alarm, queue, llm, diagnose, sync, status) imports
// this package and none of the others; cmd/edgeagent wires them together.
//
// The way through the agent goes one direction only:
//
//	PLC -> Scan -> Transition -> Job -> Diagnosis -> Event -> upstream
//
// Nothing flows back from upstream but a [Receipt], and nothing ever flows
// back to a PLC.
package edgeagent
