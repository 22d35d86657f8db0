package edgeagent

import "time"

// Condition is one state of one OPC UA alarm condition (Part 9), as its server
// told it. Texts are the plant's: untrusted.
type Condition struct {
	ID     string // ConditionId, with its namespace as nsu=
	Branch string // BranchId; empty for the trunk
	Code   string // what code_from names
	Source string // SourceName
	Name   string // ConditionName
	Text   string // Message

	Severity int // 1 to 1000, the server's
	Priority int // 1 highest to 4, by the device's table

	Active bool
	Acked  bool
	Gone   bool      // Retain is false: the server wants nothing more of it, seen or not
	At     time.Time // Time of the event; with ID, Branch and Active the identity of this state
	// ActiveSince is when the present or last activation began: TransitionTime of
	// ActiveState, or At where the server has none. While all events arrive it is
	// the same for all of one activation.
	ActiveSince time.Time
	// Undated says that ActiveSince is At for want of better: it may have begun
	// before.
	Undated bool
}

// Key tells the branches of all conditions of a server apart.
func (c Condition) Key() string { return c.ID + "|" + c.Branch }

// ConditionSet is what one notification, or one refresh, told. Of a Complete
// one it is known that no other condition of the server is retained: what was
// open and is not among them, or Gone, ended while nobody listened.
type ConditionSet struct {
	Conditions []Condition
	Complete   bool
}
