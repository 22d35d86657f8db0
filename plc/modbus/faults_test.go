package modbus_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"edgeagent"
	"edgeagent/plc"
	"edgeagent/plc/modbus"
	"edgeagent/plc/plctest"
	"edgeagent/plc/sim"
)

// haste is the timeout of links that are played faults: most faults cost one.
const haste = 40 * time.Millisecond

// transport is one way from a link to a simulated device.
type transport struct {
	name  sim.Transport
	serve func(addr string, units map[uint8]*sim.Device) (*sim.Server, error)
	addr  func(t *testing.T) string // where it can be served again and again
	dial  modbus.Options

	slower time.Duration // how many times the timeout of others: a handshake on a busy machine
}

func anyPort(t *testing.T) string { return plctest.Address(t) }

func transports(t *testing.T) []transport {
	server, client := certificates(t)
	return []transport{
		{sim.TCP, sim.Listen, anyPort, modbus.Options{}, 1},
		{sim.TLS, func(addr string, units map[uint8]*sim.Device) (*sim.Server, error) {
			return sim.ListenTLS(addr, server, units)
		}, anyPort, modbus.Options{TLS: client}, 2},
		{sim.RTUOverTCP, sim.ListenRTU, anyPort, modbus.Options{Framing: modbus.FramingRTU}, 1},
		{sim.Serial, sim.ServePTYAt, func(t *testing.T) string { return filepath.Join(t.TempDir(), "tty") },
			modbus.Options{Serial: &modbus.Serial{Baud: 115200}}, 1},
	}
}

// certificates returns the two ends of Modbus/TCP Security, with one
// certificate for both.
func certificates(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"plc"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	own := []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}
	server = &tls.Config{Certificates: own, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}
	return server, &tls.Config{Certificates: own, RootCAs: pool, ServerName: "plc"}
}

// peer is a simulated server that is switched off and on at one address.
type peer struct {
	t         *testing.T
	transport transport
	units     map[uint8]*sim.Device
	addr      string
	server    *sim.Server
	running   sync.WaitGroup
}

func start(t *testing.T, how transport, units map[uint8]*sim.Device) *peer {
	t.Helper()
	p := &peer{t: t, transport: how, units: units, addr: how.addr(t)}
	p.on()
	t.Cleanup(p.off)
	return p
}

func (p *peer) on() {
	p.t.Helper()
	server, err := p.transport.serve(p.addr, p.units)
	if err != nil {
		p.t.Fatal(err)
	}
	p.server, p.addr = server, server.Addr()
	p.running.Go(func() {
		if err := server.Run(context.Background()); err != nil {
			p.t.Error(err)
		}
	})
}

func (p *peer) off() {
	if p.server == nil {
		return
	}
	if err := p.server.Close(); err != nil {
		p.t.Error(err)
	}
	p.running.Wait()
	p.server = nil
}

func (p *peer) link(t *testing.T, timeout time.Duration) *modbus.Link {
	o := p.transport.dial
	o.Addr, o.Timeout = p.addr, timeout
	l := modbus.New(o)
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// Holds implements plctest.Peer.
func (p *peer) Holds(area edgeagent.Area, address uint16) uint16 {
	return sim.OracleValue(1, area, address)
}

// Behave implements plctest.Peer.
func (p *peer) Behave(b plctest.Behaviour) bool {
	if b == plctest.Gone {
		p.off()
		return true
	}
	if p.server == nil {
		p.on()
	}
	p.server.ClearFaults()
	if f, faulty := faults[b]; faulty {
		p.server.Fault(f)
	}
	return true
}

func TestEveryTransportConforms(t *testing.T) {
	for _, how := range transports(t) {
		t.Run(string(how.name), func(t *testing.T) {
			t.Parallel()
			plctest.Run(t, func(t *testing.T) (plc.Driver, plctest.Peer) {
				p := start(t, how, sim.OracleUnits(1))
				return p.link(t, how.slower*patience), p
			})
		})
	}
}

// oracleValues is how many values are read over each transport, and how many
// with a request of the runs that have one size. The release's number of values
// is set from outside; it stands for all four transports together, and smaller
// requests make more faults of it.
func oracleValues(t *testing.T) (values int, quantity uint16) {
	s := os.Getenv("EDGEAGENT_ORACLE_VALUES")
	if s == "" {
		return 50000, 50
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatalf("EDGEAGENT_ORACLE_VALUES is %q: want the number of values to read", s)
	}
	return n / 4, 10
}

// hunted is one run of the oracle.
type hunted struct {
	name   string
	how    transport
	o      plctest.FaultOptions
	server *sim.Server
	count  plctest.FaultCount
	err    error
}

// TestNoFaultMakesAWrongValue plays every fault that a transport can have while
// values are read that tell where they are from: by requests of one size, whose
// answers look alike, and of all sizes; one unit, and three on one line;
// faults alone and in pairs. All run at once, for most of it is waiting.
func TestNoFaultMakesAWrongValue(t *testing.T) {
	values, quantity := oracleValues(t)
	var all []*hunted
	var hunting sync.WaitGroup
	for _, how := range transports(t) {
		for i, o := range []plctest.FaultOptions{{Quantity: quantity, Units: 1}, {Units: 3}} {
			o.Values, o.Timeout, o.Seed, o.Pairs = values/2, how.slower*haste, uint64(i+1), true
			p := start(t, how, sim.OracleUnits(o.Units))
			h := &hunted{name: fmt.Sprintf("%s/%d units, quantity %d", how.name, o.Units, o.Quantity), how: how, o: o, server: p.server}
			link, oracle := p.link(t, o.Timeout), sim.NewOracle(p.server, o.Timeout, o.Seed)
			hunting.Go(func() { h.count, h.err = plctest.Hunt(t.Context(), link, oracle, o) })
			all = append(all, h)
		}
	}
	hunting.Wait()
	for _, h := range all {
		t.Run(h.name, h.check)
	}
}

func (h *hunted) check(t *testing.T) {
	t.Log(h.count.String())
	if h.err != nil {
		t.Fatal(h.err)
	}
	if kinds := len(sim.FaultKinds(h.how.name)); len(h.count.ByKind) != kinds || kinds < 20 || h.count.Values < h.o.Values {
		t.Errorf("%d values under %d kinds of fault, want %d under %d, and those at least 20", h.count.Values, len(h.count.ByKind), h.o.Values, kinds)
	}
	if h.server.Writes() > 0 {
		t.Errorf("%d writes reached the device", h.server.Writes())
	}
}
