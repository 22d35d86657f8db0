package qemu

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The kernel's own format, as its documentation (buffer-format.rst) has it: a
// header of 110 bytes, name and content each filled up to four.
func TestInitrdIsNewc(t *testing.T) {
	got := string(Initrd(map[string][]byte{"etc/a": []byte("hello")}))
	want := "070701" + "00000000" + "000041ed" + "00000000" + "00000000" + "00000001" + "00000000" + "00000000" +
		"00000000" + "00000000" + "00000000" + "00000000" + "00000004" + "00000000" + "etc\x00" + "\x00\x00" +
		"070701" + "00000000" + "000081ed" + "00000000" + "00000000" + "00000001" + "00000000" + "00000005" +
		"00000000" + "00000000" + "00000000" + "00000000" + "00000006" + "00000000" + "etc/a\x00" + "hello\x00\x00\x00" +
		"070701" + "00000000" + "00000000" + "00000000" + "00000000" + "00000001" + "00000000" + "00000000" +
		"00000000" + "00000000" + "00000000" + "00000000" + "0000000b" + "00000000" + "TRAILER!!!\x00" + "\x00\x00\x00"
	if got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestModulesComeInTheirOrder(t *testing.T) {
	dir := t.TempDir()
	modules := map[string]string{
		"drivers/net-card": "depends=bus,fail_over", "drivers/bus": "depends=ring", "lib/ring": "depends=", "net/fail-over": "depends=bus", "fs/unused": "depends=",
	}
	for path, info := range modules {
		writeModule(t, filepath.Join(dir, path+".ko"), info)
	}
	got, err := Modules(dir, "net_card", "built_in", "ring")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range got {
		names = append(names, m.Name)
	}
	if order := strings.Join(names, " "); order != "ring bus fail_over net_card" {
		t.Errorf("loaded in the order %q", order)
	}
	if err := os.WriteFile(filepath.Join(dir, "bad.ko"), []byte("no module"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Modules(dir, "bad"); err == nil || !strings.Contains(err.Error(), "bad.ko") {
		t.Errorf("a file that is no module: %v", err)
	}
}

// writeModule makes the smallest ELF file that has a section .modinfo.
func writeModule(t *testing.T, path, info string) {
	t.Helper()
	const header, entry = 64, 64
	info = "license=GPL\x00" + info + "\x00"
	names := "\x00.modinfo\x00.shstrtab\x00"
	at := func(n int) uint64 { return uint64(header + n) }
	var b bytes.Buffer
	put := func(v any) {
		if err := binary.Write(&b, binary.LittleEndian, v); err != nil {
			t.Fatal(err)
		}
	}
	put(elf.Header64{
		Ident: [16]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_REL), Machine: uint16(elf.EM_AARCH64), Version: uint32(elf.EV_CURRENT),
		Shoff: at(len(info) + len(names)), Ehsize: header, Shentsize: entry, Shnum: 3, Shstrndx: 2,
	})
	b.WriteString(info + names)
	put(elf.Section64{})
	put(elf.Section64{Name: 1, Type: uint32(elf.SHT_PROGBITS), Off: at(0), Size: uint64(len(info)), Addralign: 1})
	put(elf.Section64{Name: 10, Type: uint32(elf.SHT_STRTAB), Off: at(len(info)), Size: uint64(len(names)), Addralign: 1})
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, b.Bytes(), 0o600)); err != nil {
		t.Fatal(err)
	}
}
