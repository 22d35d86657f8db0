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
		opcua = "package x\nimport \"github.com/gopcua/opcua/ua\"\n"
		ids   = "package x\nimport (\"github.com/gopcua/opcua/ua\"; \"github.com/gopcua/opcua/id\")\n"
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
		"opc ua client":             {"package x\nimport c \"github.com/gopcua/opcua\"\nvar f = (*c.Client).Write"},
		"opc ua channel":            {"package x\nimport \"github.com/gopcua/opcua/uasc\"\nvar c *uasc.SecureChannel"},
		"opc ua server":             {"package x\nimport _ \"github.com/gopcua/opcua/server\""},
		"opc ua write":              {opcua + "var r any = &ua.WriteRequest{}"},
		"opc ua history":            {opcua + "var r ua.HistoryUpdateRequest"},
		"opc ua nodes":              {opcua + "var r = new(ua.AddNodesRequest)"},
		"opc ua triggering":         {opcua + "var r ua.SetTriggeringRequest"},
		"opc ua by encoding id":     {ids + "var n = id.WriteRequest_Encoding_DefaultBinary"},
		"opc ua in another file":    {opcua + "var b *ua.Buffer", "package x\nfunc f(WriteValue int) {}"},
		"opc ua call elsewhere":     {opcua + "var r ua.CallRequest"},
		"opc ua another method":     {ids + "var r = T{MethodID: ua.NewNumericNodeID(0, id.ConditionType_Disable)}"},
		"opc ua method set later":   {opcua + "func f(r *T) { r.MethodID = nil }"},
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
	found = check(t, "package x\nimport (\"github.com/gopcua/opcua/ua\"; \"github.com/gopcua/opcua/id\"; \"net\")\n"+
		"func f(c net.Conn) any { c.Write(nil); return T{&ua.ReadRequest{}, T{MethodID: ua.NewNumericNodeID(0, id.ConditionType_ConditionRefresh)}} }")
	if len(found) != 0 {
		t.Errorf("found %v", found)
	}
}

// TestSimulatedPlantTakesAndMakesNoWrites: what refuses a write must name it.
func TestSimulatedPlantTakesAndMakesNoWrites(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "plc", "sim"), 0o700); err != nil {
		t.Fatal(err)
	}
	for src, want := range map[string]int{
		"func f(r any) { switch r.(type) { case *ua.WriteRequest: } }": 0,
		"func f(r *ua.WriteRequest) {}":                                0,
		"var r = &ua.WriteRequest{}":                                   1,
		"var r = new(ua.WriteRequest)":                                 1,
		"var r ua.WriteRequest":                                        1,
		"func f(r *ua.AddNodesRequest) {}":                             1,
	} {
		src = "package sim\nimport \"github.com/gopcua/opcua/ua\"\n" + src
		if err := os.WriteFile(filepath.Join(dir, "plc", "sim", "x.go"), []byte(src), 0o600); err != nil {
			t.Fatal(err)
		}
		if found, err := Check(dir); err != nil || len(found) != want {
			t.Errorf("%s: found %v, %v", src, found, err)
		}
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
