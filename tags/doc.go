// Package tags holds what is known of every tag at this moment: last value,
// quality, age, and ten minutes of history. It is all in memory: a healthy scan
// writes nothing to the card, and after a restart the history starts anew.
//
// Ages are measured on the monotonic clock. A wall clock that is set, by hand or
// by its time server, makes no value older or younger.
package tags
