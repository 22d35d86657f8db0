package edgeagent

import "time"

// Level is how the agent as a whole is doing.
type Level string

// The levels. Degraded is designed behaviour (no cloud, no upstream) and must
// never look like an alarm.
const (
	LevelOK        Level = "ok"
	LevelDegraded  Level = "degraded"
	LevelAttention Level = "attention"
	LevelFault     Level = "fault"
)

// Headline is the state of everything in one sentence.
type Headline struct {
	Level Level  `json:"level"`
	Text  string `json:"text"`
}

// AgentInfo says who answers.
type AgentInfo struct {
	ID         string  `json:"id"`
	Site       string  `json:"site"`
	Version    string  `json:"version"`
	UptimeS    float64 `json:"uptime_s"`
	Epoch      ID      `json:"epoch"`
	ConfigHash string  `json:"config_hash"`
	// ConfigError is why the file on disk was refused; the last accepted
	// configuration runs then.
	ConfigError string `json:"config_error,omitempty"`
	ClockSynced bool   `json:"clock_synced"`
	// SamplesMerged counts values that a later one replaced before the agent had
	// time to look at them; it begins anew with a reload.
	SamplesMerged uint64 `json:"samples_merged"`
}

// AlarmCounts counts open alarms.
type AlarmCounts struct {
	Active  int  `json:"active"`
	Unacked int  `json:"unacked"`
	Own     int  `json:"own_unacked"` // of them the agent's own
	Shelved int  `json:"shelved"`
	Flood   bool `json:"flood"` // more than 10 new ones in 10 minutes
}

// ProviderStatus is what the page says of a model provider.
type ProviderStatus struct {
	Name      string     `json:"name"`
	Kind      string     `json:"kind"`
	Model     string     `json:"model"`
	Breaker   string     `json:"breaker"` // closed | open | half-open
	Hold      string     `json:"hold"`    // why it is not asked, empty when it is
	HoldUntil *time.Time `json:"hold_until"`
	// HoldClass is the class of the failure behind the hold: auth, quota and
	// config want a person, everything else passes by itself.
	HoldClass CallOutcome `json:"hold_class,omitempty"`
	LastOKAt  *time.Time  `json:"last_ok_at"`
	Error     string      `json:"error"`
	NextProbe *time.Time  `json:"next_probe_at"`
	Calls     uint64      `json:"calls"`

	// Of a model on the box, as measured; nothing until it was.
	TokensPerSecond       float64 `json:"tokens_per_second,omitempty"`        // of its answers
	PromptTokensPerSecond float64 `json:"prompt_tokens_per_second,omitempty"` // of reading a question
	LoadS                 float64 `json:"load_s,omitempty"`                   // into memory
	WaitS                 float64 `json:"wait_s,omitempty"`                   // behind the questions of others
	ContextTokens         int     `json:"context_tokens,omitempty"`           // of question and answer together
}

// UpstreamState is how an upstream is doing, judged by real requests to it.
type UpstreamState string

// The states of an upstream; off is configured to send nothing.
const (
	UpstreamUp      UpstreamState = "up"
	UpstreamProbing UpstreamState = "probing"
	UpstreamDown    UpstreamState = "down"
	UpstreamPaused  UpstreamState = "paused"
	UpstreamOff     UpstreamState = "off"
)

// UpstreamStatus is what the page says of an upstream.
type UpstreamStatus struct {
	Name      string        `json:"name"`
	URL       string        `json:"url"`
	State     UpstreamState `json:"state"`
	Since     *time.Time    `json:"since"`
	Backlog   int           `json:"backlog"`
	OldestS   float64       `json:"oldest_s"`
	Confirmed uint64        `json:"confirmed"`
	Parked    int           `json:"parked"`
	Again     int           `json:"again"` // of parked: those that are sent again
	Error     string        `json:"error"`
	NextTryAt *time.Time    `json:"next_try_at"`
}

// SpendStatus is today's cost.
type SpendStatus struct {
	TodayUSD    float64 `json:"today_usd"`
	DailyCapUSD float64 `json:"daily_cap_usd"`
	// Capped: a question was refused for the cap, and would be again. What is spent
	// stays a little below it, for a question has to fit in at its worst price.
	Capped bool `json:"capped,omitempty"`
}

// StorageState is the state of the data file.
type StorageState string

// The states of the data file.
const (
	StorageOK       StorageState = "ok"
	StorageChecking StorageState = "checking"
	StorageSalvaged StorageState = "salvaged"
	StorageFull     StorageState = "full"
)

// StorageStatus is what the page says of the data file.
type StorageStatus struct {
	FileBytes     int64        `json:"file_bytes"`
	FreeBytes     int64        `json:"free_bytes"`
	MaxBytes      int64        `json:"max_bytes"`
	DiskFreeBytes int64        `json:"disk_free_bytes"`
	ReserveBytes  int64        `json:"reserve_bytes"` // held back on the disk for finishing what was accepted
	State         StorageState `json:"state"`
	Error         string       `json:"error,omitempty"`
	Commits       uint64       `json:"commits"`
	Waiting       int          `json:"transitions_waiting"`
	JobsRefused   uint64       `json:"jobs_refused"`       // for want of space, since the start
	Refusing      string       `json:"refusing,omitempty"` // which alarms get no diagnosis now; empty: none
}

// Trouble says what is wrong with the file now. It comes before that the file was
// salvaged, which a person may read later.
func (s *StorageStatus) Trouble(now error) {
	if now == nil {
		return
	}
	s.Error = now.Error()
	if s.State == StorageSalvaged {
		s.State = StorageOK
	}
}

// Status is the whole answer of GET /api/v1/status.
type Status struct {
	Agent     AgentInfo        `json:"agent"`
	Headline  Headline         `json:"headline"`
	Devices   []DeviceStatus   `json:"devices"`
	Alarms    AlarmCounts      `json:"alarms"`
	Jobs      JobCounts        `json:"jobs"`
	Providers []ProviderStatus `json:"providers"`
	Upstreams []UpstreamStatus `json:"upstreams"`
	Spend     SpendStatus      `json:"spend"`
	Storage   StorageStatus    `json:"storage"`
}
