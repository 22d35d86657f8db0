package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"edgeagent/config"
)

// client talks to the running agent over its Unix socket, which serves the
// same handlers as the page.
type client struct {
	socket string
	http   *http.Client
	left   *left // where no agent runs: whose answers these are
}

// newClient finds the socket through the configuration; when that is broken
// the agent may still run on its last accepted one.
func newClient(o *options) (*client, error) {
	socket, err := socketPath(o)
	if err != nil {
		return nil, err
	}
	return clientOn(socket), nil
}

func clientOn(socket string) *client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}
	return &client{socket: socket, http: &http.Client{
		Timeout:   30 * time.Second,
		Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true},
	}}
}

func socketPath(o *options) (string, error) {
	cfg, err := anyConfig(o)
	if err != nil {
		return "", err // not the code of an invalid configuration: for status that is attention
	}
	return clientSocket(cfg), nil
}

// clientSocket is the agent's socket as a person's shell sees it: without the
// RUNTIME_DIRECTORY that systemd gives to the service alone.
func clientSocket(cfg *config.Config) string {
	if _, err := os.Stat(cfg.Agent.Socket); err == nil {
		return cfg.Agent.Socket
	}
	const service = "/run/edgeagent/edgeagent.sock"
	if _, err := os.Stat(service); err == nil && filepath.Base(cfg.Agent.Socket) == filepath.Base(service) {
		return service
	}
	return cfg.Agent.Socket
}

// get reads path into v.
func (c *client) get(ctx context.Context, path string, v any) error {
	return c.do(ctx, http.MethodGet, path, nil, v)
}

// post sends body (nil: an empty object) and reads the answer into v, if any.
func (c *client) post(ctx context.Context, path string, body, v any) error {
	if body == nil {
		body = struct{}{}
	}
	return c.do(ctx, http.MethodPost, path, body, v)
}

func (c *client) do(ctx context.Context, method, path string, body, v any) error {
	req, err := newRequest(ctx, method, path, body)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return c.unreachable(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return c.unreachable(err)
	}
	if resp.StatusCode >= 300 {
		return apiError(resp.StatusCode, data)
	}
	if v == nil {
		return nil
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("read the agent's answer to %s %s: %w", method, path, err)
	}
	return nil
}

func newRequest(ctx context.Context, method, path string, body any) (*http.Request, error) {
	var r io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("write request: %w", err)
		}
		r = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://localhost"+path, r)
	if err != nil {
		return nil, fmt.Errorf("write request: %w", err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return req, nil
}

func (c *client) unreachable(err error) error {
	if late, ok := errors.AsType[net.Error](err); ok && late.Timeout() {
		return &exitError{code: exitUnreachable, err: fmt.Errorf(
			"the agent on %s did not answer within %s: it runs, and may still do what it was asked for; see edgeagent status before you ask again",
			c.socket, c.http.Timeout)}
	}
	if urlErr, ok := errors.AsType[*url.Error](err); ok {
		err = urlErr.Err
	}
	return &exitError{code: exitUnreachable, err: fmt.Errorf(
		"no agent answers on %s: %w; is it running (edgeagent run), and may you use the socket?", c.socket, err)}
}

func apiError(status int, data []byte) error {
	var e struct {
		Error struct{ Code, Message string }
	}
	if json.Unmarshal(data, &e) != nil || e.Error.Message == "" {
		return fmt.Errorf("the agent answered %d %s", status, http.StatusText(status))
	}
	return errors.New(printableLines(e.Error.Message))
}
