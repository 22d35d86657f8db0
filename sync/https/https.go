// Package https posts batches of CloudEvents and takes the answer for the
// receipt: a 2xx that was given after the receiver's commit.
package https

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"edgeagent"
	"edgeagent/internal/dial"
	upsync "edgeagent/sync"
)

// Options are what a [Destination] is made of. URL is required.
type Options struct {
	URL string // http or https
	// Token returns the bearer token, asked for each request so that a changed
	// file takes effect; nil or an empty token sends none.
	Token         func() (string, error)
	CAFile        string        // PEM of the only authorities to trust; empty: the system's
	Timeout       time.Duration // one request with its answer; 0 leaves it to the caller
	ReceiptStatus bool          // a bare 2xx is enough, its body is not read
	UserAgent     string        // default edgeagent
}

// Destination is an HTTP endpoint. Its methods may be called at the same time.
type Destination struct {
	o Options

	mu     sync.Mutex
	client *http.Client // nil until the first request, and again after the peer's certificate was refused
}

// New returns a destination that has neither read a file nor dialled.
func New(o Options) *Destination {
	if o.UserAgent == "" {
		o.UserAgent = "edgeagent"
	}
	return &Destination{o: o}
}

// bodyLimit bounds the answer: a receipt is a few hundred bytes.
const bodyLimit = 1 << 20

// Send posts the batch. Events go out byte for byte as they were written.
func (d *Destination) Send(ctx context.Context, batch []edgeagent.Outgoing) (edgeagent.Receipt, error) {
	if d.o.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.o.Timeout)
		defer cancel()
	}
	client, err := d.ready()
	if err != nil {
		return edgeagent.Receipt{}, &upsync.Error{Class: upsync.Denied, Text: "read ca_file", Err: err}
	}
	req, err := d.request(ctx, batch)
	if err != nil {
		return edgeagent.Receipt{}, &upsync.Error{Class: upsync.Denied, Text: "make the request", Err: err}
	}
	res, err := client.Do(req)
	if err != nil {
		return edgeagent.Receipt{}, d.failed(err)
	}
	defer func() { _ = res.Body.Close() }() // an answer that was read needs no goodbye
	return d.answer(res)
}

// CloseIdleConnections drops what the network may have cut silently.
func (d *Destination) CloseIdleConnections() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.client != nil {
		d.client.CloseIdleConnections()
	}
}

func (d *Destination) request(ctx context.Context, batch []edgeagent.Outgoing) (*http.Request, error) {
	if u, err := url.Parse(d.o.URL); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, errors.New("url: want https://HOST/PATH") // not its text: it may hold a password
	}
	body, err := encode(batch)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.o.URL, bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("url: want https://HOST/PATH")
	}
	// Without GetBody net/http cannot send again by itself what an HTTP/2 server
	// turned away: it would do so at once and for ever, past every pause of ours.
	req.GetBody = nil
	req.Header.Set("Content-Type", "application/cloudevents-batch+json")
	req.Header.Set("Content-Encoding", "gzip")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", d.o.UserAgent)
	return req, d.authorize(req)
}

const bearer = "Bearer "

func (d *Destination) authorize(req *http.Request) error {
	if d.o.Token == nil {
		return nil
	}
	token, err := d.o.Token()
	if err != nil {
		return fmt.Errorf("read the token: %w", err)
	}
	if token = strings.TrimSpace(token); token == "" {
		return nil
	}
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return errors.New("the token holds a space, a line break or a character that no header may hold")
	}
	req.Header.Set("Authorization", bearer+token)
	return nil
}

// encode writes the JSON array by hand: marshalling would rewrite the events.
func encode(batch []edgeagent.Outgoing) ([]byte, error) {
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	sep := "["
	for _, ev := range batch {
		if _, err := io.WriteString(zip, sep); err != nil {
			return nil, fmt.Errorf("compress: %w", err)
		}
		if _, err := zip.Write(ev.Body); err != nil {
			return nil, fmt.Errorf("compress: %w", err)
		}
		sep = ","
	}
	if _, err := io.WriteString(zip, "]"); err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	if err := zip.Close(); err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	return out.Bytes(), nil
}

// ready returns the client, made at the first request: a constructor reads no
// files, and a certificate file that is put right later is read then.
func (d *Destination) ready() (*http.Client, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.client != nil {
		return d.client, nil
	}
	conf, err := dial.TLS(d.o.CAFile)
	if err != nil {
		return nil, err
	}
	transport := dial.Transport(conf)
	transport.MaxIdleConnsPerHost, transport.IdleConnTimeout = 1, 2*time.Minute // one batch in flight, a heartbeat a minute
	d.client = &http.Client{
		Transport: transport,
		// A redirect is an answer of somebody else: a portal, a login page.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return d.client, nil
}

// forget has the next request made by a new client, which reads the
// certificates again.
func (d *Destination) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.client != nil {
		d.client.CloseIdleConnections()
		d.client = nil
	}
}
