// Package status shows the agent to people and programs: pages, a JSON API,
// server-sent events and metrics, on a TCP listener and on a Unix socket.
//
// The page comes up before the data file is open and stays up while anything
// else fails, because it is where a person looks then. It reads through
// [Source] and acts through [Actions]; both belong to the run loop. It keeps
// nothing of its own: after a kill -9 there is nothing to restore.
//
// Whoever can reach the TCP listener may look. Actions are for the Unix
// socket, where the kernel says who asks. Nothing here writes to a PLC.
package status
