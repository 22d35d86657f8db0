package llm

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"time"

	"edgeagent"
)

// How long a provider is left alone after failures that time alone, or a
// person, can mend.
const (
	HoldAuth        = 15 * time.Minute
	HoldModel       = 15 * time.Minute
	HoldQuota       = time.Hour
	HoldMemory      = 10 * time.Minute
	HoldCertificate = time.Minute // a Pi gets its time from the network, soon
	HoldKey         = time.Minute // looking for a key costs nothing
)

// Row is one line of a provider's table: which answers it is about, and what
// they mean. Empty conditions match everything; the first row that matches
// decides.
type Row struct {
	Status  []int    // any of these
	Words   []string // any of these in code, type or message, in lower case
	All     []string // all of these as well
	Class   edgeagent.CallOutcome
	Message string // for a person; the server's own words follow
	Policy
}

// Said is what a server said of a failure.
type Said struct {
	Status           int
	Code, Type, Text string
}

// Match returns the failure by the first row of table that matches said, or
// nil when none does.
func Match(table []Row, said Said) *Error {
	text := strings.ToLower(said.Code + " " + said.Type + " " + said.Text)
	for _, row := range table {
		if row.matches(said.Status, text) {
			return row.failure(said)
		}
	}
	return nil
}

// Classify is [Match] with an end: what no row knows is transient, counted and
// retried once.
func Classify(table []Row, said Said) *Error {
	if e := Match(table, said); e != nil {
		return e
	}
	return Row{Class: edgeagent.CallTransient, Message: "unexpected answer", Policy: once}.failure(said)
}

func (r Row) matches(status int, text string) bool {
	if len(r.Status) > 0 && !slices.Contains(r.Status, status) {
		return false
	}
	in := func(word string) bool { return strings.Contains(text, word) }
	if len(r.Words) > 0 && !slices.ContainsFunc(r.Words, in) {
		return false
	}
	return !slices.ContainsFunc(r.All, func(word string) bool { return !in(word) })
}

func (r Row) failure(said Said) *Error {
	e := &Error{Class: r.Class, Status: said.Status, Code: OneLine(cmp.Or(said.Code, said.Type)), Message: r.Message, Policy: r.Policy}
	if text := OneLine(said.Text); text != "" {
		e.Message += ": " + text
	}
	return e
}

// once retries a failure of the way or the service, and counts it.
var once = Policy{Retries: 1, Breaker: Counted}

// errnos that mean "no way there", whatever the call that met them. EINVAL is
// what Linux says for a black-hole route, EACCES for a prohibiting one, EPERM
// for a firewall on our own side.
var noWay = []syscall.Errno{
	syscall.EINVAL, syscall.EACCES, syscall.EPERM, syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.ENETDOWN,
	syscall.EADDRNOTAVAIL, syscall.ECONNREFUSED,
}

// Transport classifies a request that got no whole answer: err is what
// net/http returned, ctx the context it ran under. It is one table for every
// provider, because the network does not know which model is behind it.
func Transport(ctx context.Context, err error) *Error {
	if refused, ok := errors.AsType[*proxyRefusal](err); ok {
		return refused.failure()
	}
	for _, row := range transportRows {
		if row.is(ctx, err) {
			e := &Error{Class: row.class, Code: row.code, Message: row.message(err), Policy: row.policy, Billable: row.billable, Err: err}
			return e
		}
	}
	return &Error{Class: edgeagent.CallTransient, Code: "network", Message: OneLine(cause(err)), Policy: once, Billable: true, Err: err}
}

// neverThere corrects the class of a request for which there never was a
// connection: whatever ended the handshake, nothing was sent that costs money.
func (e *Error) neverThere() {
	e.Billable = false
	if e.Class == edgeagent.CallTransient {
		e.Class, e.Message = edgeagent.CallUnreachable, "cannot be reached: "+e.Message
	}
}

type transportRow struct {
	code     string
	is       func(ctx context.Context, err error) bool
	class    edgeagent.CallOutcome
	policy   Policy
	billable bool // the request may have reached a model
	message  func(err error) string
}

var transportRows = []transportRow{
	{code: "stall", is: endedBy(ErrStall), class: edgeagent.CallTransient, policy: once, billable: true, message: text("the answer stalled midway")},
	{code: "first_token", is: endedBy(ErrFirstToken), class: edgeagent.CallTransient, policy: once, billable: true, message: text("no word within first_token_timeout: the model hangs, or is too slow for it")},
	{code: "aborted", is: cancelled, class: edgeagent.CallAborted, policy: Policy{Breaker: Excluded}, billable: true, message: text("given up by the agent")},
	{code: "certificate", is: badCertificate, class: edgeagent.CallConfig, policy: Policy{Hold: HoldCertificate}, message: certificateHint},
	{code: "client_cert", is: failedOn(errClientCert), class: edgeagent.CallConfig, policy: Policy{Hold: HoldCertificate}, message: func(err error) string { return OneLine(cause(err)) }},
	{code: "tls", is: badTLS, class: edgeagent.CallConfig, policy: Policy{Hold: HoldCertificate}, message: prefixed("TLS is refused, check base_url, ca_file and proxy")},
	{code: "tls_closed", is: says("client conn could not be established"), class: edgeagent.CallUnreachable, policy: once, message: text("the server hung up after the TLS handshake: it may want client_cert_file")},
	{code: "dns", is: as[*net.DNSError], class: edgeagent.CallUnreachable, policy: once, message: prefixed("the name cannot be resolved")},
	{code: "dial", is: dialing, class: edgeagent.CallUnreachable, policy: once, message: prefixed("cannot be reached")},
	{code: "no_way", is: hasErrno, class: edgeagent.CallUnreachable, policy: once, message: prefixed("cannot be reached")},
	{code: "tls_timeout", is: says("tls handshake timeout"), class: edgeagent.CallUnreachable, policy: once, message: text("cannot be reached: no answer to the TLS handshake")},
	{code: "network", is: hungUp, class: edgeagent.CallTransient, policy: once, billable: true, message: text("the server hung up before it had answered")},
	{code: "timeout", is: timedOut, class: edgeagent.CallTransient, policy: once, billable: true, message: text("no answer in time")},
}

func text(s string) func(error) string { return func(error) string { return s } }

func prefixed(s string) func(error) string {
	return func(err error) string { return s + ": " + OneLine(cause(err)) }
}

func endedBy(target error) func(context.Context, error) bool {
	return func(ctx context.Context, _ error) bool { return errors.Is(context.Cause(ctx), target) }
}

func failedOn(target error) func(context.Context, error) bool {
	return func(_ context.Context, err error) bool { return errors.Is(err, target) }
}

func hungUp(_ context.Context, err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

func cancelled(ctx context.Context, err error) bool {
	return errors.Is(ctx.Err(), context.Canceled) || errors.Is(err, context.Canceled)
}

func timedOut(_ context.Context, err error) bool {
	var t interface{ Timeout() bool }
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &t) && t.Timeout()
}

func as[T error](_ context.Context, err error) bool {
	var target T
	return errors.As(err, &target)
}

func says(words string) func(context.Context, error) bool {
	return func(_ context.Context, err error) bool { return strings.Contains(strings.ToLower(err.Error()), words) }
}

func dialing(_ context.Context, err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && (op.Op == "dial" || op.Op == "proxyconnect")
}

func hasErrno(_ context.Context, err error) bool {
	return slices.ContainsFunc(noWay, func(no syscall.Errno) bool { return errors.Is(err, no) })
}

func badCertificate(ctx context.Context, err error) bool {
	return as[*tls.CertificateVerificationError](ctx, err) || as[x509.UnknownAuthorityError](ctx, err) ||
		as[x509.CertificateInvalidError](ctx, err) || as[x509.HostnameError](ctx, err)
}

func badTLS(ctx context.Context, err error) bool {
	return as[tls.RecordHeaderError](ctx, err) || as[tls.AlertError](ctx, err) ||
		says("remote error: tls:")(ctx, err) || says("server gave http response to https client")(ctx, err)
}

// certificateHint names the clock, because a box without one of its own starts
// in the past and then every certificate looks wrong.
func certificateHint(err error) string {
	var invalid x509.CertificateInvalidError
	if errors.As(err, &invalid) && invalid.Reason == x509.Expired {
		return fmt.Sprintf("the certificate is not valid now: the clock here says %s, check it: %s",
			time.Now().Format("2006-01-02 15:04"), OneLine(cause(err)))
	}
	return "the certificate is not trusted, check ca_file and the clock: " + OneLine(cause(err))
}

// cause strips net/http's "Post "https://…": ", which repeats the URL.
func cause(err error) string {
	if op, ok := errors.AsType[interface {
		Temporary() bool
		Unwrap() error
		error
	}](err); ok {
		if inner := op.Unwrap(); inner != nil && strings.HasSuffix(op.Error(), inner.Error()) {
			return inner.Error()
		}
	}
	return err.Error()
}

// IsHTML reports whether a body is a page for people: a captive portal or a
// proxy answers instead of the API.
func IsHTML(contentType string, body []byte) bool {
	return strings.Contains(strings.ToLower(contentType), "html") || bytes.HasPrefix(bytes.TrimSpace(body), []byte("<"))
}

// Portal is the failure of a request that something else answered.
func Portal(status int, detail string) *Error {
	e := &Error{Class: edgeagent.CallUnreachable, Status: status, Code: "portal",
		Message: "a proxy answers instead of the API", Policy: Policy{Breaker: Counted}}
	if detail = OneLine(detail); detail != "" {
		e.Message += ": " + detail
	}
	return e
}

// maxMessage is how much of a server's words is kept, in characters.
const maxMessage = 300

// OneLine makes a server's words fit for a log line and a page: one line of at
// most 300 characters, without those that nobody sees.
func OneLine(s string) string {
	return edgeagent.OneLine(s[:min(len(s), 16*maxMessage)], maxMessage) // a body can be a megabyte
}
