// Package tags holds what is known of every tag at this moment: last value,
// quality, age, and ten minutes of history. It is all in memory: a healthy scan
// writes nothing to the card, and after a restart the history starts anew.
//
// The loop of cmd/edgeagent puts every scan; the alarm engine and the
// pages read. After a kill -9 every tag is "never read" until it is read.
//
// Ages are measured on the monotonic clock. A wall clock that is set, by hand or
// by its time server, makes no value older or younger.
package tags
