package main

import (
	"runtime"

	"github.com/spf13/cobra"
)

// version and commit are stamped by the linker: -ldflags "-X main.version=…".
var (
	version = "0.1.0-dev"
	commit  = "unknown"
)

type versionInfo struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

func newVersion(o *options) *cobra.Command {
	return jsonFlag(&cobra.Command{
		Use: "version", Short: "print version, commit and platform", Args: exactly(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			v := versionInfo{version, commit, runtime.Version(), runtime.GOOS, runtime.GOARCH}
			if o.json {
				return printJSON(c.OutOrStdout(), v)
			}
			c.Printf("edgeagent %s (%s, %s, %s/%s)\n", v.Version, v.Commit, v.Go, v.OS, v.Arch)
			return nil
		},
	}, o)
}
