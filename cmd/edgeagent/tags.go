package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"edgeagent"
	"edgeagent/config"
	"edgeagent/internal/retry"
	"edgeagent/plc"
	"edgeagent/tags"
)

type tagsAnswer struct {
	Tags []edgeagent.Reading `json:"tags"`
}

func newTags(o *options) *cobra.Command {
	list := jsonFlag(&cobra.Command{
		Use: "list", Short: "every tag with value, quality and age", Args: exactly(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error { return tagsOnce(c, o, "", "") },
	}, o)
	read := jsonFlag(&cobra.Command{
		Use: "read DEVICE [TAG]", Short: "the tags of one device, as the running agent last read them; without an agent, read now",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 && len(args) != 2 {
				return usagef("%s takes a device and at most one tag", c.CommandPath())
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			return tagsOnce(c, o, args[0], strings.Join(args[1:], ""))
		},
	}, o)
	watch := &cobra.Command{
		Use: "watch [DEVICE]", Short: "print values as they change, until interrupted", Args: atMost(1, "at most one device"),
		RunE: func(c *cobra.Command, args []string) error { return tagsWatch(c, o, strings.Join(args, "")) },
	}
	return group("tags", "values with quality and age", list, read, watch)
}

func tagsOnce(c *cobra.Command, o *options, device, tag string) error {
	cl, err := newClient(o)
	if err != nil {
		return err
	}
	readings, err := fetchTags(c.Context(), cl, device)
	if nobodyListens(err) && device != "" {
		readings, err = readNow(c, o, device)
	}
	if err != nil {
		return err
	}
	if tag != "" {
		if readings = onlyTag(readings, tag); len(readings) == 0 {
			return fmt.Errorf("device %q has no tag %q; see edgeagent tags read %s", device, tag, device)
		}
	}
	if o.json {
		return printJSON(c.OutOrStdout(), tagsAnswer{readings})
	}
	return printTags(c.OutOrStdout(), readings)
}

// readNow reads a device over a connection of our own: no agent runs that has one.
func readNow(c *cobra.Command, o *options, device string) ([]edgeagent.Reading, error) {
	cfg, err := config.Load(config.DefaultPath(o.configPath), checks())
	if err != nil {
		return nil, err
	}
	d, err := deviceNamed(cfg, device)
	if err != nil {
		return nil, err
	}
	c.PrintErrln("edgeagent: no agent runs here: reading over a connection of our own")
	if err := quiet(c.Context(), d, c.ErrOrStderr()); err != nil {
		return nil, err
	}
	alone := *cfg
	alone.Devices = []config.Device{d}
	conn := connections(&alone, plc.Options{})[0]
	defer hangUp(c.Context(), conn)
	table := tags.New(plainTags(&alone))
	scan, err := conn.Probe(c.Context(), d.Name)
	if err != nil {
		return nil, err
	}
	table.Put(scan)
	return table.Readings(d.Name), nil
}

func fetchTags(ctx context.Context, cl *client, device string) ([]edgeagent.Reading, error) {
	path := "/api/v1/tags"
	if device != "" {
		path += "?device=" + url.QueryEscape(device)
	}
	var a tagsAnswer
	err := cl.get(ctx, path, &a)
	return a.Tags, err
}

func onlyTag(all []edgeagent.Reading, tag string) []edgeagent.Reading {
	var out []edgeagent.Reading
	for _, r := range all {
		if r.Tag == tag {
			out = append(out, r)
		}
	}
	return out
}

func printTags(w io.Writer, readings []edgeagent.Reading) error {
	rows := [][]string{{"TAG", "VALUE", "QUALITY", "AGE", "RAW", "ADDRESS"}}
	for _, r := range readings {
		rows = append(rows, []string{r.Device + "." + r.Tag, valueWord(r), qualityWord(r), seconds(r.AgeS), rawWord(r.Raw), r.Address})
	}
	return table(w, rows)
}

// valueWord writes a value as it is compared with a panel, and with the last one:
// a sum of 1234567.8 has more digits than a measurement for people.
func valueWord(r edgeagent.Reading) string {
	s := r.Value.String()
	if f, ok := r.Value.Float64(); ok && r.Value.Kind() == edgeagent.KindFloat {
		digits := digitsOf(r.Type)
		if f == math.Trunc(f) { // counted, not measured; a running agent's answer has it as an integer
			digits = wholeDigits
		}
		s = strconv.FormatFloat(f, 'g', digits, 64)
	}
	if r.Text != "" {
		s += " " + r.Text
	}
	if r.EngUnit != "" && !r.Value.IsNone() {
		s += " " + r.EngUnit
	}
	return s
}

// wholeDigits are those that every whole number of a float64 holds.
const wholeDigits = 15

// digitsOf is how many decimal digits a type tells truly; of the widest, enough.
func digitsOf(t edgeagent.DataType) int {
	switch t {
	case edgeagent.TypeFloat16:
		return 4
	case edgeagent.TypeFloat32:
		return 7
	default:
		return 12
	}
}

func qualityWord(r edgeagent.Reading) string {
	if r.Reason == nil {
		return r.Quality.String()
	}
	return r.Quality.String() + ": " + r.Reason.Text
}

func rawWord(raw []uint16) string {
	parts := make([]string, len(raw))
	for i, w := range raw {
		parts[i] = fmt.Sprintf("%04X", w)
	}
	return dash(strings.Join(parts, " "))
}

// tagsWatch asks twice a second and prints what is different: value, quality
// or reason. The agent's own scan rate is the limit anyway.
func tagsWatch(c *cobra.Command, o *options, device string) error {
	cl, err := newClient(o)
	if err != nil {
		return err
	}
	last := map[string]string{}
	for c.Context().Err() == nil {
		readings, err := fetchTags(c.Context(), cl, device)
		if err != nil && c.Context().Err() == nil {
			return err
		}
		for _, r := range readings {
			name, now := r.Device+"."+r.Tag, valueWord(r)+"  "+qualityWord(r)
			if last[name] != now {
				last[name] = now
				c.Printf("%s  %s  %s\n", clock(r.At), printable(name), printable(now))
			}
		}
		_ = retry.Sleep(c.Context(), 500*time.Millisecond)
	}
	return nil
}
