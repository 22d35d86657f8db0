package queue

import (
	"os"
	"strconv"
	"strings"
	"time"
)

// boot is the clock that no NTP server sets back: time since the machine started.
type boot struct {
	uptime time.Duration // when the process began
	start  time.Time     // with the monotonic clock
}

// newBoot reads the uptime; where there is none, the clock starts with the process.
func newBoot() boot {
	b := boot{start: time.Now()}
	text, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return b
	}
	first, _, _ := strings.Cut(string(text), " ")
	if s, err := strconv.ParseFloat(first, 64); err == nil {
		b.uptime = time.Duration(s * float64(time.Second))
	}
	return b
}

// mono returns nanoseconds since the machine started.
func (b boot) mono() int64 { return int64(b.uptime + time.Since(b.start)) }
