package main

import (
	"cmp"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"edgeagent"
)

func newStatus(o *options) *cobra.Command {
	return jsonFlag(&cobra.Command{
		Use: "status", Short: "one screen of how everything is; exit 0 ok or degraded, 3 attention, 4 fault, 5 no agent",
		Args: exactly(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := anyConfig(o)
			if err != nil {
				return err
			}
			var s edgeagent.Status
			err = clientOn(clientSocket(cfg)).get(c.Context(), "/api/v1/status", &s)
			if exitCode(err) == exitUnreachable {
				return statusLeft(c, o, cfg, err)
			}
			if err != nil {
				return err
			}
			if o.json {
				err = printJSON(c.OutOrStdout(), s)
			} else {
				err = printStatus(c.OutOrStdout(), s)
			}
			if err != nil {
				return err
			}
			return levelExit(s.Headline.Level)
		},
	}, o)
}

// levelExit makes `edgeagent status` usable as a check in a monitoring system.
func levelExit(l edgeagent.Level) error {
	switch l {
	case edgeagent.LevelAttention:
		return &exitError{code: exitConfig}
	case edgeagent.LevelFault:
		return &exitError{code: exitFault}
	default:
		return nil
	}
}

func printStatus(w io.Writer, s edgeagent.Status) error {
	fmt.Fprintf(w, "%s: %s\n", s.Headline.Level, printable(s.Headline.Text))
	fmt.Fprintf(w, "%s/%s, version %s, up %s\n\n", s.Agent.Site, s.Agent.ID, s.Agent.Version, seconds(s.Agent.UptimeS))
	if err := table(w, deviceRows(s.Devices)); err != nil {
		return err
	}
	printCounts(w, s)
	for _, p := range s.Providers {
		fmt.Fprintf(w, "provider   %s: %s\n", p.Name, providerWord(p))
	}
	for _, u := range s.Upstreams {
		fmt.Fprintf(w, "upstream   %s: %s, %d waiting%s%s\n", u.Name, u.State, u.Backlog, refusedBy(u), because(u.Error))
	}
	printSpend(w, s.Spend)
	_, err := fmt.Fprintf(w, "data file  %s, %d of %d KiB%s\n", s.Storage.State, (s.Storage.FileBytes-s.Storage.FreeBytes)>>10, s.Storage.MaxBytes>>10,
		because(cmp.Or(s.Storage.Error, s.Storage.Refusing)))
	return err
}

func printCounts(w io.Writer, s edgeagent.Status) {
	fmt.Fprintf(w, "\nalarms     %d active, %d to acknowledge, %d shelved\n", s.Alarms.Active, s.Alarms.Unacked, s.Alarms.Shelved)
	fmt.Fprintf(w, "jobs       %d pending, %d running, %d completed, %d failed\n", s.Jobs.Pending, s.Jobs.Running, s.Jobs.Completed, s.Jobs.Failed)
}

func printSpend(w io.Writer, s edgeagent.SpendStatus) {
	fmt.Fprintf(w, "spend      $%.2f", s.TodayUSD)
	if s.DailyCapUSD > 0 {
		fmt.Fprintf(w, " of $%.2f", s.DailyCapUSD)
	}
	fmt.Fprintln(w, " today")
}

func providerWord(p edgeagent.ProviderStatus) string {
	switch {
	case p.Hold != "":
		return "not asked: " + printable(p.Hold)
	case p.Kind == "runbook":
		return "ready" + because(p.Error)
	case p.TokensPerSecond > 0 && p.Error == "":
		return fmt.Sprintf("breaker %s, %.3g tokens a second", p.Breaker, p.TokensPerSecond)
	default:
		return "breaker " + p.Breaker + because(p.Error)
	}
}

func because(text string) string {
	if text == "" {
		return ""
	}
	return " (" + printable(text) + ")"
}

// weAre says what the agent does with a device. A stopped device is never
// called just "stopped": the machine may well be running.
func weAre(d edgeagent.DeviceStatus) string {
	if d.State == edgeagent.DeviceStopped {
		return "NOT BEING READ since " + clock(d.Since) + ", machine state unknown"
	}
	return string(d.State)
}

func deviceRows(devices []edgeagent.DeviceStatus) [][]string {
	rows := [][]string{{"DEVICE", "LINE", "WE ARE", "LINK", "LAST OK", "TAGS GOOD", "ERROR"}}
	for _, d := range devices {
		good := strconv.Itoa(d.Tags.Good) + "/" + strconv.Itoa(d.Tags.Good+d.Tags.Uncertain+d.Tags.Bad)
		rows = append(rows, []string{d.Name, dash(d.Line), weAre(d), string(d.Link), clock(d.LastOKAt), good, dash(d.Error)})
	}
	return rows
}

// refusedBy says how to see what an upstream has refused, where it has.
func refusedBy(u edgeagent.UpstreamStatus) string {
	if u.Parked == 0 {
		return ""
	}
	return fmt.Sprintf(", %d refused (edgeagent upstreams parked %s)", u.Parked, u.Name)
}
