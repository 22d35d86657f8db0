package https

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// turnAway answers every HTTP/2 request of a connection with GOAWAY: it was
// never looked at.
func turnAway(c net.Conn, asked *atomic.Int64) {
	defer c.Close()
	const settings, headers, goAway = 0x4, 0x1, 0x7
	r := bufio.NewReader(c)
	if _, err := r.Discard(len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")); err != nil {
		return
	}
	_, _ = c.Write([]byte{0, 0, 0, settings, 0, 0, 0, 0, 0})
	head := make([]byte, 9)
	for {
		if _, err := io.ReadFull(r, head); err != nil {
			return
		}
		length := int(binary.BigEndian.Uint32(append([]byte{0}, head[:3]...)))
		if _, err := r.Discard(length); err != nil {
			return
		}
		if head[3] == headers {
			asked.Add(1)
			_, _ = c.Write([]byte{0, 0, 8, goAway, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
			return
		}
	}
}

func TestABatchThatIsTurnedAwayIsNotSentAgainByTheTransport(t *testing.T) {
	own := selfSigned(t, time.Now().Add(-time.Hour))
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{own.pair}, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var asked atomic.Int64
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go turnAway(c, &asked)
		}
	}()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, own.pem, 0o600); err != nil {
		t.Fatal(err)
	}
	d := dest(t, Options{URL: "https://" + l.Addr().String(), CAFile: ca})
	if _, err := d.Send(t.Context(), twoAlarms); err == nil || asked.Load() != 1 {
		t.Errorf("Send = %v after %d requests, want an error after one", err, asked.Load())
	}
}
