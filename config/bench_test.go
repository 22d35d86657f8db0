package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// plant writes a configuration of ten devices with n tags and n/20 alarms in
// all: its tags in TOML, or each device's in a CSV file.
func plant(tb testing.TB, n int, inCSV bool) string {
	tb.Helper()
	dir := tb.TempDir()
	var text strings.Builder
	text.WriteString(minimal)
	for d := range 10 {
		fmt.Fprintf(&text, "[[device]]\nname = \"d%d\"\nurl = \"modbus-tcp://10.0.0.%d\"\n", d, d)
		var rows strings.Builder
		rows.WriteString("name,address,type,order,scale,eng_unit,min,max,comment\n")
		for i := range n / 10 {
			if inCSV {
				fmt.Fprintf(&rows, "tag_%d,holding:%d,float32,CDAB,0.1,°C,0,100,Zone %d\n", i, 2*i, i)
			} else {
				fmt.Fprintf(&text, "  [[device.tag]]\n  name = \"tag_%d\"\n  address = \"holding:%d\"\n  type = \"float32\"\n  order = \"CDAB\"\n"+
					"  scale = 0.1\n  eng_unit = \"°C\"\n  min = 0\n  max = 100.0\n", i, 2*i)
			}
		}
		for i := range n / 200 {
			fmt.Fprintf(&text, "  [[device.alarm]]\n  code = \"A%d\"\n  when = \"tag_%d and tag_%d\"\n  context = [\"tag_%d\"]\n", i, i, n/10-1-i, n/10-1)
		}
		if inCSV {
			name := fmt.Sprintf("tags%d.csv", d)
			if err := os.WriteFile(filepath.Join(dir, name), []byte(rows.String()), 0o600); err != nil {
				tb.Fatal(err)
			}
			i := strings.LastIndex(text.String(), "[[device]]\n") + len("[[device]]\n")
			whole := text.String()
			text.Reset()
			text.WriteString(whole[:i] + "tags_file = \"" + name + "\"\n" + whole[i:])
		}
	}
	path := filepath.Join(dir, "config.toml")
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

// BenchmarkLoad reads 10,000 tags and 500 alarms.
func BenchmarkLoad(b *testing.B) {
	for name, inCSV := range map[string]bool{"toml": false, "csv": true} {
		b.Run(name, func(b *testing.B) {
			path := plant(b, 10_000, inCSV)
			b.ReportAllocs()
			for b.Loop() {
				if c, err := Load(path, checks); err != nil || len(c.Devices[9].Tags) != 1000 {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkDiff compares them with themselves.
func BenchmarkDiff(b *testing.B) {
	c, err := Load(plant(b, 10_000, true), checks)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if changes := c.Diff(c); changes != nil {
			b.Fatal(changes)
		}
	}
}
