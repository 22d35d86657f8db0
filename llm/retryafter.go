package llm

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxRetryAfter caps what a server may ask for; beyond a day it is nonsense
// and treated as absent.
const (
	maxRetryAfter    = time.Hour
	absurdRetryAfter = 24 * time.Hour
)

// RetryAfter reads how long a server asks to be left alone: retry-after-ms,
// then Retry-After as seconds, a fraction of them, or an HTTP date. What is
// absent, past, negative, not a number or absurd is 0; at most an hour. A date
// is taken relative to the answer's own Date, because the clock here may be wrong;
// now is for answers without one.
func RetryAfter(h http.Header, now time.Time) time.Duration {
	if ms, ok := number(h.Get("Retry-After-Ms")); ok {
		return sane(ms * float64(time.Millisecond))
	}
	value := h.Get("Retry-After")
	if s, ok := number(value); ok {
		return sane(s * float64(time.Second))
	}
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		now = date
	}
	if at, err := http.ParseTime(value); err == nil {
		return sane(float64(at.Sub(now)))
	}
	return 0
}

func number(s string) (float64, bool) {
	f, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	return f, err == nil
}

func sane(ns float64) time.Duration {
	if math.IsNaN(ns) || ns <= 0 || ns > float64(absurdRetryAfter) {
		return 0
	}
	return min(time.Duration(ns), maxRetryAfter)
}
