package edgeagent_test

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// arrows is the picture of docs/architecture.md: which rooms of the agent each
// room may import besides the root package. cmd may import everybody.
var arrows = map[string][]string{
	"":                  {},
	"internal/retry":    {},
	"internal/dial":     {},
	"internal/spelling": {},
	"config":            {"", "internal/spelling"},
	"plc":               {"", "internal/retry"},
	"plc/modbus":        {"", "plc", "internal/retry", "internal/dial"},
	"plc/opcua":         {"", "plc", "internal/retry", "internal/dial"},
	"plc/plctest":       {"", "plc"},
	"plc/sim":           {""},
	"exports":           {""},
	"commission":        {"", "plc"},
	"tags":              {""},
	"alarm":             {"", "internal/spelling"},
	"queue":             {""},
	"llm":               {"", "internal/retry", "internal/dial"},
	"llm/openai":        {"", "llm"},
	"llm/anthropic":     {"", "llm"},
	"llm/ollama":        {"", "llm"},
	"llm/runbook":       {"", "llm", "internal/spelling"},
	"llm/llmtest":       {"", "llm"},
	"diagnose":          {""},
	"eval":              {""},
	"sync":              {"", "internal/retry"},
	"sync/https":        {"", "sync", "internal/dial"},
	"status":            {"", "status/page"},
	"status/page":       {},
	"build/readonly":    {},
	"cmd/edgeagent":     nil,

	"build/arm64/weigh": {"", "internal/dial"}, // and llm/*, behind its build tag
}

// owners says who alone may import a library; one that is not here has no room
// (docs/adr/0002-libraries.md).
var owners = map[string][]string{
	"go.etcd.io/bbolt":             {"queue"},
	"github.com/goburrow/modbus":   {"plc/modbus"},
	"github.com/gopcua/opcua":      {"plc/opcua", "plc/sim"},
	"golang.org/x/sys":             {"plc/modbus", "plc/sim"},
	"github.com/ollama/ollama":     {"llm/ollama"},
	"github.com/sony/gobreaker":    {"llm"},
	"github.com/pelletier/go-toml": {"config"},
	"github.com/spf13/cobra":       {"cmd/edgeagent"},
	// Both call methods by names of the run time, for which the linker keeps every
	// method of every type; status/page takes the parser alone.
	"html/template": {},
	"text/template": {"status/page"},
}

type listed struct {
	ImportPath string
	Imports    []string
}

func TestImportsFollowTheArrows(t *testing.T) {
	unseen := maps.Clone(arrows)
	for _, p := range goList(t) {
		room := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, "edgeagent"), "/")
		delete(unseen, room)
		allowed, known := arrows[room]
		if !known {
			t.Errorf("room %q is not on the picture: add it to arrows and docs/architecture.md", room)
			continue
		}
		for _, imp := range p.Imports {
			checkArrow(t, room, allowed, imp)
			checkOwner(t, room, imp)
		}
		for _, to := range allowed {
			if !slices.Contains(p.Imports, strings.TrimSuffix("edgeagent/"+to, "/")) {
				t.Errorf("%s does not import %q: take the arrow off the picture", room, to)
			}
		}
	}
	for room := range unseen {
		t.Errorf("room %q is on the picture and not in the house: take it off", room)
	}
}

func checkArrow(t *testing.T, room string, allowed []string, imp string) {
	t.Helper()
	if imp != "edgeagent" && !strings.HasPrefix(imp, "edgeagent/") {
		if room == "" && isLibrary(imp) {
			t.Errorf("the root package imports %s: it rests on the standard library alone", imp)
		}
		return
	}
	to := strings.TrimPrefix(strings.TrimPrefix(imp, "edgeagent"), "/")
	if room != "cmd/edgeagent" && !slices.Contains(allowed, to) {
		t.Errorf("%s imports %s: that arrow is not on the picture", room, imp)
	}
}

func checkOwner(t *testing.T, room, imp string) {
	t.Helper()
	owned := strings.HasPrefix(imp, "edgeagent") || !isLibrary(imp)
	for prefix, rooms := range owners {
		if imp != prefix && !strings.HasPrefix(imp, prefix+"/") {
			continue
		}
		owned = true
		if !slices.Contains(rooms, room) {
			t.Errorf("%s imports %s, which belongs to %v alone", room, imp, rooms)
		}
	}
	if !owned {
		t.Errorf("%s imports %s, which has no room: add it to owners and docs/adr/0002-libraries.md", room, imp)
	}
}

// isLibrary tells a library from the standard library: its path begins with a domain.
func isLibrary(imp string) bool {
	domain, _, _ := strings.Cut(imp, "/")
	return strings.Contains(domain, ".")
}

func goList(t *testing.T) []listed {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports", "./...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []listed
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatalf("read go list: %v", err)
		}
		all = append(all, p)
	}
}
