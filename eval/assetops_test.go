package eval

import (
	"strings"
	"testing"
	"testing/fstest"
)

// benchmark is of the benchmark's shape, byte order mark and spare columns with
// it; the words are our own.
func benchmark() fstest.MapFS {
	return fstest.MapFS{
		fileRules:  {Data: []byte("rule_id,rule_name,rule_logic\nR1,Pump -  Flow Low,,\nR2,Pump - Vibration,,\nR3,Pump - Forgotten,,\nR4,Fan - Odd,,\n")},
		filePairs:  {Data: []byte("rule_id,rule_name,primary_code,primary_code_description\nR1,Pump - Flow Low,P01,Strainer Plugged\nR1,Pump - Flow Low,P02,Sensor Failure\nR2,Pump - Vibration,P03,Vibration Issues\nR4,Fan - Odd,P99,Drive (Belt) Wear")},
		fileCodes:  {Data: []byte("\ufeffcategory,primary_code,primary_code_description\nA,P01,Strainer Plugged\nA,P02,Sensor Failure\nB,P03,Vibration Issues\n")},
		fileMeters: {Data: []byte("rule_id,rule_name,meter\nR1,Pump - Flow Low,supply flow\nR1,Pump - Flow Low,supply flow\nR1,Pump - Flow Low,motor % load\n")},
	}
}

func TestAssetOps(t *testing.T) {
	b, err := LoadAssetOps(benchmark())
	if err != nil || b.Rules != 4 || b.Pairs != 4 || b.Codes != 3 || len(b.Items) != 3 {
		t.Fatalf("%+v, %v", b, err)
	}
	if notes := strings.Join(b.Notes, "\n"); !strings.Contains(notes, "P99 is not in the list") || !strings.Contains(notes, "R3 is left out") {
		t.Errorf("notes %q", notes)
	}
	it := b.Items[0]
	first := it.Case.First()
	if first.Alarm.Name() != "pump/R1" || first.Alarm.Text != "Pump - Flow Low" || len(first.Evidence.Tags) != 2 || first.Evidence.Tags[1].Tag != "pump.motor_load" {
		t.Errorf("case %+v, %+v", first.Alarm, first.Evidence)
	}
	for text, want := range map[string]bool{
		"The strainer is clogged": true, "Blocked strainer at the inlet": true, "A faulty flow sensor": true, "P02": true, "Failure code P01": true,
		"The pump is worn": false, "Strainer missing": false, "The sensor is not faulty": false, "P03": false, "P011": false,
	} {
		if got := it.right(text); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
	if !b.Items[2].right("The drive is worn") {
		t.Error("a word in brackets is needed")
	}
}

func TestAssetOpsRefusals(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(fstest.MapFS)
		says   string
	}{
		{"no rules", func(f fstest.MapFS) { delete(f, fileRules) }, fileRules},
		{"no codes at all", func(f fstest.MapFS) { delete(f, fileCodes) }, fileAllCode},
		{"another table", func(f fstest.MapFS) { f[filePairs] = &fstest.MapFile{Data: []byte("a,b\n1,2\n")} }, filePairs + `:1: no column "rule_id"`},
		{"empty", func(f fstest.MapFS) { f[fileRules] = &fstest.MapFile{} }, "is empty"},
		{"nothing fits", func(f fstest.MapFS) { f[fileRules].Data = []byte("rule_id,rule_name\nX,Y\n") }, "belong together"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := benchmark()
			tt.change(f)
			if _, err := LoadAssetOps(f); err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want %q", err, tt.says)
			}
		})
	}
	f := benchmark()
	f[fileAllCode] = f[fileCodes]
	delete(f, fileCodes)
	delete(f, fileMeters)
	if b, err := LoadAssetOps(f); err != nil || len(b.Items) != 3 {
		t.Errorf("with the other list of codes and without meters: %+v, %v", b, err)
	}
}
