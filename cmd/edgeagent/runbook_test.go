package main

import (
	"strings"
	"testing"

	"edgeagent"
)

// bowl is a template, and of makes a device of it.
const bowl = `
[[template]]
name = "bowl"
  [[template.tag]]
  name = "level"
  address = "holding:0"
  type = "uint16"
  [[template.alarm]]
  code = "F212"
  when = "level > 80"
  text = "Level unstable"
`

func (p panel) of(template, name string) string {
	return "\n[[device]]\ntemplate = \"" + template + "\"\nname = \"" + name + "\"\nline = \"Filler-2\"\nurl = \"modbus-tcp://" + p.server.Addr() + "\"\nscan = \"50ms\"\ntimeout = \"400ms\"\n"
}

// An entry for a template answers for the machines that are made of it, also
// for one that a reload adds.
func TestRunbookKnowsTemplates(t *testing.T) {
	one, two := startPanel(t), startPanel(t)
	r := newRig(t, bowl, one.of("bowl", "filler"))
	r.file("runbook/bowl.md", "---\ncodes: [F212]\napplies_to: [template:bowl]\n---\n# Bowl\n- Foam\n")
	r.start()
	one.SetHolding(0, 90)
	eventually(t, "the alarm is stored", func() bool { return len(r.alarms("active")) == 1 })
	if h := r.alarms("active")[0].Hint; h == nil || len(h.Causes) != 1 || h.Causes[0].Cause != "Foam" {
		t.Fatalf("hint %+v", h)
	}
	r.write(bowl, one.of("bowl", "filler"), two.of("bowl", "capper"))
	if _, errOut, code := r.run("reload"); code != exitOK {
		t.Fatal(errOut)
	}
	two.SetHolding(0, 90)
	hintOf := func(device string) *edgeagent.Diagnosis {
		for _, a := range r.alarms("active") {
			if a.Device == device {
				return a.Hint
			}
		}
		return nil
	}
	eventually(t, "the alarm of the new device is stored", func() bool { return hintOf("capper") != nil })
	if h := hintOf("capper"); !strings.HasPrefix(h.Summary, "Runbook entry for capper/F212") {
		t.Errorf("hint %+v", h)
	}
}
