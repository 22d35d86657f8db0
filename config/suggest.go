package config

import "edgeagent/internal/spelling"

// didYouMean returns `; did you mean "NAME"?` for the nearest of the known
// names, or nothing when none is near.
func didYouMean(name string, known []string) string {
	if best := spelling.Nearest(name, known); best != "" {
		return "; did you mean " + quote(best) + "?"
	}
	return ""
}
