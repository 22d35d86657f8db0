package llmtest

import (
	"bufio"
	"compress/gzip"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"edgeagent"
	"edgeagent/llm"
)

// bomb is a page of packed zeros: 64 MiB in 64 KiB.
func bomb(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Encoding", "gzip")
	z := gzip.NewWriter(w)
	zeros := make([]byte, 1<<20)
	for range 64 {
		_, _ = z.Write(zeros)
	}
	_ = z.Close()
}

// flood sends headers until the client has enough.
func flood(w http.ResponseWriter, _ *http.Request) {
	for i := range 400 {
		w.Header().Set(fmt.Sprintf("X-Flood-%d", i), strings.Repeat("x", 4096))
	}
	w.WriteHeader(http.StatusOK)
}

// ocean is an answer of 200 MB in one event.
func ocean(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	_, _ = io.WriteString(w, "data: ")
	piece := []byte(strings.Repeat("x", 1<<20))
	for range 200 {
		if _, err := w.Write(piece); err != nil || r.Context().Err() != nil {
			return
		}
	}
}

// testOcean holds a provider to what it may keep of an answer.
func testOcean(t *testing.T, wire Wire, newProvider func(string) llm.Provider) {
	s := NewServer(t, wire, ocean)
	p := newProvider(s.BaseURL())
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := p.Ask(t.Context(), question)
	runtime.ReadMemStats(&after)
	if e := failure(t, err); e.Class != edgeagent.CallOutput && e.Class != edgeagent.CallTransient {
		t.Errorf("failure = %+v, want a useless answer or a cut one", e)
	}
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 32<<20 {
		t.Errorf("an answer without end cost %d MiB of memory", grown>>20)
	}
	if n := len(s.Asked()); n != 1 {
		t.Errorf("server saw %d requests, want 1", n)
	}
}

// testIdleClosed has a server close its connection at the moment of the next
// request. Whether that was read nobody knows: it is one failed call, and is not
// sent again by itself.
func testIdleClosed(t *testing.T, wire Wire, newProvider func(string) llm.Provider) {
	var seen atomic.Int32
	url := listen(t, func(c net.Conn) {
		requests := bufio.NewReader(c)
		for n := 1; ; n++ {
			r, err := http.ReadRequest(requests)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, r.Body)
			if seen.Add(1); n > 1 {
				return
			}
			_, _ = io.WriteString(c, wire.canned())
		}
	})
	p := newProvider(url + wire.Base)
	defer hangUp(p)
	if _, err := p.Ask(t.Context(), question); err != nil {
		t.Fatal(err)
	}
	_, err := p.Ask(t.Context(), question)
	if e := failure(t, err); e.Class != edgeagent.CallTransient && e.Class != edgeagent.CallUnreachable || e.Breaker != llm.Counted || e.Retries != 1 {
		t.Errorf("failure = %+v, want one counted and tried again by the router", e)
	}
	if n := seen.Load(); n != 2 {
		t.Errorf("server saw %d requests for 2 calls", n)
	}
}

// hangUp lets go of what a provider keeps open, for which a server waits.
func hangUp(p llm.Provider) {
	if c, ok := p.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// canned is a good answer as bytes on a connection that stays open.
func (wire Wire) canned() string {
	w := &recorded{header: http.Header{}}
	wire.reply(w, fine, true)
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", w.header.Get("Content-Type"), w.body.Len(), w.body.String())
}

type recorded struct {
	header http.Header
	body   strings.Builder
}

// Header implements [http.ResponseWriter].
func (r *recorded) Header() http.Header { return r.header }

// Write implements [http.ResponseWriter].
func (r *recorded) Write(p []byte) (int, error) { return r.body.Write(p) }

// WriteHeader implements [http.ResponseWriter].
func (r *recorded) WriteHeader(int) {}

// The frames of HTTP/2 that a rude server needs.
const (
	frameData     = 0x0
	frameHeaders  = 0x1
	frameReset    = 0x3
	frameSettings = 0x4
	framePing     = 0x6
	frameGoAway   = 0x7

	endHeaders = 0x4

	internalError = 2
	refusedStream = 7
)

// h2 is one connection of a server that speaks just enough HTTP/2 to be rude.
type h2 struct {
	net.Conn
	seen *atomic.Int32
}

func (c h2) frame(kind, flags byte, stream uint32, payload []byte) {
	head := []byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), kind, flags, 0, 0, 0, 0}
	binary.BigEndian.PutUint32(head[5:], stream)
	_, _ = c.Write(append(head, payload...))
}

func (c h2) reset(stream, code uint32) {
	c.frame(frameReset, 0, stream, binary.BigEndian.AppendUint32(nil, code))
}

// goAway says that every stream above last was never looked at.
func (c h2) goAway(last uint32) {
	c.frame(frameGoAway, 0, 0, append(binary.BigEndian.AppendUint32(nil, last), 0, 0, 0, 0))
}

// begin sends 200 and half an answer.
func (c h2) begin(stream uint32) {
	c.frame(frameHeaders, endHeaders, stream, []byte{0x88}) // :status 200 of the static table
	c.frame(frameData, 0, stream, []byte("data: {\"choices\":[{\"delta\":{\"content\":\"ha"))
}

// serve counts the requests and answers each by do, until do says that it hangs up.
func (c h2) serve(do func(c h2, stream uint32) (hangUp bool)) {
	if _, err := io.ReadFull(c, make([]byte, len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))); err != nil {
		return
	}
	c.frame(frameSettings, 0, 0, nil)
	head := make([]byte, 9)
	for {
		if _, err := io.ReadFull(c, head); err != nil {
			return
		}
		payload := make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
		if _, err := io.ReadFull(c, payload); err != nil {
			return
		}
		switch stream := binary.BigEndian.Uint32(head[5:]); {
		case head[3] == frameSettings && head[4] == 0:
			c.frame(frameSettings, 1, 0, nil)
		case head[3] == framePing && head[4] == 0:
			c.frame(framePing, 1, 0, payload)
		case head[3] == frameHeaders:
			c.seen.Add(1)
			if do(c, stream) {
				return
			}
		}
	}
}

// testHTTP2 has a server break off by the means of HTTP/2, by some of which it
// claims not to have looked at the request. It has been seen all the same: each
// is one failed call, and net/http does not send it again by itself.
func testHTTP2(t *testing.T, newProvider Reached) {
	tests := map[string]func(c h2, stream uint32) bool{
		"GOAWAY instead of an answer":   func(c h2, _ uint32) bool { c.goAway(0); return false },
		"refused stream":                func(c h2, stream uint32) bool { c.reset(stream, refusedStream); return false },
		"reset stream":                  func(c h2, stream uint32) bool { c.reset(stream, internalError); return false },
		"reset midway":                  func(c h2, stream uint32) bool { c.begin(stream); c.reset(stream, internalError); return false },
		"GOAWAY midway, then hangs up":  func(c h2, stream uint32) bool { c.begin(stream); c.goAway(stream); return true },
		"refused midway":                func(c h2, stream uint32) bool { c.begin(stream); c.reset(stream, refusedStream); return false },
		"hangs up without another word": func(h2, uint32) bool { return true },
		"headers that cannot be read": func(c h2, stream uint32) bool {
			c.frame(frameHeaders, endHeaders, stream, []byte{0xff, 0xff})
			return false
		},
		"data before headers":            func(c h2, stream uint32) bool { c.frame(frameData, 0, stream, []byte("x")); return false },
		"a frame larger than was agreed": func(c h2, stream uint32) bool { c.frame(frameData, 0, stream, make([]byte, 1<<20)); return true },
	}
	for name, do := range tests {
		t.Run(name, func(t *testing.T) {
			f := newFiles(t)
			cert := Identity(t, "server", f.serverCert, f.serverKey)
			var seen atomic.Int32
			url := listen(t, func(raw net.Conn) {
				c := tls.Server(raw, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12})
				h2{c, &seen}.serve(do)
				_ = c.Close()
			})
			p := newProvider("https"+strings.TrimPrefix(url, "http"), llm.TransportOptions{CAFile: f.serverCert})
			defer hangUp(p)
			for calls := range int32(3) {
				e := failure(t, ask(t.Context(), p))
				if e.Breaker != llm.Counted || e.Retries > 1 || e.Class != edgeagent.CallTransient && e.Class != edgeagent.CallUnreachable {
					t.Errorf("failure = %+v, want a counted one of the way", e)
				}
				if n := seen.Load(); n != calls+1 {
					t.Fatalf("server saw %d requests for %d calls", n, calls+1)
				}
			}
		})
	}
}
