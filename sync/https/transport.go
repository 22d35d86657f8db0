package https

import (
	"crypto/tls"
	"net"
	"net/http"
	"time"
)

// transport notices a silent fault within seconds. Go's defaults keep a pooled
// connection that a VPN has swallowed for a quarter of an hour.
func transport(conf *tls.Config) *http.Transport {
	dialer := &net.Dialer{
		Timeout:         3 * time.Second,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3},
		Control:         userTimeout,
	}
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            dialer.DialContext,
		TLSClientConfig:        conf,
		TLSHandshakeTimeout:    5 * time.Second,
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 5 * time.Second, PingTimeout: 3 * time.Second},
		MaxIdleConnsPerHost:    1, // one batch in flight
		IdleConnTimeout:        2 * time.Minute,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true, // an answer that unpacks to gigabytes is none
	}
}
