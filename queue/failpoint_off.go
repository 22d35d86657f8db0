//go:build !failpoints

package queue

// failpoint names a moment before a durable step. It does nothing here: the
// power-cut rig builds with the tag failpoints, a release never does.
func failpoint(string) error { return nil }
