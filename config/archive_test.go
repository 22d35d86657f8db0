package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// wholePlant is made of every kind of file.
var wholePlant = map[string]string{
	"config.toml": `include = ["plant/*.toml", "extra.toml"]
MINIMAL
[[device]]
name = "filler"
url = "modbus-tcp://h"
tags_file = "tags.csv"
  [[device.alarm_word]]
  tag = "alm"
  texts_file = "alarms.csv"
[[llm.provider]]
name = "runbook"
kind = "runbook"
`,
	"plant/pump.toml":  "[[template]]\nname = \"pump\"\n[[template.tag]]\nname = \"speed\"\naddress = \"holding:{base}\"\ntype = \"uint16\"\n[[device_list]]\ntemplate = \"pump\"\nfile = \"pumps.csv\"\n",
	"plant/pumps.csv":  "name,url,base\np1,modbus-tcp://h1,100\np2,modbus-tcp://h2,200\n",
	"plant/notes.txt":  "not a part of it\n",
	"extra.toml":       "[[device]]\nname = \"scale\"\nurl = \"modbus-tcp://h9\"\n",
	"tags.csv":         "name,address,type\nalm,holding:5,uint16\nlevel,holding:6,uint16\n",
	"alarms.csv":       "bit,code,text\n3,F3,Door open\n",
	"unrelated/x.toml": "",
}

// TestLastAcceptedHoldsEveryFile breaks or removes each file in turn: what was
// accepted starts alone, just as it was.
func TestLastAcceptedHoldsEveryFile(t *testing.T) {
	for _, name := range []string{"config.toml", "plant/pump.toml", "plant/pumps.csv", "extra.toml", "tags.csv", "alarms.csv"} {
		for how, broken := range map[string]string{"broken": "\x00[", "gone": ""} {
			t.Run(name+" "+how, func(t *testing.T) {
				path := folder(t, wholePlant)
				good := accept(t, path)
				file := filepath.Join(filepath.Dir(path), name)
				overwrite(t, file, broken)
				if broken == "" {
					if err := os.Remove(file); err != nil {
						t.Fatal(err)
					}
				}
				_, err := Load(path, checks)
				if name == "plant/pump.toml" && broken == "" {
					err = errors.New("the pattern matches nothing: nothing is wrong, but less is there")
				}
				if err == nil {
					t.Fatal("it was accepted")
				}
				c, err := LastAccepted(path, checks)
				if err != nil {
					t.Fatal(err)
				}
				if c.Hash() != good.Hash() || !reflect.DeepEqual(c.Devices, good.Devices) || c.Path != path || len(c.Devices) != 4 {
					t.Errorf("got %s with\n%+v\nwant %s with\n%+v", c.Hash(), c.Devices, good.Hash(), good.Devices)
				}
				if changes := c.Diff(good); changes != nil {
					t.Errorf("it differs from itself: %q", changes)
				}
				if err := Accept(c); err != nil { // as the agent does that runs it
					t.Fatal(err)
				}
				if again, err := LastAccepted(path, checks); err != nil || again.Hash() != good.Hash() {
					t.Errorf("accepted once more: %v", err)
				}
			})
		}
	}
}

// TestLastAcceptedFromElsewhere: the file may be named relative to where the
// agent stands, and that may be another place next time.
func TestLastAcceptedFromElsewhere(t *testing.T) {
	path := folder(t, wholePlant)
	t.Chdir(filepath.Dir(path))
	good := accept(t, "config.toml")
	if err := os.RemoveAll("plant"); err != nil {
		t.Fatal(err)
	}
	for from, name := range map[string]string{"unrelated": "../config.toml", "/": path} {
		t.Chdir(from)
		c, err := LastAccepted(name, checks)
		if err != nil || c.Hash() != good.Hash() || len(c.Devices) != 4 {
			t.Errorf("from %s: %v", from, err)
		}
		t.Chdir(filepath.Dir(path))
	}
}

// TestArchiveTorn cuts and bends an archive of several files all along: it is
// whole or refused.
func TestArchiveTorn(t *testing.T) {
	path := folder(t, wholePlant)
	c := accept(t, path)
	file := filepath.Join(c.Agent.DataDir, acceptedName)
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	overwrite(t, path, "[agent")
	for n := 0; n < len(whole); n += 3 {
		overwrite(t, file, string(whole[:n]))
		if _, err := LastAccepted(path, checks); err == nil {
			t.Fatalf("cut at byte %d it is accepted", n)
		}
		bent := append([]byte(nil), whole...)
		bent[n] ^= 1
		overwrite(t, file, string(bent))
		if got, err := LastAccepted(path, checks); err == nil && got.Hash() != c.Hash() {
			t.Fatalf("bent at byte %d it is another configuration", n)
		}
	}
}

// TestArchiveLies: lengths that do not fit the bytes are damage, not a panic.
func TestArchiveLies(t *testing.T) {
	path := folder(t, wholePlant)
	c := accept(t, path)
	file := filepath.Join(c.Agent.DataDir, acceptedName)
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, lie := range []string{`"bytes":-1`, `"bytes":999999999`, `"bytes":9223372036854775807`, `"bytes":1`} {
		i := strings.Index(string(whole), `"bytes":`)
		j := i + strings.IndexAny(string(whole[i:]), "}")
		overwrite(t, file, string(whole[:i])+lie+string(whole[j:]))
		if _, err := LastAccepted(path, checks); err == nil || !strings.Contains(err.Error(), "damaged") {
			t.Errorf("%s: %v", lie, err)
		}
	}
}

// TestArchiveIsRefused: what is refused in a kept file is said with the name of
// that file, not of the one that is on the disk.
func TestArchiveIsRefused(t *testing.T) {
	path := folder(t, wholePlant)
	c := accept(t, path)
	_, err := LastAccepted(path, Checks{Mode: checks.Mode})
	if err != nil {
		t.Fatal(err)
	}
	kept := c.Agent.DataDir + "/" + acceptedName
	archive, err := os.ReadFile(kept)
	if err != nil || !strings.HasPrefix(string(archive), acceptedMark2) {
		t.Fatalf("the archive begins with %.40q, %v", archive, err)
	}
}

func TestHashCoversEveryFile(t *testing.T) {
	hashes := map[string]string{}
	for _, name := range []string{"nothing", "config.toml", "plant/pump.toml", "plant/pumps.csv", "extra.toml", "tags.csv", "alarms.csv"} {
		path := folder(t, wholePlant)
		file := filepath.Join(filepath.Dir(path), name)
		if name != "nothing" {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			overwrite(t, file, string(data)+"# a comment\n")
		}
		hash := mustLoad(t, path).Hash()
		if other, taken := hashes[hash]; taken {
			t.Errorf("a change of %s gives the hash of %s", name, other)
		}
		hashes[hash] = name
	}
}

// TestDiffOfEveryFile changes one file at a time.
func TestDiffOfEveryFile(t *testing.T) {
	tests := map[string]struct {
		file, old, new string
		want           []string
	}{
		"a tag of a table":  {"tags.csv", "holding:6", "holding:7", []string{`device.filler.tag.level.address: "holding:6" -> "holding:7"`}},
		"a column":          {"tags.csv", "type\n", "type,comment\n", nil},
		"a row more":        {"tags.csv", "alm,", "new,holding:9,uint16\nalm,", []string{"device.filler.tag.new: added"}},
		"an alarm text":     {"alarms.csv", "Door open", "Door ajar", []string{`device.filler.alarm_word.alm.texts_file.F3.text: "Door open" -> "Door ajar"`}},
		"an alarm gone":     {"alarms.csv", "3,F3,Door open\n", "", []string{"device.filler.alarm_word.alm.texts_file.F3: removed"}},
		"an included file":  {"extra.toml", "//h9", "//h8", []string{`device.scale.url: "modbus-tcp://h9" -> "modbus-tcp://h8"`}},
		"a row of a list":   {"plant/pumps.csv", "200", "300", []string{`device.p2.tag.speed.address: "holding:200" -> "holding:300"`}},
		"a device of a row": {"plant/pumps.csv", "p1,modbus-tcp://h1,100\n", "", []string{"device.p1: removed"}},
		"a template": {"plant/pump.toml", "uint16", "int16", []string{
			`device.p1.tag.speed.type: "uint16" -> "int16"`, `device.p2.tag.speed.type: "uint16" -> "int16"`,
		}},
		"only layout": {"plant/pumps.csv", ",", ";", nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			path := folder(t, wholePlant)
			before := mustLoad(t, path)
			file := filepath.Join(filepath.Dir(path), tt.file)
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			n := 1
			if tt.old == "," {
				n = -1
			}
			overwrite(t, file, strings.Replace(string(data), tt.old, tt.new, n))
			if got := mustLoad(t, path).Diff(before); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

// FuzzPlant feeds hostile spreadsheets, templates and included files. Whatever
// they hold, there is a configuration or problems at places that are there.
func FuzzPlant(f *testing.F) {
	seed := func(toml, tags, texts, list string) { f.Add([]byte(toml), []byte(tags), []byte(texts), []byte(list)) }
	seed(wholePlant["plant/pump.toml"], wholePlant["tags.csv"], wholePlant["alarms.csv"], wholePlant["plant/pumps.csv"])
	dirs, err := filepath.Glob("testdata/plants/*/*")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range dirs {
		if data, err := os.ReadFile(path); err == nil {
			f.Add(data, data, data, data)
		}
	}
	main := strings.Replace(wholePlant["config.toml"], "MINIMAL", minimal, 1)
	f.Fuzz(func(t *testing.T, toml, tags, texts, list []byte) {
		files := keep([]file{
			{"plant/pump.toml", toml}, {"tags.csv", tags}, {"alarms.csv", texts}, {"plant/pumps.csv", list}, {"extra.toml", []byte(wholePlant["extra.toml"])},
		})
		c, err := parse("config.toml", ".", []byte(main), files, checks)
		if err == nil {
			if changes := c.Diff(c); len(changes) > 0 {
				t.Errorf("differs from itself: %q", changes)
			}
			return
		}
		var invalid *Invalid
		if !errors.As(err, &invalid) || len(invalid.Problems) == 0 {
			t.Fatalf("error is %v, want problems", err)
		}
		for _, p := range invalid.Problems {
			if p.Line < 1 || p.Col < 1 || p.Text == "" || strings.ContainsAny(p.Text, "\n\x00\x1b") {
				t.Errorf("problem is %+v", p)
			}
		}
	})
}
