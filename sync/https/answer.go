package https

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"edgeagent"
	upsync "edgeagent/sync"
)

// answer turns an answer into a receipt or an error with its class.
func (d *Destination) answer(res *http.Response) (edgeagent.Receipt, error) {
	if res.StatusCode/100 != 2 {
		return edgeagent.Receipt{}, refusal(res)
	}
	if d.o.ReceiptStatus {
		if res.ContentLength >= 0 && res.ContentLength < 64<<10 { // read, the connection can be used again
			_, _ = io.Copy(io.Discard, res.Body)
		}
		return edgeagent.Receipt{}, nil
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, bodyLimit+1))
	if err != nil {
		return edgeagent.Receipt{}, d.failed(fmt.Errorf("read the receipt: %w", err))
	}
	if len(body) > bodyLimit {
		return edgeagent.Receipt{}, &upsync.Error{Class: upsync.NotReceipt, Status: res.StatusCode, Text: "the answer is over 1 MiB: a receipt is a few hundred bytes"}
	}
	r, err := upsync.ParseReceipt(body)
	if err == nil {
		return r, nil
	}
	if cut(body) {
		return edgeagent.Receipt{}, &upsync.Error{Class: upsync.NoAnswer, Status: res.StatusCode, Text: "the receipt was cut", Err: err}
	}
	return edgeagent.Receipt{}, &upsync.Error{Class: upsync.NotReceipt, Status: res.StatusCode,
		Text: fmt.Sprintf("%d without a receipt (%s): a proxy or portal answers in the upstream's place, or it stores nothing", res.StatusCode, excerpt(withoutToken(res, body))), Err: err}
}

// cut reports whether body is the beginning of a JSON object: the connection
// ended early, which proves nothing about who answered.
func cut(body []byte) bool {
	body = bytes.TrimSpace(body)
	var syntax *json.SyntaxError
	err := json.Unmarshal(body, new(any))
	return bytes.HasPrefix(body, []byte("{")) && errors.As(err, &syntax) && syntax.Offset == int64(len(body)) &&
		syntax.Error() == "unexpected end of JSON input"
}

// refusal classifies an answer that is no 2xx.
func refusal(res *http.Response) *upsync.Error {
	e := &upsync.Error{Status: res.StatusCode, Class: class(res.StatusCode), Text: strings.TrimSpace(strconv.Itoa(res.StatusCode) + " " + http.StatusText(res.StatusCode))}
	if res.StatusCode/100 == 3 {
		e.Text += ": a proxy or portal answers in the upstream's place" + elsewhere(res)
		return e
	}
	if e.Class == upsync.Busy {
		e.RetryAfter = retryAfter(res.Header, time.Now())
	}
	// The explanation is worth a look, never a failure of its own.
	if body, err := io.ReadAll(io.LimitReader(res.Body, 4<<10)); err == nil && len(body) > 0 {
		e.Text += ": " + excerpt(withoutToken(res, body))
	}
	return e
}

// withoutToken takes our token out of an answer: some repeat it when they refuse
// it, and what they say stands on the page, in the log and in gap events.
func withoutToken(res *http.Response, body []byte) []byte {
	token := strings.TrimPrefix(res.Request.Header.Get("Authorization"), bearer)
	if token == "" {
		return body
	}
	return bytes.ReplaceAll(body, []byte(token), []byte("[token]"))
}

func class(status int) upsync.Class {
	switch {
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly, status == http.StatusTooManyRequests, status/100 == 5:
		return upsync.Busy
	case status == http.StatusBadRequest, status == http.StatusUnprocessableEntity:
		return upsync.Unfit
	case status == http.StatusRequestEntityTooLarge:
		return upsync.TooLarge
	case status == http.StatusConflict:
		return upsync.Conflict
	case status/100 == 3:
		return upsync.NotReceipt
	default:
		return upsync.Denied
	}
}

// elsewhere names the host of a redirect: it tells a person whose portal it is.
func elsewhere(res *http.Response) string {
	to, err := res.Location()
	if err != nil || to.Host == "" {
		return ""
	}
	return " and sends us to " + excerpt([]byte(to.Host))
}

// retryAfter reads seconds or a date; 0 for none or nonsense.
func retryAfter(h http.Header, now time.Time) time.Duration {
	v := strings.TrimSpace(h.Get("Retry-After"))
	if s, err := strconv.ParseUint(v, 10, 31); err == nil {
		return time.Duration(s) * time.Second
	}
	at, err := http.ParseTime(v)
	if err != nil {
		return 0
	}
	// By the clock of who answered: ours may be in 1970.
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		now = date
	}
	return max(at.Sub(now), 0)
}

// excerpt makes what a stranger wrote fit for one line of the page.
func excerpt(body []byte) string {
	text := strings.ToValidUTF8(string(body[:min(len(body), 400)]), "")
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " ")
	if len(text) > 160 {
		text = strings.ToValidUTF8(text[:160], "") + "…"
	}
	if text == "" {
		return "empty answer"
	}
	return text
}

// failed classifies a request without a whole answer. Everything that a
// network can do is the network's; only what the peer's certificate says about
// itself needs a person.
func (d *Destination) failed(err error) *upsync.Error {
	d.CloseIdleConnections()
	if from, ok := errors.AsType[*url.Error](err); ok {
		err = from.Err // its text holds the URL, and that may hold a password
	}
	if text := distrust(err); text != "" {
		d.forget()
		return &upsync.Error{Class: upsync.Denied, Text: text, Err: err}
	}
	var timeout net.Error
	late := errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
	return &upsync.Error{Class: upsync.NoAnswer, Timeout: late, Text: "no answer", Err: err}
}

// distrust says why TLS was refused, or nothing. A certificate that is not yet
// valid is no reason to stop: on a board without a battery clock it is the
// agent that lives in 1970, until time is synchronised.
func distrust(err error) string {
	var invalid x509.CertificateInvalidError
	if errors.As(err, &invalid) && invalid.Reason == x509.Expired && time.Now().Before(invalid.Cert.NotBefore) {
		return ""
	}
	var verify *tls.CertificateVerificationError
	var remote *net.OpError
	var header tls.RecordHeaderError
	switch {
	case errors.As(err, &verify):
		return "the upstream's certificate is not trusted: check ca_file and the host name"
	case errors.As(err, &remote) && remote.Op == "remote error": // crypto/tls's name for an alert of the peer
		return "the upstream refused the TLS connection"
	case errors.As(err, &header), errors.Is(err, http.ErrSchemeMismatch):
		return "the upstream does not speak TLS on this port"
	}
	return ""
}
