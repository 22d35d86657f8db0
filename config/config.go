package config

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"path/filepath"
	"regexp"
	"time"
)

// Config is an accepted configuration: every default filled in, every relative
// path joined to the directory of the file.
type Config struct {
	Path    string // of the file, as it was named
	Agent   Agent
	Log     Log
	Status  Status
	Queue   Queue
	Alarms  Alarms
	Lines   []Line
	Devices []Device
	LLM     LLM
	Sync    []Sync

	// files are what it was made of, with the accepted bytes; the first is Path.
	// The tree that Diff compares is made of them again when it is asked for: it
	// is many times larger, and ten thousand tags would carry it about for ever.
	files []file
}

// Agent is who the agent is and where it keeps its things.
type Agent struct {
	ID, Site      string
	DataDir       string
	Socket        string         // at most 107 bytes
	Timezone      *time.Location // never nil
	ShutdownGrace time.Duration
}

// Log is how much is logged and how.
type Log struct {
	Level  slog.Level
	Format string // auto, text or json
}

// Status is where the page is served.
type Status struct {
	Listen string   // HOST:PORT, a loopback address
	Hosts  []string // further Host names that are answered
}

// Queue is how jobs are worked off and kept.
type Queue struct {
	Workers     int // diagnoses at a time
	MaxAttempts int
	GroupWindow time.Duration
	FloodWindow time.Duration // 0: every job comes as its alarms do
	MaxSize     int64         // bytes of the data file
	Retain      time.Duration
}

// Alarms is what holds for every alarm.
type Alarms struct {
	Mode      string // mirror
	MaxShelve time.Duration
}

// Line is one production line.
type Line struct {
	Name, Area      string
	DiagnoseOutside bool   // its cases may leave the site
	Modes           []Mode // the first that is true is the line's; none: "unknown"
}

// Mode is a state of a line in which alarms mean something or do not.
type Mode struct {
	Name string
	When string // expression over DEVICE.TAG
}

// Retry is a back-off: First, doubled up to Max.
type Retry struct {
	First, Max time.Duration
	Attempts   int // of one call; 0 where attempts are not counted
}

// LLM is what holds for all providers, and the providers in their order.
type LLM struct {
	MaxConcurrent int
	Language      string
	DailyCapUSD   float64
	JobCapUSD     float64
	DiagnoseStop  string           // runbook or all
	ReviewLocal   bool             // answers given in place of the first provider are asked again
	Redact        []*regexp.Regexp // blanked in what leaves the site
	Forbidden     []*regexp.Regexp // advice that no model may give, beside what the filter knows
	SafetyNames   []string         // what the site calls its safety functions, likewise
	Providers     []Provider
}

// Provider is one source of diagnoses. The last one is always the runbook.
type Provider struct {
	Name, Kind        string // kind: openai, azure, anthropic, ollama or runbook
	BaseURL, Model    string
	APIVersion        string // of Azure
	APIKey            Secret
	CAFile            string
	ClientCertFile    string
	ClientKeyFile     string
	Proxy             string // URL, "environment", or none
	ProxyUser         string
	ProxyPassword     Secret
	Timeout           time.Duration // of one attempt
	Budget            time.Duration // of all attempts of one job
	Retry             Retry
	Breaker           Breaker
	Price             Price
	MaxOutputTokens   int
	Temperature       float64
	FirstTokenTimeout time.Duration
	StallTimeout      time.Duration
	ContextTokens     int
	KeepAlive         time.Duration
	Path              string // of the runbook
}

// Breaker opens after so many failures in a row, for so long.
type Breaker struct {
	Failures int
	OpenFor  time.Duration
}

// Price is in USD per million tokens.
type Price struct {
	Input, Output, CachedInput float64
}

// Sync is one upstream.
type Sync struct {
	Name, URL string
	Receipt   string // body or status
	Required  bool
	Keep      time.Duration
	Heartbeat time.Duration // 0: none
	Token     Secret
	CAFile    string
	Batch     int // events
	Timeout   time.Duration
	Retry     Retry
	Content   string // full or minimal
}

// Hash returns twelve hex digits of the SHA-256 of the accepted bytes: of the
// file, or of all files that the configuration is made of.
func (c *Config) Hash() string {
	sum := sha256.New()
	for i, f := range c.files {
		if i > 0 {
			fmt.Fprintf(sum, "\n%d\n", len(f.data))
		}
		sum.Write(f.data)
	}
	return hex.EncodeToString(sum.Sum(nil)[:6])
}

// Line returns the line of that name. A line that has no [[line]] of its own
// has the defaults.
func (c *Config) Line(name string) Line {
	for _, l := range c.Lines {
		if l.Name == name {
			return l
		}
	}
	return Line{Name: name, DiagnoseOutside: true}
}

// MoveDataDir makes the agent keep its data, and its socket with it, in dir.
func (c *Config) MoveDataDir(dir string) {
	old := c.Agent.DataDir
	c.Agent.DataDir = dir
	c.Agent.Socket = filepath.Join(dir, socketName)
	for i := range c.Devices {
		if o := c.Devices[i].OPCUA; o != nil && o.ClientCertFile == ownCert(old) {
			o.ClientCertFile, o.ClientKeyFile = ownCert(dir), ownKey(dir)
		}
	}
}
