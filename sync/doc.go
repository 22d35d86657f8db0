// Package upsync sends events upstream; it is not named sync after its folder
// so that no reader has to ask which sync. is meant.
//
// One [Uploader] serves one upstream. It reads the outbox from the upstream's
// cursor, sends one batch at a time, and moves the cursor on a receipt of the
// system that stored the events, never on less: a broker's acknowledgement, a
// captive portal's 200 and a receipt of another epoch move nothing. Events are
// frozen bytes; sending them again is always safe and is the answer to every
// doubt.
//
// cmd/edgeagent runs an Uploader for each upstream of the configuration, over the
// outbox of the data file.
//
// After a kill -9 the cursor is where the last booked receipt put it: what was
// sent since goes out again with the same bytes, and the upstream applies each
// id once. All else, the pace, the back-off, the search for an event that is
// refused, begins anew with a heartbeat.
//
// How the upstream is doing is judged by real requests to the real endpoint.
// A heartbeat is such a request, and is the probe.
package upsync
