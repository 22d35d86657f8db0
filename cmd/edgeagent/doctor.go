package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"edgeagent"
	"edgeagent/commission"
	"edgeagent/config"
	"edgeagent/plc/opcua"
)

func newDoctor(o *options) *cobra.Command {
	return jsonFlag(&cobra.Command{
		Use: "doctor DEVICE", Short: "find out why a device does not give the values it should: endpoint, unit id, addresses, byte order",
		Args: exactly(1, "the name of a device"),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := config.Load(config.DefaultPath(o.configPath), checks())
			if err != nil {
				return err
			}
			d, err := deviceNamed(cfg, args[0])
			if err != nil {
				return err
			}
			if d.Protocol == config.OPCUAProtocol {
				return opcuaDoctor(c, o, cfg, d)
			}
			return modbusDoctor(c, o, cfg, d)
		},
	}, o)
}

func deviceNamed(cfg *config.Config, name string) (config.Device, error) {
	i := slices.IndexFunc(cfg.Devices, func(d config.Device) bool { return d.Name == name })
	if i < 0 {
		return config.Device{}, fmt.Errorf("device %q: %w; see edgeagent devices list", name, edgeagent.ErrNotFound)
	}
	return cfg.Devices[i], nil
}

func modbusDoctor(c *cobra.Command, o *options, cfg *config.Config, d config.Device) error {
	w, err := reach(c.Context(), cfg, clientSocket(cfg), d, c.ErrOrStderr())
	if err != nil {
		return err
	}
	defer w.close()
	subject := commission.Subject{
		Device: d.Name, Unit: uint8(d.Unit), Serial: d.Protocol == config.ModbusRTU || d.Protocol == config.ModbusRTUTCP,
		Tags: tagSpecs(d.Tags), MaxRegisters: d.MaxRegisters, MaxBits: d.MaxBits, NeverRead: ranges(d.NeverRead), Pause: d.Pause,
	}
	if !o.json {
		subject.Sending = func(e commission.Exchange) { fmt.Fprintf(c.ErrOrStderr(), "sending %s: %s\n", e.Request, e.Sent) }
	}
	report, err := commission.Doctor(c.Context(), w.ask, subject)
	if w.fault != nil {
		return w.fault
	}
	if report != nil {
		if printErr := printReport(c.OutOrStdout(), o, report); printErr != nil {
			return printErr
		}
	}
	return err
}

func printReport(w io.Writer, o *options, report *commission.Report) error {
	if o.json {
		return printJSON(w, report)
	}
	return report.Print(w)
}

// opcuaReport is what can be said of an OPC UA server from here.
type opcuaReport struct {
	Device      string           `json:"device"`
	Endpoints   []opcua.Endpoint `json:"endpoints"`
	Conclusions []string         `json:"conclusions"`
}

func opcuaDoctor(c *cobra.Command, o *options, cfg *config.Config, d config.Device) error {
	options := opcuaOptions(cfg, d, nil)
	r := opcuaReport{Device: d.Name}
	var err error
	if r.Endpoints, err = opcua.Describe(c.Context(), options); err != nil {
		return err
	}
	r.concludeEndpoints(options)
	tags, err := r.read(c, cfg, d, options)
	if err != nil {
		return err
	}
	r.concludeTags(tags)
	if o.json {
		return printJSON(c.OutOrStdout(), r)
	}
	if err := printEndpoints(c.OutOrStdout(), r.Endpoints); err != nil {
		return err
	}
	for _, line := range r.Conclusions {
		c.Println(printable(line))
	}
	return nil
}

// read tells how the tags are: as the agent reads them, if it reads this server.
// A second session may be one too many for the server, and a second login with
// a wrong password lock the account.
func (r *opcuaReport) read(c *cobra.Command, cfg *config.Config, d config.Device, o opcua.Options) ([]edgeagent.Reading, error) {
	if running := agentBehind(c.Context(), clientSocket(cfg)); running != nil {
		if running.fault != nil {
			return nil, running.fault
		}
		if p := running.device(d); p.State != "" {
			c.PrintErrln("the running agent reads this server: what follows is its view, no second session is opened")
			r.conclude(p.Detail, p.Error)
			return fetchTags(c.Context(), clientOn(running.socket), d.Name)
		}
	}
	samples, err := opcua.New(o).Fetch(c.Context())
	if err != nil {
		r.conclude(err.Error())
	}
	tags := make([]edgeagent.Reading, len(samples))
	for i, s := range samples {
		tags[i] = edgeagent.Reading{Tag: s.Tag, Quality: s.Quality, Reason: s.Reason}
	}
	return tags, nil
}

func (r *opcuaReport) conclude(lines ...string) {
	for _, line := range lines {
		if line != "" {
			r.Conclusions = append(r.Conclusions, line)
		}
	}
}

// concludeEndpoints says whether what is configured is offered and trusted.
func (r *opcuaReport) concludeEndpoints(o opcua.Options) {
	offered := slices.IndexFunc(r.Endpoints, func(e opcua.Endpoint) bool { return e.Security == o.Security && e.Mode == o.Mode })
	if offered < 0 {
		r.Conclusions = append(r.Conclusions, fmt.Sprintf("the server does not offer %s with %s: set security and mode to a row above", o.Security, o.Mode))
		return
	}
	cert := r.Endpoints[offered].Certificate
	if o.ServerCertFile == "" || cert == nil {
		return
	}
	pinned, err := opcua.Fingerprint(o.ServerCertFile)
	switch {
	case err != nil:
		r.Conclusions = append(r.Conclusions, err.Error())
	case pinned != cert.SHA256:
		r.Conclusions = append(r.Conclusions, fmt.Sprintf("the server shows certificate %s, and server_cert_file holds %s: "+
			"compare with the server's own display, then edgeagent browse %s --save-cert FILE", cert.SHA256, pinned, o.Endpoint))
	default:
		r.Conclusions = append(r.Conclusions, "the server's certificate is the one that is trusted")
	}
}

func (r *opcuaReport) concludeTags(tags []edgeagent.Reading) {
	good := 0
	for _, t := range tags {
		if t.Quality == edgeagent.QualityGood {
			good++
			continue
		}
		r.conclude(fmt.Sprintf("%s is %s: %s", t.Tag, t.Quality, t.Reason.String()))
	}
	if len(tags) > 0 {
		r.conclude(fmt.Sprintf("%d of %d tags are good", good, len(tags)))
	}
}

func printEndpoints(w io.Writer, all []opcua.Endpoint) error {
	rows := [][]string{{"SECURITY", "MODE", "LOGIN", "CERTIFICATE SHA-256"}}
	for _, e := range all {
		var logins []string
		for _, l := range e.Logins {
			if !slices.Contains(logins, l.Kind) {
				logins = append(logins, l.Kind)
			}
		}
		print := "-"
		if e.Certificate != nil {
			print = e.Certificate.SHA256
		}
		rows = append(rows, []string{e.Security, e.Mode, dash(strings.Join(logins, " ")), print})
	}
	return table(w, rows)
}

func newScan(o *options) *cobra.Command {
	var so scanFlags
	c := jsonFlag(&cobra.Command{
		Use: "scan URL", Short: "find unit ids that answer and the addresses that can be read", Args: exactly(1, "the URL of a device, such as modbus-tcp://192.168.10.21:502"),
		RunE: func(c *cobra.Command, args []string) error { return scanURL(c, o, args[0], so) },
	}, o)
	c.Flags().IntVar(&so.first, "from-unit", 1, "first unit id")
	c.Flags().IntVar(&so.last, "to-unit", 247, "last unit id")
	c.Flags().IntVar(&so.to, "to", 9999, "last address of each area")
	c.Flags().BoolVar(&so.units, "units-only", false, "find units, read no ranges")
	c.Flags().BoolVar(&so.thorough, "thorough", false, "ask for every single address of what is refused")
	return c
}

type scanFlags struct {
	first, last, to int
	units, thorough bool
}

// options checks the flags.
func (f scanFlags) options() (commission.ScanOptions, error) {
	if f.first < 0 || f.first > f.last || f.last > 255 || f.to < 0 || f.to > 65535 {
		return commission.ScanOptions{}, usagef("scan takes unit ids from 0 to 255, the first not behind the last, and addresses to 65535")
	}
	return commission.ScanOptions{
		FirstUnit: uint8(f.first), LastUnit: uint8(f.last), To: uint16(f.to), Exact: true, UnitsOnly: f.units, Thorough: f.thorough,
	}, nil
}

func scanURL(c *cobra.Command, o *options, raw string, flags scanFlags) error {
	so, err := flags.options()
	if err != nil {
		return err
	}
	d, err := bareDevice(raw)
	if err != nil {
		return err
	}
	cfg, socket, err := plantAround(o)
	if err != nil {
		return err
	}
	w, err := reach(c.Context(), cfg, socket, d, c.ErrOrStderr())
	if err != nil {
		return err
	}
	defer w.close()
	for _, known := range cfg.Devices {
		if known.Host == d.Host {
			so.NeverRead = append(so.NeverRead, ranges(known.NeverRead)...)
			so.Pause = max(so.Pause, known.Pause)
		}
	}
	var all []commission.Finding
	err = commission.Scan(c.Context(), w.ask, so, func(f commission.Finding) {
		switch {
		case f.Kind == commission.FoundProgress:
			c.PrintErrln(printable(f.Text))
			return
		case !o.json:
			c.Println(printable(f.Text))
		}
		all = append(all, f)
	})
	if w.fault != nil {
		return w.fault
	}
	if o.json {
		return firstError(err, printJSON(c.OutOrStdout(), struct {
			Findings []commission.Finding `json:"findings"`
		}{all}))
	}
	return err
}

// plantAround is the configuration of this machine if it has one: then the
// agent that may run here is known, and what must never be read. Of one that is
// there and cannot be understood neither is known: then nothing is asked.
func plantAround(o *options) (*config.Config, string, error) {
	cfg, err := config.Load(config.DefaultPath(o.configPath), checks())
	named := o.configPath != "" || os.Getenv("EDGEAGENT_CONFIG") != ""
	switch {
	case errors.Is(err, fs.ErrNotExist) && !named:
		return &config.Config{}, "", nil
	case err != nil:
		return nil, "", fmt.Errorf("%w\nnothing was asked: what never_read of this file protects is not known; mend it, or scan where no agent is configured", err)
	}
	return cfg, clientSocket(cfg), nil
}

// problems writes what is wrong with a text that stands in no file.
func problems(err error) string {
	invalid, ok := errors.AsType[*config.Invalid](err)
	if !ok {
		return err.Error()
	}
	texts := make([]string, len(invalid.Problems))
	for i, p := range invalid.Problems {
		texts[i] = p.Text
	}
	return strings.Join(texts, "; ")
}

// bareDevice returns a device of which nothing but the URL is known, checked by
// the rules of the configuration.
func bareDevice(raw string) (config.Device, error) {
	text := fmt.Sprintf("[agent]\nid = \"scan\"\nsite = \"scan\"\n[[device]]\nname = \"scan\"\nurl = %q\n", raw)
	cfg, err := config.Parse("URL", []byte(text), checks())
	if err != nil {
		return config.Device{}, usagef("%s", problems(err))
	}
	if d := cfg.Devices[0]; d.Protocol != config.OPCUAProtocol {
		return d, nil
	}
	return config.Device{}, usagef("OPC UA servers have no units and registers: use edgeagent browse %s", raw)
}
