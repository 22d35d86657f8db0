//go:build failpoints

package queue

// Arm arms failpoints, as the environment does, until disarm is called.
func Arm(text string) (disarm func(), err error) {
	points, err := parseFailpoints(text)
	was := armed
	armed = func() []*armedPoint { return points }
	return func() { armed = was }, err
}
