// Command weigh is what release.sh builds twice to learn what llm/ adds to a
// binary that has all else of an agent's needs: HTTPS and JSON both ways, a log,
// regular expressions, the domain. It is not shipped and does nothing.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"regexp"
	"time"

	"edgeagent"
	"edgeagent/internal/dial"
)

// with is what the build tag weigh_llm adds.
var with = func(edgeagent.Case) (edgeagent.Outcome, error) { return edgeagent.Outcome{}, nil }

func main() {
	if err := weigh(os.Args); err != nil {
		slog.Error("weigh", "err", err)
	}
}

func weigh(args []string) error {
	conf, err := dial.TLS(fmt.Sprint(args))
	if err != nil {
		return err
	}
	re, err := regexp.Compile(args[0])
	if err != nil {
		return err
	}
	http.Handle("/", http.FileServer(http.Dir(re.String())))
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, args[0], os.Stdin)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Transport: dial.Transport(conf)}).Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	var c edgeagent.Case
	if err := json.NewDecoder(resp.Body).Decode(&c); err != nil {
		return err
	}
	o, err := with(c)
	if err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(o.Diagnosis); err != nil {
		return err
	}
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stderr, nil)))
	server := &http.Server{Addr: args[0], ReadHeaderTimeout: time.Second}
	return server.ListenAndServeTLS(args[0], args[0])
}
