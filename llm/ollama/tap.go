package ollama

import (
	"errors"
	"io"
	"net/http"
	"time"

	"edgeagent/llm"
)

// errTooLong ends the reading of an answer beyond [llm.MaxBody].
var errTooLong = errors.New("answer larger than 1 MiB")

// tap keeps what the client library loses of an answer: status, headers, the
// first bytes, and how much came. It belongs to one request.
type tap struct {
	next   http.RoundTripper
	watch  *llm.Watch
	status int
	header http.Header
	head   []byte // the first bytes of the body
	total  int
}

// maxHead is enough for an error object or the start of a page, in bytes.
const maxHead = 2048

// RoundTrip implements [http.RoundTripper]. Without GetBody net/http cannot send
// by itself again what a server has seen and refused: it does so without end.
func (t *tap) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.WithContext(r.Context())
	r.GetBody = nil
	resp, err := t.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	t.status, t.header = resp.StatusCode, resp.Header
	resp.Body = &tapped{tap: t, body: resp.Body}
	return resp, nil
}

func (t *tap) requestID() string {
	if t.header == nil {
		return ""
	}
	return llm.OneLine(t.header.Get("X-Request-Id"))
}

func (t *tap) retryAfter() time.Duration {
	if t.header == nil {
		return 0
	}
	return llm.RetryAfter(t.header, time.Now())
}

type tapped struct {
	tap  *tap
	body io.ReadCloser
}

func (b *tapped) Read(p []byte) (int, error) {
	t := b.tap
	if t.total >= llm.MaxBody {
		return 0, errTooLong
	}
	n, err := b.body.Read(p[:min(len(p), llm.MaxBody-t.total)])
	if n > 0 {
		t.watch.Alive()
		t.total += n
		t.head = append(t.head, p[:min(n, maxHead-len(t.head))]...)
	}
	return n, err
}

func (b *tapped) Close() error { return b.body.Close() }
