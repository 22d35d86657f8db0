// Package dial makes connections that notice a dead peer, for plc, llm and
// sync. Go's defaults notice a VPN that drops packets after 45 s or never, and
// go on using a dead HTTP/2 connection for a quarter of an hour.
package dial

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"
)

// The times after which a silent peer beyond the plant is given up.
const (
	dialTimeout    = 3 * time.Second
	tlsTimeout     = 5 * time.Second
	unacknowledged = 10 * time.Second
	http2Silence   = 5 * time.Second
	http2PingReply = 3 * time.Second
)

// Dialer returns a dialer whose connections send keep-alives every interval
// after idle, three of them, and end when sent data stays unacknowledged so
// long. Keep-alives alone do not end a black hole: while data waits for its
// acknowledgement none is sent.
func Dialer(idle, interval, unacknowledged time.Duration) *net.Dialer {
	return &net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: idle, Interval: interval, Count: 3},
		Control:         limitUnacknowledged(unacknowledged),
	}
}

// Transport returns an HTTP transport without a proxy that notices a dead
// peer, for one endpoint. The caller may set what is its own.
func Transport(conf *tls.Config) *http.Transport {
	dialer := Dialer(5*time.Second, 2*time.Second, unacknowledged)
	dialer.Timeout = dialTimeout
	return &http.Transport{
		DialContext:            dialer.DialContext,
		TLSClientConfig:        conf,
		TLSHandshakeTimeout:    tlsTimeout,
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: http2Silence, PingTimeout: http2PingReply},
		MaxIdleConns:           4,
		IdleConnTimeout:        30 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true, // an answer that unpacks to gigabytes is none
	}
}

// TLS returns the least that is spoken with a peer, and trusts the authorities
// in caFile (PEM) instead of the system's, if one is named.
func TLS(caFile string) (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if caFile == "" {
		return conf, nil
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("read ca_file: %w", err)
	}
	conf.RootCAs = x509.NewCertPool()
	if !conf.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read ca_file: %s holds no certificate in PEM", caFile)
	}
	return conf, nil
}
