package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"edgeagent"
	"edgeagent/config"
)

// unseen is what only a running agent knows: null in JSON, where a zero would
// look like a value.
type unseen = *struct{}

// leftDevice is a device as the data file remembers it.
type leftDevice struct {
	edgeagent.DeviceStatus
	State           *edgeagent.DeviceState `json:"state"`
	Link            unseen                 `json:"link"`
	Attempt         *int                   `json:"attempt"`
	Error           *string                `json:"error"`
	ScanMS          unseen                 `json:"scan_ms"`
	RequestsPerScan unseen                 `json:"requests_per_scan"`
	Requests        unseen                 `json:"requests"`
	Errors          unseen                 `json:"errors"`
	Overruns        unseen                 `json:"overruns"`
	StaleFrames     unseen                 `json:"stale_frames"`
	Gaps            unseen                 `json:"gaps"`
	Tags            unseen                 `json:"tags"`
	Recent          unseen                 `json:"recent"`
	Log             unseen                 `json:"log,omitempty"`
	Plan            unseen                 `json:"plan,omitempty"`
}

func leftDevices(all []edgeagent.DeviceStatus) []leftDevice {
	out := make([]leftDevice, 0, len(all))
	for _, d := range all {
		l := leftDevice{DeviceStatus: d}
		if d.State != "" {
			l.State, l.Attempt, l.Error = &d.State, &d.Attempt, &d.Error
		}
		out = append(out, l)
	}
	return out
}

// leftDeviceRows says of every device that nobody reads it, and of those that the
// agent left alone before, since when.
func leftDeviceRows(all []edgeagent.DeviceStatus) [][]string {
	rows := [][]string{{"DEVICE", "LINE", "WE ARE", "ERROR"}}
	for _, d := range all {
		rows = append(rows, []string{d.Name, dash(d.Line), leftAs(d), dash(d.Error)})
	}
	return rows
}

func leftAs(d edgeagent.DeviceStatus) string {
	switch {
	case d.State == "":
		return "not reading it: no agent runs"
	case d.Until != nil:
		return weAre(d) + " until " + clock(d.Until)
	default:
		return weAre(d)
	}
}

type leftAgent struct {
	edgeagent.AgentInfo
	Version       unseen `json:"version"`
	UptimeS       unseen `json:"uptime_s"`
	ConfigHash    unseen `json:"config_hash"`
	ClockSynced   unseen `json:"clock_synced"`
	SamplesMerged unseen `json:"samples_merged"`
}

type leftUpstream struct {
	edgeagent.UpstreamStatus
	State unseen `json:"state"`
	Error unseen `json:"error"`
}

type leftStorage struct {
	edgeagent.StorageStatus
	State        *edgeagent.StorageState `json:"state"`
	FreeBytes    unseen                  `json:"free_bytes"`
	ReserveBytes unseen                  `json:"reserve_bytes"`
	Commits      unseen                  `json:"commits"`
	Waiting      unseen                  `json:"transitions_waiting"`
	JobsRefused  unseen                  `json:"jobs_refused"`
}

// leftStatus is the answer of status while no agent runs: that of the API, with
// null for what nobody knows.
type leftStatus struct {
	Running   bool      `json:"running"` // false; a running agent does not say
	ReadFrom  string    `json:"read_from"`
	WrittenAt time.Time `json:"written_at"`
	Agent     leftAgent `json:"agent"`
	edgeagent.Status
	Devices   []leftDevice   `json:"devices"`
	Providers unseen         `json:"providers"`
	Upstreams []leftUpstream `json:"upstreams"`
	Storage   leftStorage    `json:"storage"`
}

// statusLeft says that no agent runs, and what its data file tells. Its exit code
// is that of an agent that is not reachable, whatever the file tells.
func statusLeft(c *cobra.Command, o *options, cfg *config.Config, gone error) error {
	l, err := openLeft(c, cfg, gone)
	if err != nil {
		return &exitError{exitUnreachable, err}
	}
	defer func() { _ = l.Close() }()
	s, err := l.status()
	switch {
	case err != nil:
		return &exitError{exitUnreachable, fmt.Errorf("read %s: %w", l.path, err)}
	case o.json:
		err = printJSON(c.OutOrStdout(), s)
	default:
		err = printLeft(c.OutOrStdout(), s)
	}
	return &exitError{exitUnreachable, err}
}

func (l *left) status() (leftStatus, error) {
	st := l.Status()
	s := leftStatus{Status: st, ReadFrom: l.path, Agent: leftAgent{AgentInfo: st.Agent}, Devices: leftDevices(st.Devices), Upstreams: []leftUpstream{}}
	for _, u := range st.Upstreams {
		s.Upstreams = append(s.Upstreams, leftUpstream{UpstreamStatus: u})
	}
	if s.Storage = (leftStorage{StorageStatus: st.Storage}); st.Storage.State == edgeagent.StorageSalvaged {
		s.Storage.State = &st.Storage.State
	}
	at, err := l.WrittenAt()
	if err != nil {
		return s, err
	}
	s.WrittenAt = at.In(l.cfg.Agent.Timezone)
	s.Headline = edgeagent.Headline{Level: edgeagent.LevelFault, Text: "No agent runs: nothing is read, nothing is diagnosed. What it left was written last " + clock(&at)}
	s.Spend.TodayUSD, err = l.SpentUSD(time.Now().In(l.cfg.Agent.Timezone))
	return s, err
}

func printLeft(w io.Writer, s leftStatus) error {
	fmt.Fprintf(w, "%s: %s\n", s.Headline.Level, printable(s.Headline.Text))
	fmt.Fprintf(w, "%s/%s\n\n", s.Agent.Site, s.Agent.ID)
	if err := table(w, leftDeviceRows(s.Status.Devices)); err != nil {
		return err
	}
	printCounts(w, s.Status)
	for _, u := range s.Upstreams {
		fmt.Fprintf(w, "upstream   %s: %d waiting%s\n", u.Name, u.Backlog, refusedBy(u.UpstreamStatus))
	}
	printSpend(w, s.Spend)
	_, err := fmt.Fprintf(w, "data file  %d KiB, at most %d KiB%s\n", s.Storage.FileBytes>>10, s.Storage.MaxBytes>>10, because(s.Storage.Error))
	return err
}
