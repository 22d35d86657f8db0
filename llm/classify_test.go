package llm_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"edgeagent"
	"edgeagent/llm"
)

func dialError(no syscall.Errno) error {
	return &url.Error{Op: "Post", URL: "https://x/v1", Err: &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", no)}}
}

func readError(no syscall.Errno) error {
	return &url.Error{Op: "Post", URL: "https://x/v1", Err: &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", no)}}
}

func TestTransport(t *testing.T) {
	post := func(err error) error { return &url.Error{Op: "Post", URL: "https://x/v1", Err: err} }
	expired := &tls.CertificateVerificationError{Err: x509.CertificateInvalidError{Reason: x509.Expired, Detail: "current time 1970-01-01 is before 2026"}}
	tests := []struct {
		name    string
		err     error
		class   edgeagent.CallOutcome
		breaker llm.Counting
		retries int
		billed  bool
		says    string
	}{
		{"refused", dialError(syscall.ECONNREFUSED), edgeagent.CallUnreachable, llm.Counted, 1, false, "connection refused"},
		{"no route", dialError(syscall.EHOSTUNREACH), edgeagent.CallUnreachable, llm.Counted, 1, false, "no route to host"},
		{"no network", dialError(syscall.ENETUNREACH), edgeagent.CallUnreachable, llm.Counted, 1, false, "network is unreachable"},
		{"black-hole route", dialError(syscall.EINVAL), edgeagent.CallUnreachable, llm.Counted, 1, false, "invalid argument"},
		{"prohibiting route", dialError(syscall.EACCES), edgeagent.CallUnreachable, llm.Counted, 1, false, "permission denied"},
		{"own firewall", dialError(syscall.EPERM), edgeagent.CallUnreachable, llm.Counted, 1, false, "not permitted"},
		{"route lost while writing", readError(syscall.EPERM), edgeagent.CallUnreachable, llm.Counted, 1, false, "not permitted"},
		{"dial timeout", post(&net.OpError{Op: "dial", Net: "tcp", Err: os.ErrDeadlineExceeded}), edgeagent.CallUnreachable, llm.Counted, 1, false, "cannot be reached"},
		{"no name", post(&net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "x", IsNotFound: true}}), edgeagent.CallUnreachable, llm.Counted, 1, false, "resolved"},
		{"reset", readError(syscall.ECONNRESET), edgeagent.CallTransient, llm.Counted, 1, true, "reset by peer"},
		{"user timeout", readError(syscall.ETIMEDOUT), edgeagent.CallTransient, llm.Counted, 1, true, "no answer in time"},
		{"ping unanswered", post(errors.New("http2: client connection lost")), edgeagent.CallTransient, llm.Counted, 1, true, "connection lost"},
		{"end", post(io.EOF), edgeagent.CallTransient, llm.Counted, 1, true, "the server hung up"},
		{"end midway", post(io.ErrUnexpectedEOF), edgeagent.CallTransient, llm.Counted, 1, true, "the server hung up"},
		{"deadline", post(context.DeadlineExceeded), edgeagent.CallTransient, llm.Counted, 1, true, "no answer in time"},
		{"cancelled", post(context.Canceled), edgeagent.CallAborted, llm.Excluded, 0, true, "given up"},
		{"slow handshake", post(errors.New("net/http: TLS handshake timeout")), edgeagent.CallUnreachable, llm.Counted, 1, false, "TLS handshake"},
		{"unknown authority", post(&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}), edgeagent.CallConfig, llm.Excluded, 0, false, "ca_file"},
		{"wrong clock", post(expired), edgeagent.CallConfig, llm.Excluded, 0, false, "clock here says"},
		{"wrong name", post(x509.HostnameError{Certificate: &x509.Certificate{DNSNames: []string{"y"}}, Host: "x"}), edgeagent.CallConfig, llm.Excluded, 0, false, "not trusted"},
		{"plain HTTP", post(tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}), edgeagent.CallConfig, llm.Excluded, 0, false, "TLS is refused"},
		{"alert", post(fmt.Errorf("remote error: tls: certificate required")), edgeagent.CallConfig, llm.Excluded, 0, false, "certificate required"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := llm.Transport(t.Context(), tt.err)
			if e.Class != tt.class || e.Breaker != tt.breaker || e.Retries != tt.retries || e.Billable != tt.billed {
				t.Errorf("Transport(%v) = %+v", tt.err, e)
			}
			if !strings.Contains(e.Error(), tt.says) || strings.Contains(e.Error(), "https://x/v1") {
				t.Errorf("message %q, want %q in it and no URL", e.Error(), tt.says)
			}
			if tt.class == edgeagent.CallConfig && e.Hold == 0 {
				t.Error("a wrong configuration is not held")
			}
			if !errors.Is(e, tt.err) {
				t.Error("the cause is lost")
			}
		})
	}
}

// A server's own words are stored with the call: whatever it sends, they are short.
func TestServersWordsAreBounded(t *testing.T) {
	long := strings.Repeat("quota\n", 1<<16)
	e := llm.Classify(nil, llm.Said{Status: 500, Code: long, Text: long})
	if len(e.Code) > 310 || len(e.Message) > 400 || strings.Contains(e.Code, "\n") {
		t.Errorf("code of %d bytes, message of %d", len(e.Code), len(e.Message))
	}
}

func TestWatchTellsSilenceFromStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		ctx, w := llm.NewWatch(t.Context(), 60*time.Second, 20*time.Second)
		<-ctx.Done()
		if time.Since(start) != 60*time.Second || !errors.Is(context.Cause(ctx), llm.ErrFirstToken) {
			t.Errorf("ended after %v by %v", time.Since(start), context.Cause(ctx))
		}
		w.Stop()

		start = time.Now()
		ctx, w = llm.NewWatch(t.Context(), 60*time.Second, 20*time.Second)
		for range 5 {
			timer := time.NewTimer(19 * time.Second)
			select {
			case <-ctx.Done():
				t.Fatalf("ended after %v by %v", time.Since(start), context.Cause(ctx))
			case <-timer.C:
				w.Alive()
			}
		}
		<-ctx.Done()
		if time.Since(start) != 115*time.Second || !errors.Is(context.Cause(ctx), llm.ErrStall) {
			t.Errorf("ended after %v by %v", time.Since(start), context.Cause(ctx))
		}
		if e := llm.Transport(ctx, ctx.Err()); e.Class != edgeagent.CallTransient || e.Code != "stall" || e.Retries != 1 {
			t.Errorf("stall = %+v", e)
		}
		w.Stop()

		ctx, w = llm.NewWatch(t.Context(), 0, 20*time.Second)
		w.Stop()
		if e := llm.Transport(ctx, ctx.Err()); e.Class != edgeagent.CallAborted {
			t.Errorf("stopped watch = %+v", e)
		}
	})
}

func TestRetryAfterHeader(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	tests := []struct {
		name, value, ms string
		want            time.Duration
	}{
		{"absent", "", "", 0},
		{"zero", "0", "", 0},
		{"fraction", "0.25", "", 250 * time.Millisecond},
		{"seconds", "7", "", 7 * time.Second},
		{"blanks", " 7 ", "", 7 * time.Second},
		{"future date", now.Add(90 * time.Second).Format(http.TimeFormat), "", 90 * time.Second},
		{"past date", now.Add(-90 * time.Second).Format(http.TimeFormat), "", 0},
		{"far date", now.AddDate(10, 0, 0).Format(http.TimeFormat), "", 0},
		{"not a number", "NaN", "", 0},
		{"infinite", "+Inf", "", 0},
		{"absurd", "1e100", "", 0},
		{"overflows", "1e309", "", 0},
		{"negative", "-5", "", 0},
		{"words", "soon", "", 0},
		{"two hours", "7200", "", time.Hour},
		{"two days", "172800", "", 0},
		{"milliseconds win", "30", "1500", 1500 * time.Millisecond},
		{"bad milliseconds", "30", "NaN", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := http.Header{}
			if tt.value != "" {
				h.Set("Retry-After", tt.value)
			}
			if tt.ms != "" {
				h.Set("Retry-After-Ms", tt.ms)
			}
			if got := llm.RetryAfter(h, now); got != tt.want {
				t.Errorf("RetryAfter = %v, want %v", got, tt.want)
			}
		})
	}
}

func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"7", "0.25", "NaN", "1e100", "-1", "Sun, 22 Nov 2026 12:00:00 GMT"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		h := http.Header{"Retry-After": {s}, "Retry-After-Ms": {""}}
		if d := llm.RetryAfter(h, time.Unix(1_800_000_000, 0)); d < 0 || d > time.Hour {
			t.Errorf("RetryAfter(%q) = %v", s, d)
		}
	})
}

func FuzzOneLine(f *testing.F) {
	f.Add("a\r\nb\x00\u202ec")
	f.Add(strings.Repeat("ü", 400))
	f.Fuzz(func(t *testing.T, s string) {
		out := llm.OneLine(s)
		if !utf8.ValidString(out) || utf8.RuneCountInString(out) > 300 || strings.ContainsAny(out, "\r\n\x00\x1b\u202e\u200b") {
			t.Errorf("OneLine(%q) = %q", s, out)
		}
	})
}
