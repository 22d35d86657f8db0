package config

import (
	"errors"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// endless stands for "no limit" in the range of a number.
const endless = math.MaxFloat64

const day = 24 * time.Hour

var (
	errDuration = errors.New("no duration")
	errSize     = errors.New("no size")
)

var days = regexp.MustCompile(`^(\d{1,5})d(.*)$`)

// parseDuration reads "500ms", "30s", "1h30m", "30d" and "1d12h". Unlike
// Go's own it knows days, and neither signs nor a bare zero: a person who
// writes no unit may mean any.
func parseDuration(s string) (time.Duration, error) {
	if strings.ContainsAny(s, "+-") {
		return 0, errDuration
	}
	var whole time.Duration
	if m := days.FindStringSubmatch(s); m != nil {
		n, err := strconv.Atoi(m[1])
		if err != nil {
			return 0, errDuration
		}
		if whole, s = time.Duration(n)*day, m[2]; s == "" {
			return whole, nil
		}
	}
	if s == "0" {
		return 0, errDuration
	}
	d, err := time.ParseDuration(s)
	if err != nil || d > math.MaxInt64-whole {
		return 0, errDuration
	}
	return whole + d, nil
}

// formatDuration writes a duration the way a person would: "30d", "90s" as
// "1m30s", never "720h0m0s".
func formatDuration(d time.Duration) string {
	if d >= 2*day && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

var sizes = regexp.MustCompile(`^(\d{1,18}) ?(B|KiB|MiB|GiB)$`)

var sizeShift = map[string]uint{"B": 0, "KiB": 10, "MiB": 20, "GiB": 30}

// parseSize reads "256MiB". MB is refused: it means two things.
func parseSize(s string) (int64, error) {
	m := sizes.FindStringSubmatch(s)
	if m == nil {
		return 0, errSize
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil || n > math.MaxInt64>>sizeShift[m[2]] {
		return 0, errSize
	}
	return n << sizeShift[m[2]], nil
}

func formatSize(n int64) string {
	for _, unit := range []string{"GiB", "MiB", "KiB"} {
		if one := int64(1) << sizeShift[unit]; n >= one && n%one == 0 {
			return strconv.FormatInt(n>>sizeShift[unit], 10) + unit
		}
	}
	return strconv.FormatInt(n, 10) + "B"
}
