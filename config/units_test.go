package config

import (
	"math"
	"testing"
	"time"
)

func TestParseDuration(t *testing.T) {
	tests := map[string]time.Duration{
		"500ms": 500 * time.Millisecond, "1h30m": 90 * time.Minute, "30d": 30 * day, "1d12h": 36 * time.Hour, "0s": 0, "1.5s": 1500 * time.Millisecond,
		"": -1, "0": -1, "5": -1, "-5s": -1, "+5s": -1, "1d-2h": -1, "d": -1, "5 s": -1, "5S": -1, "1w": -1, "99999d99999999h": -1, "1e3s": -1,
		"999999d": -1, "9999999h": -1,
	}
	for text, want := range tests {
		d, err := parseDuration(text)
		if err != nil {
			d = -1
		}
		if d != want {
			t.Errorf("%q is %v (%v), want %v", text, d, err, want)
		}
	}
}

func TestFormatDuration(t *testing.T) {
	for want, d := range map[string]time.Duration{
		"30d": 30 * day, "24h": day, "1h": time.Hour, "1m30s": 90 * time.Second, "500ms": 500 * time.Millisecond, "0s": 0, "1m": time.Minute,
		"10m": 10 * time.Minute, "1h0m10s": time.Hour + 10*time.Second, "20h": 20 * time.Hour, "1h20m": 80 * time.Minute,
	} {
		if got := formatDuration(d); got != want {
			t.Errorf("%v is written %s, want %s", d, got, want)
		}
	}
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{
		"0B": 0, "256MiB": 256 << 20, "1 GiB": 1 << 30, "8589934591GiB": 8589934591 << 30,
		"": -1, "256": -1, "256MB": -1, "1.5GiB": -1, "-1B": -1, "99999999999GiB": -1, "MiB": -1,
	} {
		n, err := parseSize(text)
		if err != nil {
			n = -1
		}
		if n != want {
			t.Errorf("%q is %d (%v), want %d", text, n, err, want)
		}
	}
	if got := formatSize(256 << 20); got != "256MiB" {
		t.Errorf("256 MiB is written %s", got)
	}
	if got := formatSize(math.MaxInt64); got != "9223372036854775807B" {
		t.Errorf("the largest size is written %s", got)
	}
}
