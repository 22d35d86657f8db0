package status

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"edgeagent"
)

type errorBody struct {
	Error struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
}

// fail answers an error in the shape that every client of the API knows.
func fail(w http.ResponseWriter, status int, code, message string) {
	var body errorBody
	body.Error.Code, body.Error.Message = code, message
	reply(w, status, body)
}

// reply answers one JSON document. The text is for programs and for people
// with curl alike: unescaped, with a line break at the end.
func reply(w http.ResponseWriter, status int, body any) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(true) // a sniffing browser must find no tag even here
	if err := enc.Encode(body); err != nil {
		status = http.StatusInternalServerError
		buf.Reset()
		fmt.Fprintf(&buf, `{"error":{"code":"internal","message":"the answer cannot be written as JSON"}}`+"\n")
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	// A reader that is gone cannot be told so.
	_, _ = w.Write(buf.Bytes())
}

// verdict is how an error looks from outside.
type verdict struct {
	status int
	code   string
}

// judge sorts the errors of [Source] and [Actions].
func judge(err error) verdict {
	switch {
	case errors.Is(err, edgeagent.ErrNotFound), errors.Is(err, edgeagent.ErrBadID):
		return verdict{http.StatusNotFound, "not_found"}
	case errors.Is(err, edgeagent.ErrConflict):
		return verdict{http.StatusConflict, "conflict"}
	case errors.Is(err, edgeagent.ErrFull):
		return verdict{http.StatusInsufficientStorage, "storage_full"}
	case errors.Is(err, ErrInvalid):
		return verdict{http.StatusUnprocessableEntity, "refused"}
	default:
		return verdict{http.StatusInternalServerError, "internal"}
	}
}

// verdict judges err, and knows that nothing can be read or done before the
// data file is open.
func (s *Server) verdict(err error) verdict {
	v := judge(err)
	if v.status == http.StatusInternalServerError && checking(s.opt.Source.Status()) {
		return verdict{http.StatusServiceUnavailable, "checking"}
	}
	return v
}

// failed answers an error of [Source] or [Actions]; what is nobody's mistake
// goes to the log too.
func (s *Server) failed(w http.ResponseWriter, r *http.Request, err error) {
	v := s.verdict(err)
	message := err.Error()
	switch v.code {
	case "checking":
		w.Header().Set("Retry-After", "5")
		message = "the data file is being checked; ask again in a few seconds"
	case "internal":
		s.opt.Log.Error("request not answered", "method", r.Method, "path", r.URL.Path, "err", err)
	}
	fail(w, v.status, v.code, message)
}

// maxBody is how much a request may carry.
const maxBody = 64 << 10

// errBody is a body that cannot be read as what it should be.
type errBody struct {
	verdict
	text string
}

func (e *errBody) Error() string { return e.text }

// decode reads one JSON object strictly: an unknown field is a mistake that
// would otherwise be accepted and ignored. An absent body is an empty object.
func decode(w http.ResponseWriter, r *http.Request, into any) error {
	return decodeUpTo(maxBody, w, r, into)
}

func decodeUpTo(limit int64, w http.ResponseWriter, r *http.Request, into any) error {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	var tooBig *http.MaxBytesError
	switch {
	case errors.As(err, &tooBig):
		return &errBody{verdict{http.StatusRequestEntityTooLarge, "too_large"}, fmt.Sprintf("the body is larger than %d KiB", limit>>10)}
	case err != nil:
		return &errBody{verdict{http.StatusBadRequest, "bad_request"}, "the body could not be read: " + err.Error()}
	case len(bytes.TrimSpace(data)) == 0:
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return &errBody{verdict{http.StatusBadRequest, "bad_request"}, decodeMessage(err)}
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return &errBody{verdict{http.StatusBadRequest, "bad_request"}, "the body holds more than one JSON document"}
	}
	return nil
}

// decodeMessage names the field, not the Go type.
func decodeMessage(err error) string {
	if kind, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		if kind.Field == "" {
			return "the body is a JSON " + kind.Value + "; want an object"
		}
		return fmt.Sprintf("field %q does not take a %s", kind.Field, kind.Value)
	}
	if name, found := strings.CutPrefix(err.Error(), "json: unknown field "); found {
		return "unknown field " + name
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return "the body ends in the middle of a JSON document"
	}
	if _, ok := errors.AsType[*json.SyntaxError](err); ok {
		return "the body is not JSON: " + strings.TrimPrefix(err.Error(), "json: ")
	}
	return strings.TrimPrefix(err.Error(), "json: ")
}

// compress gzips what a handler writes, for readers that take it. It is for
// pages and never for streams, which must leave the buffer at once.
func compress(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Vary", "Accept-Encoding")
		if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Encoding", "gzip")
		zip := gzip.NewWriter(w)
		next.ServeHTTP(gzipped{w, zip}, r)
		// A reader that is gone cannot be told so.
		_ = zip.Close()
	})
}

type gzipped struct {
	http.ResponseWriter
	zip *gzip.Writer
}

// Write compresses p.
func (g gzipped) Write(p []byte) (int, error) { return g.zip.Write(p) }
