package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"edgeagent"
	"edgeagent/config"
	"edgeagent/plc"
)

// checkAnswer is what would be read, as check --json prints it.
type checkAnswer struct {
	File    string        `json:"file"`
	Hash    string        `json:"config_hash"`
	Devices []deviceCheck `json:"devices"`
	Probe   []probeResult `json:"probe,omitzero"` // with --probe, never nil then
}

type deviceCheck struct {
	Name    string      `json:"name"`
	URL     string      `json:"url"`
	Unit    int         `json:"unit"`
	Enabled bool        `json:"enabled"`
	Scans   []scanCheck `json:"scans"`
	Tags    []tagCheck  `json:"tags"`
	Alarms  []string    `json:"alarms"`
}

// scanCheck is one scan class: the tags that are read at the same period.
type scanCheck struct {
	Every    string   `json:"every"`
	Requests []string `json:"requests"`
}

type tagCheck struct {
	Name    string             `json:"name"`
	Address string             `json:"address"` // in all its notations
	Type    edgeagent.DataType `json:"type"`
	Order   string             `json:"order"`
}

func newCheck(o *options) *cobra.Command {
	var probe bool
	c := jsonFlag(&cobra.Command{
		Use: "check", Short: "validate the configuration and print every request that would be sent; sends nothing without --probe",
		Args: exactly(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			path := config.DefaultPath(o.configPath)
			cfg, err := config.Load(path, checks())
			if err != nil {
				return configError(err)
			}
			return check(c, o, cfg, probe)
		},
	}, o)
	c.Flags().BoolVar(&probe, "probe", false, "then read each device and ask each provider and upstream, once")
	return c
}

// check prints, and asks the peers only afterwards: what is wrong may be in
// what was printed.
func check(c *cobra.Command, o *options, cfg *config.Config, probe bool) error {
	out := c.OutOrStdout()
	answer := describe(cfg.Path, cfg)
	if !o.json {
		printCheck(out, answer)
	}
	var failed error
	if probe {
		answer.Probe = []probeResult{}
		fmt.Fprintln(text(o, out))
		failed = probeAll(c, cfg, func(r probeResult) {
			answer.Probe = append(answer.Probe, r)
			printProbe(text(o, out), r)
		})
	}
	if o.json {
		return errors.Join(printJSON(out, answer), failed)
	}
	return failed
}

// text is where lines for a person go: nowhere beside a JSON document.
func text(o *options, out io.Writer) io.Writer {
	if o.json {
		return io.Discard
	}
	return out
}

func describe(path string, cfg *config.Config) checkAnswer {
	answer := checkAnswer{File: path, Hash: cfg.Hash(), Devices: []deviceCheck{}}
	for _, d := range cfg.Devices {
		dc := deviceCheck{Name: d.Name, URL: d.URL, Unit: d.Unit, Enabled: d.Enabled, Scans: scanChecks(d), Alarms: []string{}}
		for _, t := range d.Tags {
			dc.Tags = append(dc.Tags, tagChecks(t))
		}
		dc.Alarms = append(dc.Alarms, alarmCodesOf(d)...)
		answer.Devices = append(answer.Devices, dc)
	}
	return answer
}

func tagChecks(t config.Tag) tagCheck {
	if t.Node != "" {
		address := t.Node
		if t.Index != nil {
			address += fmt.Sprintf(" [%d]", *t.Index)
		}
		return tagCheck{t.Name, address, t.Type, ""}
	}
	return tagCheck{t.Name, t.Addr.Notations(), t.Type, orderThatMatters(t)}
}

// orderThatMatters is the order where another would give another value: of a
// single register too, where its bytes are swapped.
func orderThatMatters(t config.Tag) string {
	swapped := t.Order == edgeagent.OrderBADC || t.Order == edgeagent.OrderDCBA
	if t.Addr.Area.Bits() || t.Registers() < 2 && !swapped {
		return ""
	}
	return string(t.Order)
}

// alarmCodesOf lists what a device can raise; of words and codes what their
// lists name, besides which every bit and number is an alarm, too.
func alarmCodesOf(d config.Device) []string {
	var codes []string
	for _, a := range d.Alarms {
		codes = append(codes, a.Code)
	}
	for _, w := range d.Words {
		codes = append(codes, fmt.Sprintf("every bit of %s, %d of them with a text", w.Tag, len(w.Rows)))
	}
	for _, c := range d.Codes {
		codes = append(codes, fmt.Sprintf("every number of %s, %d of them with a text", c.Tag, len(c.Rows)))
	}
	if d.Events != nil {
		codes = append(codes, fmt.Sprintf("the conditions of %s from severity %d", d.Events.Source, d.Events.MinSeverity))
	}
	return codes
}

// scanChecks plans every scan class of a device, in the order of its tags.
func scanChecks(d config.Device) []scanCheck {
	spec := deviceSpec(d)
	byPeriod := map[string][]plc.TagSpec{}
	var order []string
	for _, t := range spec.Tags {
		every := t.Scan
		if every == 0 {
			every = spec.Scan
		}
		if _, known := byPeriod[every.String()]; !known {
			order = append(order, every.String())
		}
		byPeriod[every.String()] = append(byPeriod[every.String()], t)
	}
	var all []scanCheck
	for _, every := range order {
		s := scanCheck{Every: every}
		if d.OPCUA != nil {
			s.Requests = []string{fmt.Sprintf("subscription to %d nodes", len(byPeriod[every]))}
			all = append(all, s)
			continue
		}
		for _, r := range plc.Plan(byPeriod[every], spec.MaxRegisters, spec.MaxBits, spec.MaxGap, spec.NeverRead) {
			s.Requests = append(s.Requests, r.String())
		}
		all = append(all, s)
	}
	return all
}

func printCheck(w io.Writer, a checkAnswer) {
	fmt.Fprintf(w, "%s: accepted (%s)\n", a.File, a.Hash)
	for _, d := range a.Devices {
		state := ""
		if !d.Enabled {
			state = ", disabled"
		}
		unit := ""
		if !strings.HasPrefix(d.URL, "opc.tcp") {
			unit = "  unit " + strconv.Itoa(d.Unit)
		}
		fmt.Fprintf(w, "\n%s  %s%s%s\n", d.Name, d.URL, unit, state)
		for _, s := range d.Scans {
			fmt.Fprintf(w, "  every %s:\n", s.Every)
			for _, r := range s.Requests {
				fmt.Fprintf(w, "    %s\n", r)
			}
		}
		rows := [][]string{}
		for _, t := range d.Tags {
			rows = append(rows, []string{"  " + t.Name, t.Address, string(t.Type), t.Order})
		}
		_ = table(w, rows)
		if len(d.Alarms) > 0 {
			fmt.Fprintf(w, "  alarms: %s\n", strings.Join(d.Alarms, ", "))
		}
	}
}
