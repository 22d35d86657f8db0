package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"edgeagent"
	"edgeagent/config"
	"edgeagent/llm"
	"edgeagent/llm/runbook"
	"edgeagent/plc"
	upsync "edgeagent/sync"
)

// probeResult is what one peer said when it was asked once.
type probeResult struct {
	Kind   string  `json:"kind"` // device, provider or upstream
	Name   string  `json:"name"`
	OK     bool    `json:"ok"`
	TookMS float64 `json:"took_ms"`
	Detail string  `json:"detail,omitempty"`
	Error  string  `json:"error,omitempty"` // what, and what to do

	// Of a device that the running agent reads.
	State    edgeagent.DeviceState `json:"state,omitempty"`
	Link     edgeagent.Link        `json:"link,omitempty"`
	LastOKAt *time.Time            `json:"last_ok_at,omitempty"`
}

// prober asks every peer of a configuration once.
type prober struct {
	cfg   *config.Config
	agent *runningAgent // nil: nobody else reads the devices
	epoch edgeagent.ID
	tell  func(probeResult) // each result as it comes
	begin func(kind, name string)
}

// runningAgent is what an agent on the socket says of its devices; or that
// there is one, and why it does not say.
type runningAgent struct {
	socket  string
	devices []edgeagent.DeviceStatus
	fault   error
}

// probeAll probes and returns an error when anything failed.
func probeAll(c *cobra.Command, cfg *config.Config, tell func(probeResult)) error {
	failed, total := 0, 0
	p := &prober{cfg: cfg, begin: progress(c.ErrOrStderr()), tell: func(r probeResult) {
		total++
		if !r.OK {
			failed++
		}
		tell(r)
	}}
	p.findAgent(c.Context())
	if p.agent != nil {
		c.PrintErrf("edgeagent: an agent runs on %s: the devices are as it reads them, no second connection is opened\n", p.agent.socket)
	}
	p.devices(c.Context())
	p.providers(c.Context())
	p.upstreams(c.Context())
	if failed > 0 {
		return fmt.Errorf("%d of %d did not answer as they should", failed, total)
	}
	return nil
}

// progress says on a terminal who is being asked: a model may take minutes.
func progress(w io.Writer) func(kind, name string) {
	if !isTerminal(w) {
		return func(string, string) {}
	}
	return func(kind, name string) { fmt.Fprintf(w, "asking %s %s …\n", kind, name) }
}

// findAgent looks for an agent behind the socket of the file and, for the file
// may just have been edited, of the last accepted configuration.
func (p *prober) findAgent(ctx context.Context) {
	p.epoch = edgeagent.NewID(time.Now())
	sockets := []string{clientSocket(p.cfg)}
	if last, err := config.LastAccepted(p.cfg.Path, checks()); err == nil && clientSocket(last) != sockets[0] {
		sockets = append(sockets, clientSocket(last))
	}
	for _, socket := range sockets {
		if p.agent = askAgent(ctx, socket); p.agent == nil {
			continue
		}
		var s edgeagent.Status
		if err := clientOn(socket).get(ctx, "/api/v1/status", &s); err == nil && s.Agent.Epoch != "" {
			p.epoch = s.Agent.Epoch // upstream knows it; another one would look like another agent
		}
		return
	}
}

// askAgent returns nil only when it is sure that nobody listens: a second
// connection can push a panel off a PLC.
func askAgent(ctx context.Context, socket string) *runningAgent {
	var a devicesAnswer
	err := clientOn(socket).get(ctx, "/api/v1/devices", &a)
	if nobodyListens(err) {
		return nil
	}
	return &runningAgent{socket: socket, devices: a.Devices, fault: err}
}

// nobodyListens reports whether an error of the socket says so: an agent that is
// late, or that lets not everybody ask, reads its devices all the same.
func nobodyListens(err error) bool {
	return errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ECONNREFUSED)
}

func (p *prober) devices(ctx context.Context) {
	if p.agent != nil {
		for _, d := range p.cfg.Devices {
			if d.Enabled {
				p.tell(p.agent.device(d))
			}
		}
		return
	}
	for _, conn := range connections(p.cfg, plc.Options{}) {
		p.connection(ctx, conn)
	}
}

// connection reads every enabled device behind one endpoint, then hangs up.
func (p *prober) connection(ctx context.Context, conn connection) {
	defer hangUp(ctx, conn)
	var heard error // another master on the line
	for i, d := range conn.Status() {
		if d.State == edgeagent.DeviceDisabled {
			continue
		}
		p.begin("device", d.Name)
		if first, err := deviceNamed(p.cfg, d.Name); i == 0 && err == nil {
			heard = quiet(ctx, first, io.Discard)
		}
		if heard != nil {
			p.tell(result("device", d.Name, time.Now(), heard))
			continue
		}
		p.tell(readOnce(ctx, conn, d.Name))
	}
}

// hangUp closes the link: a run that is over before it begins does only that.
func hangUp(ctx context.Context, conn connection) {
	ended, cancel := context.WithCancel(ctx)
	cancel()
	_ = conn.Run(ended) // returns nil
}

func readOnce(ctx context.Context, conn connection, name string) probeResult {
	began := time.Now()
	scan, err := conn.Probe(ctx, name)
	r := result("device", name, began, err)
	if err != nil {
		r.Error += deviceRemedy(err)
		return r
	}
	r.Detail, r.Error = sampleWords(scan.Samples)
	r.OK = r.Error == ""
	return r
}

func result(kind, name string, began time.Time, err error) probeResult {
	r := probeResult{Kind: kind, Name: name, OK: err == nil, TookMS: float64(time.Since(began).Microseconds()) / 1000}
	if err != nil {
		r.Error = err.Error()
	}
	return r
}

func deviceRemedy(err error) string {
	switch {
	case errors.Is(err, plc.ErrUnreachable):
		return "; check that it is switched on, the network to it, and host and port in its url"
	case errors.Is(err, plc.ErrSilent):
		return "; something accepts the connection and gives no valid answer: check unit, and that it speaks Modbus TCP"
	default:
		return "; check its unit and the addresses of its tags against the manual"
	}
}

// sampleWords counts the tags that were read, and names the first that was not.
func sampleWords(samples []edgeagent.Sample) (detail, fault string) {
	var bad int
	var first edgeagent.Sample
	for _, s := range samples {
		if s.Quality == edgeagent.QualityBad {
			if bad++; bad == 1 {
				first = s
			}
		}
	}
	if bad > 0 {
		fault = fmt.Sprintf("%d of %d tags not read, first %s: %s; check their addresses and types", bad, len(samples), first.Tag, first.Reason.String())
	}
	return fmt.Sprintf("%d tags", len(samples)), fault
}

// device says what the agent knows of one of its devices.
func (a *runningAgent) device(d config.Device) probeResult {
	r := probeResult{Kind: "device", Name: d.Name}
	if a.fault != nil {
		r.Error = a.fault.Error()
		return r
	}
	for _, s := range a.devices {
		if s.Name == d.Name && s.URL == d.URL && s.Unit == int(deviceSpec(d).Unit) {
			return agentWords(r, s)
		}
	}
	r.Error = "the running agent does not read it there yet: edgeagent reload, then probe again"
	return r
}

func agentWords(r probeResult, s edgeagent.DeviceStatus) probeResult {
	r.State, r.Link, r.LastOKAt, r.TookMS = s.State, s.Link, s.LastOKAt, s.ScanMS
	r.Detail = fmt.Sprintf("%s, link %s, last answer %s", weAre(s), s.Link, clock(s.LastOKAt))
	switch {
	case s.State == edgeagent.DeviceMaintenance:
		r.OK = true // left alone on purpose
	case s.State != edgeagent.DevicePolling || s.Link != edgeagent.LinkUp:
		r.Error = dash(s.Error) + stateRemedy(s)
	case s.Tags.Bad > 0:
		r.Error = fmt.Sprintf("%d tags not read; see edgeagent tags read %s", s.Tags.Bad, s.Name)
	default:
		r.OK = true
	}
	return r
}

func stateRemedy(s edgeagent.DeviceStatus) string {
	switch s.State {
	case edgeagent.DeviceStopped:
		return "; when it answers again: edgeagent devices resume " + s.Name
	case edgeagent.DeviceConnecting:
		return "; it has not been tried yet, probe again"
	default:
		return "; check the device and the network to it, the agent goes on trying"
	}
}

func (p *prober) providers(ctx context.Context) {
	for _, o := range providers(p.cfg) {
		p.begin("provider", o.Name)
		p.tell(askProvider(ctx, o))
	}
	for _, o := range p.cfg.LLM.Providers {
		if o.Kind == config.KindRunbook {
			p.tell(readRunbook(o))
		}
	}
}

func askProvider(ctx context.Context, o llm.ProviderOptions) probeResult {
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	if c, ok := o.Provider.(interface{ CloseIdleConnections() }); ok {
		defer c.CloseIdleConnections()
	}
	began := time.Now()
	err := o.Provider.Probe(ctx)
	r := result("provider", o.Name, began, err)
	r.Detail = o.Model
	r.Error += providerRemedy(err)
	return r
}

// providerRemedy adds what to do where the class alone tells it.
func providerRemedy(err error) string {
	e, ok := errors.AsType[*llm.Error](err)
	if !ok {
		return ""
	}
	switch e.Class {
	case edgeagent.CallUnreachable:
		return "; check that it runs, the network to it, and base_url"
	case edgeagent.CallAuth:
		return "; check the key that api_key_file or api_key_env names"
	case edgeagent.CallQuota, edgeagent.CallThrottled:
		return "; check the account with the provider"
	case edgeagent.CallConfig:
		return "; check model and base_url"
	default:
		return ""
	}
}

func readRunbook(o config.Provider) probeResult {
	began := time.Now()
	book, err := runbook.Load(o.Path)
	r := result("provider", o.Name, began, err)
	if err == nil && len(book.Problems) > 0 {
		r.OK, r.Error = false, fmt.Sprintf("%d problems, first: %s", len(book.Problems), book.Problems[0])
	}
	return r
}

func (p *prober) upstreams(ctx context.Context) {
	for _, s := range p.cfg.Sync {
		p.begin("upstream", s.Name)
		p.tell(p.beat(ctx, s))
	}
}

// beat sends one heartbeat, which upstream does not store, and judges its
// receipt.
func (p *prober) beat(ctx context.Context, s config.Sync) probeResult {
	began := time.Now()
	ev, err := p.heartbeat(began)
	if err != nil {
		return result("upstream", s.Name, began, err)
	}
	to := destination(s)
	defer to.CloseIdleConnections()
	receipt, err := to.Send(ctx, []edgeagent.Outgoing{ev})
	if err == nil && receipt.Epoch != p.epoch && s.Receipt != "status" {
		err = fmt.Errorf("the receipt is for epoch %s, the heartbeat was of %s; check that the url is the upstream's own", receipt.Epoch, p.epoch)
	}
	r := result("upstream", s.Name, began, err)
	r.Error += upstreamRemedy(err)
	return r
}

func (p *prober) heartbeat(now time.Time) (edgeagent.Outgoing, error) {
	source := edgeagent.Source(p.cfg.Agent.Site, p.cfg.Agent.ID)
	ev := edgeagent.Event{
		SpecVersion: "1.0", ID: edgeagent.EventID(source, edgeagent.EventHeartbeat, edgeagent.NewID(now), 0), Source: source,
		Type: edgeagent.EventHeartbeat, Time: now, DataContentType: "application/json", Epoch: p.epoch, Data: json.RawMessage(`{"probe":true}`),
	}
	body, err := json.Marshal(ev)
	if err != nil {
		return edgeagent.Outgoing{}, fmt.Errorf("write a heartbeat: %w", err)
	}
	return edgeagent.Outgoing{Epoch: ev.Epoch, ID: ev.ID, Type: ev.Type, At: now, Body: body}, nil
}

// upstreamRemedy adds what to do where the error itself does not say it.
func upstreamRemedy(err error) string {
	e, ok := errors.AsType[*upsync.Error](err)
	if !ok {
		return ""
	}
	switch e.Class {
	case upsync.NoAnswer:
		return "; check the network, and host and port in its url"
	case upsync.Busy:
		return "; it is there and asks for patience: try again later"
	case upsync.Denied:
		return "; check url, token and ca_file"
	case upsync.Unfit, upsync.TooLarge, upsync.Conflict:
		return "; the url takes something else than our events: check it with who runs the upstream"
	default: // says it itself
		return ""
	}
}

func printProbe(w io.Writer, r probeResult) {
	word := "ok"
	if !r.OK {
		word = "FAILED"
	}
	text := r.Detail
	if r.Error != "" {
		text = r.Error
	}
	if text != "" {
		text = ", " + printable(text)
	}
	fmt.Fprintf(w, "%s %s: %s, %.0f ms%s\n", r.Kind, r.Name, word, r.TookMS, text)
}
