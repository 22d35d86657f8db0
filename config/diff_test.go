package config

import (
	"reflect"
	"strings"
	"testing"
)

const beforeDiff = minimal + `
[[device]]
name = "filler"
url = "modbus-tcp://10.0.0.1"
scan = "1s"
retry = { first = "2s", max = "30s" }
  [[device.tag]]
  name = "level"
  address = "holding:100"
  type = "float32"
  [[device.alarm]]
  code = "F212"
  when = "level"

[[llm.provider]]
name = "cloud"
kind = "openai"
model = "m"
api_key_env = "OLD_SECRET"

[[llm.provider]]
name = "local"
kind = "ollama"
model = "m"
`

func TestDiff(t *testing.T) {
	tests := map[string]struct {
		old, new string // what is replaced in the file, and by what
		want     []string
	}{
		"nothing":          {},
		"comment, layout":  {old: "scan = \"1s\"", new: "scan   =   '1s' # as before"},
		"changed":          {old: "scan = \"1s\"", new: "scan = \"500ms\"", want: []string{`device.filler.scan: "1s" -> "500ms"`}},
		"in a tag":         {old: "holding:100", new: "holding:102", want: []string{`device.filler.tag.level.address: "holding:100" -> "holding:102"`}},
		"in an inline":     {old: "max = \"30s\"", new: "max = \"60s\"", want: []string{`device.filler.retry.max: "30s" -> "60s"`}},
		"key added":        {old: "scan = \"1s\"", new: "scan = \"1s\"\nunit = 2", want: []string{"device.filler.unit: added 2"}},
		"key removed":      {old: "scan = \"1s\"\n", want: []string{`device.filler.scan: removed "1s"`}},
		"alarm renamed":    {old: "F212", new: "F213", want: []string{"device.filler.alarm.F213: added", "device.filler.alarm.F212: removed"}},
		"secret":           {old: "OLD_SECRET", new: "NEW_SECRET", want: []string{"llm.provider.cloud.api_key_env: changed"}},
		"secret elsewhere": {old: "api_key_env = \"OLD_SECRET\"", new: "api_key_file = \"NEW_SECRET\"", want: []string{"llm.provider.cloud.api_key_file: added", "llm.provider.cloud.api_key_env: removed"}},
		"new table":        {old: "[agent]", new: "[log]\nlevel = \"warn\"\n[agent]", want: []string{`log.level: added "warn"`}},
		"device removed": {
			old:  beforeDiff[strings.Index(beforeDiff, "[[device]]"):strings.Index(beforeDiff, "[[llm.provider]]")],
			want: []string{"device.filler: removed"},
		},
		"inline added":  {old: "scan = \"1s\"", new: "scan = \"1s\"\nnever_read = [\"holding:7\"]", want: []string{`device.filler.never_read: added ["holding:7"]`}},
		"table removed": {old: "retry = { first = \"2s\", max = \"30s\" }\n", want: []string{`device.filler.retry.first: removed "2s"`, `device.filler.retry.max: removed "30s"`}},
		"long value": {
			old: "when = \"level\"", new: "when = \"" + strings.Repeat("level or ", 20) + "level\"",
			want: []string{"device.filler.alarm.F212.when: \"level\" -> \"" + (strings.Repeat("level or ", 20))[:79] + "…"},
		},
		"device added": {
			old: "[[llm.provider]]\nname = \"local\"", new: "[[device]]\nname = \"b\"\nurl = \"modbus-tcp://h\"\n[[llm.provider]]\nname = \"local\"",
			want: []string{"device.b: added"},
		},
	}
	before := mustParse(t, beforeDiff)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := mustParse(t, strings.Replace(beforeDiff, tt.old, tt.new, 1)).Diff(before)
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
			if strings.Contains(strings.Join(got, "\n"), "SECRET") {
				t.Error("it shows where a secret is")
			}
		})
	}
}

func TestDiffOfOrder(t *testing.T) {
	cloud := strings.Index(beforeDiff, "[[llm.provider]]")
	local := strings.LastIndex(beforeDiff, "[[llm.provider]]")
	swapped := beforeDiff[:cloud] + beforeDiff[local:] + beforeDiff[cloud:local]
	got := mustParse(t, swapped).Diff(mustParse(t, beforeDiff))
	if want := []string{"llm.provider: order is now local, cloud"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestDiffWithoutOld(t *testing.T) {
	if got := mustParse(t, minimal).Diff(nil); got != nil {
		t.Errorf("got %q", got)
	}
	if got := mustParse(t, minimal).Diff(&Config{}); got != nil {
		t.Errorf("got %q", got)
	}
}
