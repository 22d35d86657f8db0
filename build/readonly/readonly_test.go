package readonly

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestNothingWritesToAPLC(t *testing.T) {
	found, err := Check("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, mention := range found {
		t.Errorf("%s: the agent is advisory, it never writes", mention)
	}
}

// The analyzer must see what it is there for, or it proves nothing.
func TestAnalyzerSeesWrites(t *testing.T) {
	const (
		head  = "package x\nimport \"github.com/goburrow/modbus\"\n"
		opcua = "package x\nimport \"github.com/gopcua/opcua\"\n"
	)
	cases := map[string][]string{
		"call":             {head + "func f(c modbus.Client) { c.WriteSingleRegister(1, 2) }"},
		"method value":     {head + "func f(c modbus.Client) any { return c.WriteMultipleCoils }"},
		"method expr":      {head + "var f = modbus.Client.MaskWriteRegister"},
		"by function code": {head + "var f = modbus.ProtocolDataUnit{FunctionCode: modbus.FuncCodeWriteSingleCoil}"},
		"renamed import":   {"package x\nimport m \"github.com/goburrow/modbus\"\nfunc f(c m.Client) { c.WriteSingleCoil(1, 2) }"},
		"dot import":       {"package x\nimport . \"github.com/goburrow/modbus\"\nvar h = NewTCPClientHandler(\"plc:502\")"},
		"library's link":   {head + "var h = modbus.NewRTUClientHandler(\"/dev/ttyUSB0\")"},
		"link by hand":     {head + "var h modbus.TCPClientHandler"},
		"another file": {
			head + "type link struct{ client modbus.Client }",
			"package x\nfunc (l link) f() { l.client.WriteSingleCoil(1, 0xff00) }",
		},
		"an interface of one's own": {"package x\ntype w interface{ WriteSingleRegister(address, value uint16) ([]byte, error) }"},
		"opc ua":                    {opcua + "func f(c *opcua.Client) { c.Write(nil, nil) }"},
		"opc ua in another file":    {opcua + "var c *opcua.Client", "package x\nfunc f() { c.Write(nil, nil) }"},
	}
	for name, files := range cases {
		if found := check(t, files...); len(found) != 1 || !strings.Contains(found[0], ".go:") {
			t.Errorf("%s: found %v", name, found)
		}
	}
}

func TestReadsAreNoWrites(t *testing.T) {
	found := check(t, "package x\nimport (\n\"github.com/goburrow/modbus\"\n\"io\"\n)\n"+
		"func f(c modbus.Client, w io.Writer) { c.ReadCoils(1, 2); w.Write(nil) }")
	if len(found) != 0 {
		t.Errorf("found %v", found)
	}
}

// check writes the files into a folder of their own and looks at it.
func check(t *testing.T, files ...string) []string {
	t.Helper()
	dir := t.TempDir()
	for i, src := range files {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("x%d.go", i)), []byte(src), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	found, err := Check(dir)
	if err != nil {
		t.Fatal(err)
	}
	return found
}
