package runbook

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// imported writes what was taken and loads it as a runbook.
func imported(t *testing.T, in *Imported, status string) *Book {
	t.Helper()
	var text strings.Builder
	if err := in.WriteCSV(&text, status); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "list.csv"), []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestListsOfPlants are the same row as plants keep it; each must read back as
// the same entry.
func TestListsOfPlants(t *testing.T) {
	for name, raw := range map[string][]byte{
		"English":          []byte("Alarm code,Message,Possible causes,Remedy,Part no.\nF212,Level unstable,Foam; Plug,1. Look 2. Wipe,LT-100\n"),
		"German Excel":     []byte("Störungs-Nr.;Störungstext;Mögliche Ursachen;Abhilfe;Ersatzteil\r\nF212;Level unstable;\"Foam\r\nPlug\";\"- Look\r\n- Wipe\";LT-100\r\n"),
		"German 1252":      []byte("Fehlercode;St\xf6rung;Ursache;Ma\xdfnahme;Teil\r\nF 212;Level unstable;Foam|Plug;Look|Wipe;LT-100\r\n"),
		"Unicode text":     utf16Text(binary.LittleEndian, "Fehlernummer\tMeldung\tUrsache\tBehebung\tTeil\r\nF212\tLevel unstable\tFoam • Plug\tLook • Wipe\tLT-100\r\n"),
		"title above":      []byte("Fault list line 3;;;;\nprinted 2024-03-01;;;;\n;;;;\nCode;Text;Cause;Action;Part\nF212;Level unstable;Foam;Foam\nF212;Level unstable;Foam|Plug;Look|Wipe;LT-100\n"),
		"row numbers":      []byte("No.;Fault code;Text;Cause;Solution;Spare part\n1;F212;Level unstable;Foam|Plug;Look|Wipe;LT-100\n"),
		"only a No.":       []byte("No,Description,Cause,Remedy,Part\nF212,Level unstable,Foam|Plug,Look|Wipe,LT-100\n"),
		"Markdown":         []byte("# Faults\n\nText before | with a pipe.\n\n| Fault code | Text | Cause | Remedy | Part |\n|---|:---|---|---|---:|\n| F212 | Level unstable | Foam<br>Plug | 1. Look<br/>2. Wipe | LT-100 |\n\nText behind.\n"),
		"Markdown, no rim": []byte("Code | Text | Cause | Remedy | Part\n--- | --- | --- | --- | ---\nF-212 | **Level** unstable | Foam; Plug | `Look`; Wipe | LT-100\n"),
	} {
		t.Run(name, func(t *testing.T) {
			in, err := Import("list", raw, ImportOptions{AppliesTo: "device:filler"})
			if err != nil {
				t.Fatal(err)
			}
			b := imported(t, in, "")
			if len(b.Problems) > 0 || len(b.entries) == 0 {
				t.Fatalf("%d entries, problems %q; %+v", len(b.entries), b.Problems, in)
			}
			e := b.entries[len(b.entries)-1]
			if len(e.codes) != 1 || e.codes[0] != "F212" || e.title != "Level unstable" || len(e.causes) != 2 || e.causes[0].Cause+e.causes[1].Cause != "FoamPlug" ||
				strings.Join(e.checks, "|") != "Look|Wipe" || e.part != "LT-100" || e.scopeText() != "device:filler" {
				t.Errorf("%+v", e)
			}
		})
	}
}

func TestRowsThatAreNotTakenSayWhy(t *testing.T) {
	raw := "Fault code;Machine;Cause;Remedy\n;filler;Foam;Look\nF1;filler;;\nE10-E15;filler;Foam;Look\nMotor;filler;Foam;Look\n12 bis 15;filler;Foam;Look\n101-2;filler;Foam;Look\nF2;fil|ler, x;Foam;Look\n\nF3\n" +
		"F4;filler;" + strings.Repeat("x", maxEntry) + ";Look\n"
	in, err := Import("list", []byte(raw), ImportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range in.Skipped {
		got = append(got, strings.Join([]string{string(rune('0' + s.Line%10)), s.Why}, " "))
	}
	want := []string{
		"2 it has no code", "3 it has neither a cause nor a remedy", `4 "E10-E15" looks like a range; write a row for each code`, `5 "Motor" does not look like a code`,
		`6 "12 bis 15" looks like a range; write a row for each code`, "0 it has neither a cause nor a remedy", "1 it is longer than 16384 bytes; is a quote not closed?",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("skipped\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if len(in.Rows) != 2 || in.Rows[0].Code != "101-2" || in.Rows[1].AppliesTo != "device:fil ler x" {
		t.Errorf("rows %+v", in.Rows)
	}
	if len(in.Notes) != 1 || !strings.Contains(in.Notes[0], `code from "Fault code"`) {
		t.Errorf("notes %q", in.Notes)
	}
}

func TestListsThatAreRefused(t *testing.T) {
	for name, tt := range map[string]struct{ raw, says string }{
		"XLSX":        {"PK\x03\x04xl/workbook.xml", "it is a workbook; save the sheet as CSV"},
		"XLS":         {"\xd0\xcf\x11\xe0\xa1\xb1", "it is a workbook"},
		"binary":      {"code;cause\n\x00", "it is not a text file"},
		"empty":       {"", "headings for a code and a cause or remedy"},
		"no cause":    {"Code;Text\nF212;Level\n", "headings for a code and a cause or remedy"},
		"no headings": {"F212;Level;Foam;Look\n", "headings for a code and a cause or remedy"},
		"late":        {strings.Repeat("x;y\n", headerWithin) + "Code;Cause\nF212;Foam\n", "none of the first 20 rows"},
		"too large":   {strings.Repeat("x", maxFile+1), "larger than"},
	} {
		t.Run(name, func(t *testing.T) {
			in, err := Import("list.xyz", []byte(tt.raw), ImportOptions{})
			if err == nil || !strings.HasPrefix(err.Error(), "import list.xyz: ") || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v; %+v", err, in)
			}
		})
	}
}

func TestImportedDraftsAreKeptBack(t *testing.T) {
	in, err := Import("list", []byte("code,cause\nF212,Foam\n"), ImportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if answering, drafts := imported(t, in, "draft").Entries(); answering != 0 || drafts != 1 {
		t.Errorf("%d entries, %d drafts", answering, drafts)
	}
}

// What is imported reads back without a row more or less and without what would
// be another column.
func FuzzImport(f *testing.F) {
	f.Add([]byte("Fehlercode;Ursache;Abhilfe\nF212;\"Foam;\nPlug\";1. Look 2. Wipe\n"))
	f.Add([]byte("| Code | Cause |\n|---|---|\n| F1 | a\\|b<br>c |\n"))
	f.Add([]byte("sep=;\nNo.;Fault;Cause\n1;\"=cmd|' /C calc'!A0\";x\n"))
	f.Add([]byte("\xff\xfec\x00o\x00d\x00e\x00"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		in, err := Import("list", raw, ImportOptions{})
		if err != nil {
			return
		}
		var text strings.Builder
		if err := in.WriteCSV(&text, ""); err != nil {
			t.Fatal(err)
		}
		b := &Book{byCode: map[string][]*entry{}}
		b.readTable("list.csv", text.String())
		answering, lost := len(b.entries), 0
		for _, f := range b.findings {
			if f.Code == codeEmpty || f.Code == codeLimit {
				lost++ // its words were bare marks, or too many
			}
		}
		if answering+lost != len(in.Rows) {
			t.Fatalf("%d rows became %d entries: %q from\n%s", len(in.Rows), answering, b.Problems, text.String())
		}
	})
}
