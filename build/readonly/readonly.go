// Package readonly proves on the source that nothing of the agent writes to a
// PLC. It looks for any mention of a name that does, called or not, so that
// neither a method value, an interface nor an import under the dot hides one.
// Its tests are the proof; nothing else calls it.
package readonly

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

// never are the names of Modbus writes and of the library's own transports.
// They are forbidden everywhere: a value can be passed on, and a file that
// writes with it need not import the library.
var never = []string{
	"WriteSingleCoil", "WriteMultipleCoils", "WriteSingleRegister", "WriteMultipleRegisters",
	"ReadWriteMultipleRegisters", "MaskWriteRegister",
	// The function codes, for whoever builds a request by hand.
	"FuncCodeWriteSingleCoil", "FuncCodeWriteMultipleCoils", "FuncCodeWriteSingleRegister",
	"FuncCodeWriteMultipleRegisters", "FuncCodeReadWriteMultipleRegisters", "FuncCodeMaskWriteRegister",
	// The library's own transports, which hand out wrong values.
	"NewTCPClientHandler", "NewRTUClientHandler", "NewASCIIClientHandler",
	"TCPClientHandler", "RTUClientHandler", "ASCIIClientHandler", "TCPClient", "RTUClient", "ASCIIClient",
}

// shut are packages with a client that can write, or send anything, and the
// folders that may import them all the same. What nobody imports cannot be
// called, under whatever name.
var shut = map[string][]string{
	"github.com/gopcua/opcua":         {},
	"github.com/gopcua/opcua/monitor": {},
	"github.com/gopcua/opcua/uasc":    {},
	"github.com/gopcua/opcua/uacp":    {},
	"github.com/gopcua/opcua/server":  {"plc/sim"},
}

// codec is the library that can encode a request to write; mentions of its
// requests are forbidden in every folder that imports some of it.
const codec = "github.com/gopcua/opcua"

// requests begin the names of what changes a server: its values, its history,
// its address space, other clients' subscriptions, and the details of these.
// The encoding ids of package id begin with them, too.
var requests = []string{
	"WriteRequest", "WriteValue", "HistoryUpdate", "AddNodes", "AddReferences", "DeleteNodes", "DeleteReferences",
	"UpdateDataDetails", "UpdateStructureDataDetails", "UpdateEventDetails", "DeleteRawModifiedDetails", "DeleteAtTimeDetails", "DeleteEventDetails",
	"SetTriggering", "SetMonitoringMode", "TransferSubscriptions", "RegisterServer", "RegisterService", "CancelRequest",
}

// served are requests that the simulated plant takes, to refuse them and count
// them. It may name what it is sent, as a pointer to it, and make none.
var served = map[string][]string{"plc/sim": {"WriteRequest"}}

// Calling a method can do anything, so it is done in one file and of one method:
// ConditionRefresh, which makes a server tell its alarms again.
const (
	callFile   = "plc/opcua/calls.go"
	onlyMethod = "ua.NewNumericNodeID(0, id.ConditionType_ConditionRefresh)"
)

var callNames = []string{"CallRequest", "CallMethodRequest", "CallRequest_Encoding_DefaultBinary", "CallMethodRequest_Encoding_DefaultBinary"}

// Check returns every mention of a forbidden name in the Go files below dir
// that are not tests: FILE:LINE:COL: NAME.
func Check(dir string) ([]string, error) {
	folders := map[string][]*ast.File{}
	fset := token.NewFileSet()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (entry.Name() == "e2e" || strings.HasPrefix(entry.Name(), ".") && path != dir) {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return fmt.Errorf("parse %s: %w", path, err)
		}
		folders[filepath.Dir(path)] = append(folders[filepath.Dir(path)], file)
		return nil
	})
	var found []string
	for folder, files := range folders {
		room, _ := filepath.Rel(dir, folder)
		c := checker{fset: fset, room: filepath.ToSlash(room), opcua: importsCodec(files), taken: map[token.Pos]bool{}}
		for _, file := range files {
			c.file(file)
		}
		found = append(found, c.found...)
	}
	slices.Sort(found)
	return found, err
}

// checker looks at the files of one folder.
type checker struct {
	fset  *token.FileSet
	room  string // the folder, from the root
	opcua bool   // one of its files imports the codec
	taken map[token.Pos]bool
	found []string
}

func (c *checker) say(at token.Pos, what string) {
	c.found = append(c.found, fmt.Sprintf("%s: %s", c.fset.Position(at), what))
}

func (c *checker) file(file *ast.File) {
	for _, imp := range file.Imports {
		path := strings.Trim(imp.Path.Value, "`\"")
		if rooms, known := shut[path]; known && !slices.Contains(rooms, c.room) {
			c.say(imp.Pos(), path)
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.StarExpr:
			if sel, ok := n.X.(*ast.SelectorExpr); ok && slices.Contains(served[c.room], sel.Sel.Name) {
				c.taken[sel.Sel.Pos()] = true
			}
		case *ast.Ident:
			c.name(n)
		case *ast.KeyValueExpr:
			c.method(n)
		case *ast.AssignStmt:
			c.assign(n)
		}
		return true
	})
}

func (c *checker) name(id *ast.Ident) {
	switch {
	case slices.Contains(never, id.Name):
		c.say(id.Pos(), id.Name)
	case !c.opcua || c.taken[id.Pos()]:
	case slices.ContainsFunc(requests, func(r string) bool { return strings.HasPrefix(id.Name, r) }):
		c.say(id.Pos(), id.Name)
	case slices.Contains(callNames, id.Name) && !strings.HasSuffix(filepath.ToSlash(c.fset.Position(id.Pos()).Filename), callFile):
		c.say(id.Pos(), id.Name)
	}
}

// method holds the method of a call to the one that may be called.
func (c *checker) method(kv *ast.KeyValueExpr) {
	key, ok := kv.Key.(*ast.Ident)
	if ok && c.opcua && key.Name == "MethodID" && types.ExprString(kv.Value) != onlyMethod {
		c.say(kv.Pos(), "MethodID: "+types.ExprString(kv.Value))
	}
}

// assign forbids to change the method of a call that is made already.
func (c *checker) assign(s *ast.AssignStmt) {
	for _, to := range s.Lhs {
		if sel, ok := to.(*ast.SelectorExpr); ok && c.opcua && sel.Sel.Name == "MethodID" {
			c.say(to.Pos(), types.ExprString(to))
		}
	}
}

func importsCodec(files []*ast.File) bool {
	for _, file := range files {
		for _, imp := range file.Imports {
			if path := strings.Trim(imp.Path.Value, "`\""); path == codec || strings.HasPrefix(path, codec+"/") {
				return true
			}
		}
	}
	return false
}
