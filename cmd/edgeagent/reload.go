package main

import (
	"time"

	"github.com/spf13/cobra"
)

type reloadAnswer struct {
	Changes []string `json:"changes"`
}

// reloadTimeout is longer than any shutdown_grace: a running diagnosis may use
// all of it before the new configuration takes over.
const reloadTimeout = 15 * time.Minute

func newReload(o *options) *cobra.Command {
	return jsonFlag(&cobra.Command{
		Use: "reload", Short: "have the running agent read its configuration again", Args: exactly(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			cl, err := newClient(o)
			if err != nil {
				return err
			}
			cl.http.Timeout = reloadTimeout
			var a reloadAnswer
			if err := cl.post(c.Context(), "/api/v1/reload", nil, &a); err != nil {
				return err
			}
			if o.json {
				return printJSON(c.OutOrStdout(), a)
			}
			if len(a.Changes) == 0 {
				c.Println("nothing changed")
			}
			for _, line := range a.Changes {
				c.Println(line)
			}
			return nil
		},
	}, o)
}
