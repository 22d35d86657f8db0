package readonly

import (
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
	const head = "package x\nimport \"github.com/goburrow/modbus\"\n"
	cases := map[string]string{
		"call":             head + "func f(c modbus.Client) { c.WriteSingleRegister(1, 2) }",
		"method value":     head + "func f(c modbus.Client) any { return c.WriteMultipleCoils }",
		"method expr":      head + "var f = modbus.Client.MaskWriteRegister",
		"by function code": head + "var f = modbus.ProtocolDataUnit{FunctionCode: modbus.FuncCodeWriteSingleCoil}",
		"renamed import":   "package x\nimport m \"github.com/goburrow/modbus\"\nfunc f(c m.Client) { c.WriteSingleCoil(1, 2) }",
		"opc ua":           "package x\nimport \"github.com/gopcua/opcua\"\nfunc f(c *opcua.Client) { c.Write(nil, nil) }",
		"library's link":   head + "var h = modbus.NewRTUClientHandler(\"/dev/ttyUSB0\")",
	}
	for name, src := range cases {
		found, err := checkFile("x.go", src)
		if err != nil || len(found) != 1 || !strings.HasPrefix(found[0], "x.go:") {
			t.Errorf("%s: found %v, %v", name, found, err)
		}
	}
}

func TestReadsAreNoWrites(t *testing.T) {
	found, err := checkFile("x.go", "package x\nimport \"github.com/goburrow/modbus\"\nfunc f(c modbus.Client) { c.ReadCoils(1, 2) }")
	if err != nil || len(found) != 0 {
		t.Errorf("found %v, %v", found, err)
	}
}
