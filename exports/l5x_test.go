package exports

import (
	"strings"
	"testing"
)

const l5xNode = "ns=2;s=[PLC]{tag}"

func TestHostileProjects(t *testing.T) {
	const open = `<RSLogix5000Content><Controller><Tags>`
	cases := []struct{ name, text, want string }{
		{"another file", `<html></html>`, `begins with "html"`},
		{"cut short", open + `<Tag Name="a" DataType="DINT">`, "read tag"},
		{"no XML", `Tag,Name`, "read project"},
		{"an entity", `<!DOCTYPE a [<!ENTITY b "bb">]>` + open + `<Tag Name="&b;" DataType="DINT"/></Tags></Controller></RSLogix5000Content>`, "invalid character entity"},
		{"deep", open + strings.Repeat("<x>", 20_000), "read project"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := Read("l5x", "f", strings.NewReader(c.text), Options{Node: l5xNode})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

func TestNodeTemplate(t *testing.T) {
	const project = `<RSLogix5000Content><Tag Name="a" DataType="DINT"/></RSLogix5000Content>`
	for node, want := range map[string]string{
		"":                "--node",
		"[PLC]{tag}":      "is no OPC UA address",
		"ns=2;s=constant": "{tag}",
	} {
		if _, err := Read("l5x", "f", strings.NewReader(project), Options{Node: node}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("node %q: error %v, want %q", node, err, want)
		}
	}
	r := read(t, "l5x", project, Options{Node: l5xNode})
	if len(r.Tags) != 1 || r.Tags[0].Address != "ns=2;s=[PLC]a" || r.Tags[0].Line != 1 {
		t.Errorf("tags %+v", r.Tags)
	}
}

func TestSeverityBands(t *testing.T) {
	for severity, want := range map[string]int{"1": 4, "250": 4, "251": 3, "500": 3, "501": 2, "750": 2, "751": 1, "1000": 1, "0": 0, "1001": 0, "x": 0, "": 0} {
		if got := band(severity); got != want {
			t.Errorf("band(%q) = %d, want %d", severity, got, want)
		}
	}
}
