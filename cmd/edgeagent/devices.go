package main

import (
	"fmt"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"edgeagent"
)

type devicesAnswer struct {
	Devices []edgeagent.DeviceStatus `json:"devices"`
}

func newDevices(o *options) *cobra.Command {
	list := jsonFlag(&cobra.Command{
		Use: "list", Short: "devices: what we do with them and whether they answer", Args: exactly(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error { return devicesList(c, o) },
	}, o)
	return group("devices", "list devices, resume them, leave them alone for maintenance", list, newResume(o), newMaintenance(o))
}

func newMaintenance(o *options) *cobra.Command {
	var length time.Duration
	var reason string
	c := &cobra.Command{
		Use: "maintenance NAME --for 4h --reason TEXT", Short: "leave a device alone for a while; its alarms are muted",
		Args: exactly(1, "the name of a device"),
		RunE: func(c *cobra.Command, args []string) error {
			if length <= 0 || reason == "" {
				return usagef("%s needs --for with a time above 0 and --reason", c.CommandPath())
			}
			return deviceMaintenance(c, o, args[0], length, reason)
		},
	}
	c.Flags().DurationVar(&length, "for", 0, "how long, such as 4h; at most 720h")
	c.Flags().StringVar(&reason, "reason", "", "why, for the log and the page")
	return c
}

func deviceMaintenance(c *cobra.Command, o *options, name string, length time.Duration, reason string) error {
	cl, err := newClient(o)
	if err != nil {
		return err
	}
	var d edgeagent.DeviceStatus
	body := map[string]any{"for_s": length.Seconds(), "reason": reason}
	if err := cl.post(c.Context(), "/api/v1/devices/"+url.PathEscape(name)+"/maintenance", body, &d); err != nil {
		return err
	}
	c.Printf("%s is left alone until %s; to end it sooner: edgeagent devices resume %s\n", name, clock(d.Until), name)
	return nil
}

// resumeChoice is which devices to resume.
type resumeChoice struct {
	all          bool
	line, reason string
}

func newResume(o *options) *cobra.Command {
	var choice resumeChoice
	c := &cobra.Command{
		Use: "resume NAME… | --all | --line LINE", Short: "read stopped devices again",
		RunE: func(c *cobra.Command, args []string) error {
			if (len(args) > 0) == (choice.all || choice.line != "") {
				return usagef("%s takes names, or --all, or --line", c.CommandPath())
			}
			return devicesResume(c, o, args, choice)
		},
	}
	c.Flags().BoolVar(&choice.all, "all", false, "every stopped device")
	c.Flags().StringVar(&choice.line, "line", "", "every stopped device of a line")
	c.Flags().StringVar(&choice.reason, "reason", "", "why, for the log")
	return c
}

func fetchDevices(c *cobra.Command, o *options) (*client, []edgeagent.DeviceStatus, error) {
	cl, err := newClient(o)
	if err != nil {
		return nil, nil, err
	}
	var a devicesAnswer
	if err := cl.get(c.Context(), "/api/v1/devices", &a); err != nil {
		return nil, nil, err
	}
	return cl, a.Devices, nil
}

func devicesList(c *cobra.Command, o *options) error {
	cl, end, err := readingClient(c, o)
	if err != nil {
		return err
	}
	defer end()
	var a devicesAnswer
	if err := cl.get(c.Context(), "/api/v1/devices", &a); err != nil {
		return err
	}
	switch {
	case o.json && cl.left != nil:
		return printJSON(c.OutOrStdout(), map[string]any{"devices": leftDevices(a.Devices)})
	case o.json:
		return printJSON(c.OutOrStdout(), a)
	case cl.left != nil:
		return table(c.OutOrStdout(), leftDeviceRows(a.Devices))
	}
	return table(c.OutOrStdout(), deviceRows(a.Devices))
}

func devicesResume(c *cobra.Command, o *options, names []string, choice resumeChoice) error {
	cl, devices, err := fetchDevices(c, o)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		if names = choice.stopped(devices); len(names) == 0 {
			c.Println("no device is stopped")
			return nil
		}
	}
	failed := 0
	for _, name := range names {
		err := cl.post(c.Context(), "/api/v1/devices/"+url.PathEscape(name)+"/resume", map[string]string{"reason": choice.reason}, nil)
		if err != nil {
			failed++
			c.PrintErrf("edgeagent: %s: %v\n", printable(name), err)
			continue
		}
		c.Printf("%s resumed\n", name)
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d devices were not resumed", failed, len(names))
	}
	return nil
}

func (r resumeChoice) stopped(devices []edgeagent.DeviceStatus) []string {
	var names []string
	for _, d := range devices {
		if d.State == edgeagent.DeviceStopped && (r.all || d.Line == r.line) {
			names = append(names, d.Name)
		}
	}
	return names
}
