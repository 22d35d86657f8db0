package config

import (
	"fmt"
	"strings"
	"testing"
)

// TestAlikeIsSaidTwentyTimes: a wrong column of a long export is no flood.
func TestAlikeIsSaidTwentyTimes(t *testing.T) {
	rows := "name,address,type\n"
	for range 500 {
		rows += "X,holding:1,REAL\n"
	}
	path := folder(t, map[string]string{"config.toml": "MINIMAL[[device]]\nname = \"d\"\nurl = \"modbus-tcp://h\"\ntags_file = \"t.csv\"\n", "t.csv": rows})
	_, err := Load(path, checks)
	if err == nil || strings.Count(err.Error(), "\n") != 39 || strings.Count(err.Error(), "the same in 480 more places of this file") != 2 {
		t.Errorf("it says\n%v", err)
	}
}

// TestHostilePlants: what multiplies itself ends early, with a reason.
func TestHostilePlants(t *testing.T) {
	device := "MINIMAL[[device]]\nname = \"d\"\nurl = \"modbus-tcp://h\"\ntags_file = \"t.csv\"\n"
	list := "MINIMAL[[template]]\nname = \"t\"\ntags_file = \"t.csv\"\n[[device_list]]\ntemplate = \"t\"\nfile = \"l.csv\"\n"
	tests := map[string]struct {
		files map[string]string
		want  string
	}{
		"a hundred thousand columns": {map[string]string{"config.toml": device, "t.csv": strings.Repeat("name,", 100_000)}, "columns; is it the right file?"},
		"rows without end":           {map[string]string{"config.toml": device, "t.csv": "name,address,a,b,c,d,e,f\n" + strings.Repeat("x,y\n", 300_000)}, "shorten the list"},
		"rows of rows": {
			map[string]string{"config.toml": list, "l.csv": "name\n" + strings.Repeat("x\n", 200), "t.csv": "name,address\n" + strings.Repeat("x,y\n", 10_000)},
			"shorten the list",
		},
		"a large template": {
			map[string]string{"config.toml": list + strings.Repeat("[[template.tag]]\nname = \"x\"\n", 50_000), "l.csv": "name\n" + strings.Repeat("x\n", 1000), "t.csv": "name,address\n"},
			"shorten the list",
		},
		"too many files":  {map[string]string{"config.toml": "include = [" + strings.Repeat("\"a\",", 2000) + "]\nMINIMAL", "a": ""}, ""},
		"a file of zeros": {map[string]string{"config.toml": device, "t.csv": strings.Repeat("\x00", 1<<16)}, "a NUL byte"},
		"too large":       {map[string]string{"config.toml": device, "t.csv": strings.Repeat("x,y\n", 2<<20)}, "larger than 4MiB"},
		"forged messages": {map[string]string{"config.toml": device, "t.csv": "name,address\n\"x\nconfig.toml:1:1: all is well\x1b[2J\",y\n"}, "all is well"},
		"a cell of a meg": {map[string]string{"config.toml": device, "t.csv": "name,address\n" + strings.Repeat("x", 1<<20) + ",y\n"}, "is not allowed"},
		"nested braces":   {map[string]string{"config.toml": list + "[[template.alarm]]\ncode = \"" + strings.Repeat("{", 1<<16+1) + "\"\n", "l.csv": "name\nx\n", "t.csv": "name,address\n"}, "a lone {"},
		"a long sum":      {map[string]string{"config.toml": list + "[[template.alarm]]\ncode = \"{1" + strings.Repeat("+1", 1<<14) + "}\"\n", "l.csv": "name\nx\n", "t.csv": "name,address\n"}, "[[template.alarm]] needs"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Load(folder(t, tt.files), checks)
			if tt.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error is %.300v, want %q", err, tt.want)
			}
			for line := range strings.SplitSeq(err.Error(), "\n") {
				if len(line) > 1000 || strings.ContainsAny(line, "\x00\x1b") || !strings.Contains(line, ".csv:") && !strings.Contains(line, ".toml:") {
					t.Fatalf("line is %.200q", line)
				}
			}
		})
	}
}

// TestTextsCountOnce: who lists the faults of a large plant has as much room as
// who lists its tags.
func TestTextsCountOnce(t *testing.T) {
	rows := []byte("value,text\n")
	for i := range maxParts / 4 {
		rows = fmt.Appendf(rows, "%d,x\n", i)
	}
	path := folder(t, map[string]string{"t.csv": string(rows), "config.toml": `MINIMAL[[device]]
name = "d"
url = "modbus-tcp://h"
tag = [{ name = "fault", address = "holding:1", type = "uint32" }]
alarm_code = [{ tag = "fault", texts_file = "t.csv" }]
`})
	if _, err := Load(path, checks); err != nil {
		t.Error(err)
	}
}

// TestNumbersOfSpreadsheets: a number is read as its writer meant it, or
// refused.
func TestNumbersOfSpreadsheets(t *testing.T) {
	tests := map[string]struct {
		sep, scale string
		want       float64 // 0: refused
	}{
		"point":                  {",", "0.5", 0.5},
		"point among semicolons": {";", "27.648", 27.648},
		"comma":                  {";", "27,648", 27.648},
		"exponent":               {",", "1E-3", 0.001},
		"comma and exponent":     {";", "1,00E-03", 0.001},
		"hexadecimal":            {",", "0x10", 16},
		"leading zero":           {",", "010", 10},
		"grouped, commas around": {";", "27.648\nother;holding:2;uint16;0,5", 0},
		"small, commas around":   {";", "0.125\nother;holding:2;uint16;0,5", 0.125},
		"grouped and comma":      {";", "1.234,5", 0},
		"comma in a tab file":    {"\t", "0,5", 0},
		"comma in quotes":        {",", `"0,5"`, 0},
		"words":                  {",", "half", 0},
		"infinity":               {",", "inf", 0},
		"no number":              {",", "NaN", 0},
		"two numbers":            {";", "1,2,3", 0},
		"as TOML writes it":      {",", "1_000", 1000},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			row := "name;address;type;scale\nt;holding:1;uint16;"
			path := folder(t, map[string]string{
				"config.toml": "MINIMAL[[device]]\nname = \"d\"\nurl = \"modbus-tcp://h\"\ntags_file = \"t.csv\"\n",
				"t.csv":       strings.ReplaceAll(row, ";", tt.sep) + tt.scale + "\n",
			})
			c, err := Load(path, checks)
			switch {
			case tt.want == 0 && (err == nil || !strings.Contains(err.Error(), "t.csv:2:")):
				t.Errorf("error is %v, want one in line 2", err)
			case tt.want != 0 && (err != nil || c.Devices[0].Tags[0].Scale != tt.want):
				t.Errorf("%v, %v; want %g", c, err, tt.want)
			}
		})
	}
}

// TestListWithoutUnits: a slip by which every row is in the way of every other
// is no flood.
func TestListWithoutUnits(t *testing.T) {
	rows := "name,url\n"
	for i := range 300 {
		rows += fmt.Sprintf("p%d,modbus-tcp://h\n", i)
	}
	path := folder(t, map[string]string{
		"config.toml": "MINIMAL[[template]]\nname = \"p\"\n[[device_list]]\ntemplate = \"p\"\nfile = \"p.csv\"\n", "p.csv": rows,
	})
	_, err := Load(path, checks)
	if err == nil || strings.Count(err.Error(), "\n") != 19 || !strings.Contains(err.Error(), "into one device; the same in 279 more places") {
		t.Errorf("it says\n%.600v", err)
	}
}
