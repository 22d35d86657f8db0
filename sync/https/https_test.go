package https

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"edgeagent"
	upsync "edgeagent/sync"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const epoch = edgeagent.ID("01K0000000000000000000000A")

const receipt = `{"epoch":"01K0000000000000000000000A","contig":{"alarm":2},"resend":[{"stream":"alarm","from":1,"to":1}]}`

// The spaces and the order of keys would not survive marshalling.
var twoAlarms = []edgeagent.Outgoing{
	{Epoch: epoch, Stream: edgeagent.StreamAlarm, Sequence: 1, Body: []byte(`{ "id":"a", "data":{"z":1,"a":"<&>"}}`)},
	{Epoch: epoch, Stream: edgeagent.StreamAlarm, Sequence: 2, Body: []byte(`{"id" :"b","n":1.0}`)},
}

// dest returns a destination for o that leaves no connection behind.
func dest(t *testing.T, o Options) *Destination {
	t.Helper()
	d := New(o)
	t.Cleanup(d.CloseIdleConnections)
	return d
}

// served answers one POST to a real server by h.
func served(t *testing.T, o Options, h http.HandlerFunc) (edgeagent.Receipt, error) {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	if o.URL = srv.URL + "/events"; o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	return dest(t, o).Send(t.Context(), twoAlarms)
}

func classOf(err error) upsync.Class {
	if e, ok := errors.AsType[*upsync.Error](err); ok {
		return e.Class
	}
	return ""
}

func TestWire(t *testing.T) {
	r, err := served(t, Options{Token: func() (string, error) { return "s3cret\n", nil }}, func(w http.ResponseWriter, req *http.Request) {
		for name, want := range map[string]string{"Content-Type": "application/cloudevents-batch+json", "Content-Encoding": "gzip",
			"Authorization": "Bearer s3cret", "User-Agent": "edgeagent", "Accept-Encoding": "", "Idempotency-Key": ""} {
			if got := req.Header.Get(name); got != want {
				t.Errorf("%s = %q, want %q", name, got, want)
			}
		}
		zip, err := gzip.NewReader(req.Body)
		if err != nil {
			t.Error(err)
			return
		}
		body, err := io.ReadAll(zip)
		if want := "[" + string(twoAlarms[0].Body) + "," + string(twoAlarms[1].Body) + "]"; string(body) != want || err != nil {
			t.Errorf("body = %s, %v; want %s", body, err, want)
		}
		if !json.Valid(body) || req.Method != http.MethodPost || req.ContentLength <= 0 {
			t.Errorf("%s of %d bytes, valid %v", req.Method, req.ContentLength, json.Valid(body))
		}
		_, _ = io.WriteString(w, receipt)
	})
	if err != nil || r.Epoch != epoch || r.Contig[edgeagent.StreamAlarm] != 2 || len(r.Resend) != 1 {
		t.Errorf("receipt = %+v, %v", r, err)
	}
}

func answer(status int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// answers is the contract's table, and what strangers answer.
var answers = []struct {
	name   string
	answer http.HandlerFunc
	class  upsync.Class
	text   string
}{
	{"200 with a receipt", answer(200, receipt), "", ""},
	{"202 with a receipt", answer(202, receipt), "", ""},
	{"204", answer(204, ""), upsync.NotReceipt, "204 without a receipt (empty answer)"},
	{"captive portal", answer(200, "<html>\n<h1>Welcome to HotelWiFi</h1>"), upsync.NotReceipt, "(<html> <h1>Welcome to HotelWiFi</h1>): a proxy or portal"},
	{"json of somebody else", answer(200, `{"status":"ok"}`), upsync.NotReceipt, "without a receipt"},
	{"receipt with a beginning in front", answer(200, ")]}'"+receipt), upsync.NotReceipt, "without a receipt"},
	{"receipt cut by whoever wrote it", answer(200, receipt[:40]), upsync.NoAnswer, "the receipt was cut"},
	{"answer without end", answer(200, strings.Repeat(" ", bodyLimit+1)), upsync.NotReceipt, "over 1 MiB"},
	{"301", answer(301, "", "Location", "https://login.example/x"), upsync.NotReceipt, "and sends us to login.example"},
	{"302 with a receipt in it", answer(302, receipt, "Location", "/portal"), upsync.NotReceipt, "a proxy or portal answers"},
	{"307", answer(307, "", "Location", "/elsewhere"), upsync.NotReceipt, "a proxy or portal answers"},
	{"308 without location", answer(308, ""), upsync.NotReceipt, "a proxy or portal answers"},
	{"400", answer(400, `{"error":"no such field"}`), upsync.Unfit, `400 Bad Request: {"error":"no such field"}`},
	{"401", answer(401, ""), upsync.Denied, "401 Unauthorized"},
	{"403", answer(403, ""), upsync.Denied, "403 Forbidden"},
	{"404", answer(404, ""), upsync.Denied, "404 Not Found"},
	{"405", answer(405, ""), upsync.Denied, "405"},
	{"407", answer(407, ""), upsync.Denied, "407"},
	{"408", answer(408, ""), upsync.Busy, "408"},
	{"409", answer(409, "alarm 3 was other bytes"), upsync.Conflict, "409 Conflict: alarm 3 was other bytes"},
	{"413", answer(413, ""), upsync.TooLarge, "413"},
	{"415", answer(415, ""), upsync.Denied, "415"},
	{"422", answer(422, ""), upsync.Unfit, "422"},
	{"425", answer(425, ""), upsync.Busy, "425"},
	{"429", answer(429, ""), upsync.Busy, "429"},
	{"500", answer(500, ""), upsync.Busy, "500"},
	{"502 of a proxy", answer(502, "<html>bad gateway"), upsync.Busy, "502"},
	{"503", answer(503, ""), upsync.Busy, "503"},
	{"599", answer(599, ""), upsync.Busy, "599"},
	{"hostile text", answer(400, "\x1b[2J\x00\xff\n\n  x"+strings.Repeat("é", 500)), upsync.Unfit, "400 Bad Request: [2J x"},
}

func TestEveryAnswerHasItsClass(t *testing.T) {
	for _, tt := range answers {
		t.Run(tt.name, func(t *testing.T) {
			calls := 0
			r, err := served(t, Options{}, func(w http.ResponseWriter, req *http.Request) { calls++; tt.answer(w, req) })
			if classOf(err) != tt.class || (err == nil) != (tt.class == "") {
				t.Errorf("Send = %v (%s), want class %q", err, classOf(err), tt.class)
			}
			if err != nil && (!strings.Contains(err.Error(), tt.text) || len(err.Error()) > 400 || strings.ContainsAny(err.Error(), "\x1b\x00\n\uFFFD") || r.Epoch != "") {
				t.Errorf("error %q with receipt %+v, want it to hold %q", err, r, tt.text)
			}
			if calls != 1 {
				t.Errorf("%d requests, want 1: nothing is followed or repeated here", calls)
			}
		})
	}
}

func TestAnswerThatRepeatsTheTokenDoesNotTellIt(t *testing.T) {
	o := Options{Token: func() (string, error) { return "pa55w0rd", nil }}
	for _, status := range []int{200, 400, 401, 503} {
		_, err := served(t, o, func(w http.ResponseWriter, req *http.Request) {
			w.WriteHeader(status)
			fmt.Fprintf(w, "not accepted: %s", req.Header.Get("Authorization"))
		})
		if err == nil || strings.Contains(err.Error(), "pa55") || !strings.Contains(err.Error(), "not accepted: Bearer [token]") {
			t.Errorf("%d: %v", status, err)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(1970, 1, 1, 0, 0, 9, 0, time.UTC)
	tests := []struct {
		value, date string
		want        time.Duration
	}{
		{"120", "", 2 * time.Minute},
		{" 7 ", "", 7 * time.Second},
		{"0", "", 0},
		{"-5", "", 0},
		{"soon", "", 0},
		{"99999999999999999999", "", 0},
		{"2147483647", "", 2147483647 * time.Second}, // bounded by who waits
		{"Sun, 22 Nov 2026 12:01:00 GMT", "Sun, 22 Nov 2026 12:00:00 GMT", time.Minute},
		{"Sun, 22 Nov 2026 11:00:00 GMT", "Sun, 22 Nov 2026 12:00:00 GMT", 0},
		{"Thu, 01 Jan 1970 00:00:19 GMT", "", 10 * time.Second},
	}
	for _, tt := range tests {
		h := http.Header{"Retry-After": {tt.value}}
		if tt.date != "" {
			h.Set("Date", tt.date)
		}
		if got := retryAfter(h, now); got != tt.want {
			t.Errorf("Retry-After %q = %v, want %v", tt.value, got, tt.want)
		}
	}
	_, err := served(t, Options{}, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "30")
		w.WriteHeader(429)
	})
	if e, ok := errors.AsType[*upsync.Error](err); !ok || e.RetryAfter != 30*time.Second || e.Status != 429 {
		t.Errorf("Send = %+v", err)
	}
}

func TestBareStatus(t *testing.T) {
	for _, body := range []string{"", "thanks", "<html>"} {
		r, err := served(t, Options{ReceiptStatus: true}, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) })
		if err != nil || r.Epoch != "" {
			t.Errorf("Send = %+v, %v; want the zero receipt", r, err)
		}
	}
}
