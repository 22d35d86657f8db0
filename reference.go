package edgeagent

import "embed"

// Reference is the reference configuration with the runbook it names, so that
// the binary alone can show itself.
//
//go:embed config.toml runbook
var Reference embed.FS
