// Package readonly proves on the source that nothing of the agent writes to a
// PLC. It looks for any mention of a method that does, called or not, so that
// neither a method value nor an interface hides one.
package readonly

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
)

// forbidden are the methods of the protocol libraries that change something in
// a PLC, by the import path that a file must have to be able to name them.
var forbidden = map[string][]string{
	"github.com/goburrow/modbus": {
		"WriteSingleCoil", "WriteMultipleCoils", "WriteSingleRegister", "WriteMultipleRegisters",
		"ReadWriteMultipleRegisters", "MaskWriteRegister",
		// The function codes, for whoever builds a request by hand.
		"FuncCodeWriteSingleCoil", "FuncCodeWriteMultipleCoils", "FuncCodeWriteSingleRegister",
		"FuncCodeWriteMultipleRegisters", "FuncCodeReadWriteMultipleRegisters", "FuncCodeMaskWriteRegister",
		// The library's own transports, which hand out wrong values.
		"NewTCPClientHandler", "NewRTUClientHandler", "NewASCIIClientHandler", "TCPClient", "RTUClient", "ASCIIClient",
	},
	"github.com/gopcua/opcua": {
		"Write", "WriteRequest", "CallMethodRequest", "HistoryUpdateRequest", "AddNodesRequest", "DeleteNodesRequest",
		"AddReferencesRequest", "DeleteReferencesRequest",
	},
}

// Check returns every mention of a forbidden name in the Go files below dir
// that are not tests: FILE:LINE:COL: NAME.
func Check(dir string) ([]string, error) {
	var found []string
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
		mentions, err := checkFile(path, nil)
		found = append(found, mentions...)
		return err
	})
	return found, err
}

// checkFile reads src, or the file itself when src is nil.
func checkFile(path string, src any) ([]string, error) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, path, src, parser.SkipObjectResolution)
	if err != nil {
		return nil, fmt.Errorf("parse %s: %w", path, err)
	}
	names := namesFor(file)
	var found []string
	ast.Inspect(file, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok && names[sel.Sel.Name] {
			found = append(found, fmt.Sprintf("%s: %s", fset.Position(sel.Sel.Pos()), sel.Sel.Name))
		}
		return true
	})
	return found, nil
}

// namesFor returns what a file may not mention, by what it imports.
func namesFor(file *ast.File) map[string]bool {
	names := map[string]bool{}
	for _, imp := range file.Imports {
		path := strings.Trim(imp.Path.Value, `"`)
		for library, list := range forbidden {
			if path == library || strings.HasPrefix(path, library+"/") {
				for _, name := range list {
					names[name] = true
				}
			}
		}
	}
	return names
}
