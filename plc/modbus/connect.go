package modbus

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"edgeagent/internal/retry"
	"edgeagent/plc"
)

// connect dials, or opens the port, if there is no connection, and waits until
// it may be used; reused says that there was one.
func (l *Link) connect(ctx context.Context) (reused bool, err error) {
	reused = l.conn != nil
	if !reused {
		dialing, cancel := context.WithDeadline(ctx, l.by)
		defer cancel()
		conn, err := l.open(dialing)
		if err != nil {
			return false, fmt.Errorf("connect to %s: %w", l.o.Addr, err)
		}
		l.conn, l.filled = conn, 0
		l.usable = time.Now().Add(l.o.ConnectDelay)
		l.o.Log.Debug("connected", "addr", l.o.Addr)
	}
	if l.o.ConnectDelay > 0 {
		return reused, l.delay(ctx)
	}
	return reused, nil
}

// delay waits until the device is ready for its first request. A caller with
// less time finds the connection there next time.
func (l *Link) delay(ctx context.Context) error {
	wait := time.Until(l.usable)
	if wait <= 0 {
		return nil
	}
	if d, ok := ctx.Deadline(); ok && d.Before(l.usable) {
		return fmt.Errorf("connected to %s: %w: its connect_delay lasts %v more", l.o.Addr, plc.ErrUnreachable, wait.Round(time.Millisecond))
	}
	if err := retry.Sleep(ctx, wait); err != nil {
		return fmt.Errorf("connect_delay of %s: %w", l.o.Addr, err)
	}
	l.begin(ctx)
	return nil
}

// open returns an open connection; the error wraps plc.ErrUnreachable or
// plc.ErrRefused.
func (l *Link) open(ctx context.Context) (stream, error) {
	if l.o.Serial != nil {
		port, err := l.o.Serial.open(l.o.Addr)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", plc.ErrUnreachable, err)
		}
		return port, nil
	}
	conn, err := l.o.Dial(ctx, "tcp", l.o.Addr)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", plc.ErrUnreachable, err)
	}
	if l.o.TLS == nil && l.o.TLSFiles == nil {
		return conn, nil
	}
	secure, err := l.handshake(ctx, conn)
	if err != nil {
		reset(conn)
		return nil, unreachable(explainTLS(err))
	}
	return secure, nil
}

// handshake speaks TLS over conn before ctx ends.
func (l *Link) handshake(ctx context.Context, conn net.Conn) (stream, error) {
	conf := l.o.TLS
	if l.o.TLSFiles != nil {
		var err error
		if conf, err = l.o.TLSFiles.Load(); err != nil {
			return nil, err
		}
	}
	if conf.ServerName == "" && !conf.InsecureSkipVerify {
		host, _, err := net.SplitHostPort(l.o.Addr)
		if err != nil {
			host = l.o.Addr
		}
		conf = conf.Clone()
		conf.ServerName = host
	}
	secure := tls.Client(conn, conf)
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("TLS: %w", err)
	}
	return secure, nil
}

// drop ends a connection that cannot be trusted any more.
func (l *Link) drop() {
	if l.conn == nil {
		return
	}
	reset(l.conn)
	l.conn = nil
}

// reset closes without a goodbye: a half open connection would keep one of the
// few that a PLC allows, and one of TLS would wait for a dead peer.
func reset(conn stream) {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}
