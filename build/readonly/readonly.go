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

// besides are names that mean a write only where a library is at hand: they are
// forbidden in every folder that imports it.
var besides = map[string][]string{
	"github.com/gopcua/opcua": {
		"Write", "WriteRequest", "CallMethodRequest", "HistoryUpdateRequest", "AddNodesRequest", "DeleteNodesRequest",
		"AddReferencesRequest", "DeleteReferencesRequest",
	},
}

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
	for _, files := range folders {
		found = append(found, mentions(fset, files)...)
	}
	slices.Sort(found)
	return found, err
}

// mentions looks at the files of one folder.
func mentions(fset *token.FileSet, files []*ast.File) []string {
	names := namesFor(files)
	var found []string
	for _, file := range files {
		ast.Inspect(file, func(n ast.Node) bool {
			if id, ok := n.(*ast.Ident); ok && slices.Contains(names, id.Name) {
				found = append(found, fmt.Sprintf("%s: %s", fset.Position(id.Pos()), id.Name))
			}
			return true
		})
	}
	return found
}

// namesFor returns what a folder may not mention, by what its files import.
func namesFor(files []*ast.File) []string {
	names := slices.Clone(never)
	for _, file := range files {
		for _, imp := range file.Imports {
			path := strings.Trim(imp.Path.Value, "`\"")
			for library, list := range besides {
				if path == library || strings.HasPrefix(path, library+"/") {
					names = append(names, list...)
				}
			}
		}
	}
	return names
}
