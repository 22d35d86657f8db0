package status

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"edgeagent"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Ids of the fixture: fixed, so that golden pages stay the same.
const (
	idPressure = edgeagent.ID("01KAQ000000000000000000001")
	idBefore   = edgeagent.ID("01KA0000000000000000000001")
	idStopped  = edgeagent.ID("01KAQ000000000000000000002")
	idOld      = edgeagent.ID("01KAQ000000000000000000003")
	idJob      = edgeagent.ID("01KAQ000000000000000000011")
	idFailed   = edgeagent.ID("01KAQ000000000000000000012")
	idNobody   = edgeagent.ID("01KAQ0000000000000000000ZZ")
)

// plant is a Source and Actions over plain values. Tests change the values
// before they serve; actions are guarded, for they come from many goroutines.
type plant struct {
	mu       sync.Mutex
	status   edgeagent.Status
	readings map[string][]edgeagent.Reading
	trends   map[string][]Point
	alarms   map[edgeagent.ID]edgeagent.Alarm
	evidence map[edgeagent.ID]*edgeagent.Evidence
	jobs     map[edgeagent.ID]edgeagent.Job
	sent     map[edgeagent.ID][]edgeagent.Exchange
	faulty   []edgeagent.FaultyAnswer
	judged   []edgeagent.Accuracy
	memory   edgeagent.Memory
	err      error // what alarms and jobs answer, when set

	did  []string
	keys map[string]keyed
}

type keyed struct {
	hash string
	id   edgeagent.ID
}

func (p *plant) Status() edgeagent.Status                   { return p.status }
func (p *plant) Readings(device string) []edgeagent.Reading { return p.readings[device] }

func (p *plant) Trend(device, tag string, since time.Time) []Point {
	var out []Point
	for _, q := range p.trends[device+"."+tag] {
		if !q.At.Before(since) {
			out = append(out, q)
		}
	}
	return out
}

func (p *plant) Alarm(id edgeagent.ID) (edgeagent.Alarm, error) { return find(p, p.alarms, id) }
func (p *plant) Job(id edgeagent.ID) (edgeagent.Job, error)     { return find(p, p.jobs, id) }
func (p *plant) Exchanges(id edgeagent.ID) ([]edgeagent.Exchange, error) {
	return find(p, p.sent, id)
}
func (p *plant) Faulty(edgeagent.ID) ([]edgeagent.FaultyAnswer, error) { return p.faulty, p.err }
func (p *plant) Evidence(id edgeagent.ID) (*edgeagent.Evidence, error) {
	return find(p, p.evidence, id)
}

func find[T any](p *plant, all map[edgeagent.ID]T, id edgeagent.ID) (T, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	v, ok := all[id]
	switch {
	case p.err != nil:
		return v, p.err
	case !ok:
		return v, edgeagent.ErrNotFound
	default:
		return v, nil
	}
}

func (p *plant) Alarms(state string, limit int, after edgeagent.ID) ([]edgeagent.Alarm, edgeagent.ID, error) {
	return pick(p, p.alarms, limit, after, func(a edgeagent.Alarm) bool {
		switch state {
		case "active":
			return a.State.Open() && a.ShelvedUntil == nil
		case "shelved":
			return a.ShelvedUntil != nil
		default:
			return true
		}
	})
}

func (p *plant) Jobs(state string, limit int, after edgeagent.ID) ([]edgeagent.Job, edgeagent.ID, error) {
	return pick(p, p.jobs, limit, after, func(j edgeagent.Job) bool { return state == "" || string(j.State) == state })
}

func pick[T any](p *plant, all map[edgeagent.ID]T, limit int, after edgeagent.ID, want func(T) bool) ([]T, edgeagent.ID, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return nil, "", p.err
	}
	ids := slices.Sorted(maps.Keys(all))
	slices.Reverse(ids)
	var out []T
	last := edgeagent.ID("")
	for _, id := range ids {
		if after != "" && id >= after || !want(all[id]) {
			continue
		}
		if len(out) == limit {
			return out, last, nil
		}
		out, last = append(out, all[id]), id
	}
	return out, "", nil
}

func (p *plant) note(format string, args ...any) { p.did = append(p.did, fmt.Sprintf(format, args...)) }

func (p *plant) Raise(_ context.Context, o OutsideAlarm, key, hash string) (edgeagent.Alarm, bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if k, known := p.keys[key]; known && key != "" {
		if k.hash != hash {
			return edgeagent.Alarm{}, false, fmt.Errorf("idempotency key: %w", edgeagent.ErrConflict)
		}
		return p.alarms[k.id], false, nil
	}
	a := edgeagent.Alarm{ID: edgeagent.NewID(time.Now()), Device: o.Device, Line: o.Line, Code: o.Code, Text: o.Text,
		Priority: o.Priority, State: edgeagent.AlarmUnacked, Origin: edgeagent.OriginOutside, RaisedAt: time.Now(), Values: o.Values}
	p.alarms[a.ID] = a
	p.keys[key] = keyed{hash, a.ID}
	p.note("raise %s by %s", o.Code, o.By)
	return a, true, nil
}

func (p *plant) change(id edgeagent.ID, what string, do func(*edgeagent.Alarm)) (edgeagent.Alarm, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a, ok := p.alarms[id]
	if !ok {
		return a, edgeagent.ErrNotFound
	}
	if a.State == edgeagent.AlarmNormal {
		return a, fmt.Errorf("%s: the alarm is over: %w", what, edgeagent.ErrConflict)
	}
	do(&a)
	p.alarms[id] = a
	p.note("%s %s", what, id)
	return a, nil
}

func (p *plant) Acknowledge(_ context.Context, id edgeagent.ID, by string) (edgeagent.Alarm, error) {
	return p.change(id, "ack", func(a *edgeagent.Alarm) { a.State, a.AckedBy = edgeagent.AlarmAcked, by })
}

func (p *plant) Shelve(_ context.Context, id edgeagent.ID, by, reason string, d time.Duration) (edgeagent.Alarm, error) {
	if d > 24*time.Hour {
		return edgeagent.Alarm{}, fmt.Errorf("%w: at most 24h", ErrInvalid)
	}
	until := time.Now().Add(d)
	return p.change(id, "shelve by "+by, func(a *edgeagent.Alarm) { a.ShelvedUntil, a.ShelveReason = &until, reason })
}

func (p *plant) Unshelve(_ context.Context, id edgeagent.ID, by string) (edgeagent.Alarm, error) {
	return p.change(id, "unshelve by "+by, func(a *edgeagent.Alarm) { a.ShelvedUntil = nil })
}

func (p *plant) Clear(_ context.Context, id edgeagent.ID, by string) (edgeagent.Alarm, error) {
	return p.change(id, "clear by "+by, func(a *edgeagent.Alarm) { a.State = edgeagent.AlarmNormal })
}

func (p *plant) ResumeDevice(_ context.Context, name, by, reason string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.readings[name]; !ok {
		return edgeagent.ErrNotFound
	}
	p.note("resume %s by %s: %s", name, by, reason)
	return nil
}

func (p *plant) MaintainDevice(_ context.Context, name, by, reason string, d time.Duration) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.readings[name]; !ok {
		return edgeagent.ErrNotFound
	}
	p.note("maintain %s for %v by %s: %s", name, d, by, reason)
	return nil
}

func (p *plant) AskDevice(_ context.Context, name string, q Question) (Reply, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.readings[name]; !ok {
		return Reply{}, edgeagent.ErrNotFound
	}
	if q.Offset >= 1000 {
		return Reply{Exception: 2}, nil
	}
	p.note("ask %s unit %d %s:%d x %d", name, q.Unit, q.Area, q.Offset, q.Quantity)
	return Reply{Data: "002a"}, nil
}

func (p *plant) onJob(id edgeagent.ID, what string, from edgeagent.JobState) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	j, ok := p.jobs[id]
	if !ok {
		return edgeagent.ErrNotFound
	}
	if j.State != from {
		return fmt.Errorf("the job is %s: %w", j.State, edgeagent.ErrConflict)
	}
	p.note("%s %s", what, id)
	return nil
}

func (p *plant) RetryJob(_ context.Context, id edgeagent.ID, by string) error {
	return p.onJob(id, "retry by "+by, edgeagent.JobFailed)
}

func (p *plant) DiscardJob(_ context.Context, id edgeagent.ID, by, reason string) error {
	return p.onJob(id, "discard by "+by+": "+reason, edgeagent.JobFailed)
}

func (p *plant) Feedback(_ context.Context, id edgeagent.ID, f edgeagent.Feedback) (edgeagent.Job, error) {
	if err := p.onJob(id, "feedback "+string(f.Verdict)+" by "+f.By, edgeagent.JobCompleted); err != nil {
		return edgeagent.Job{}, err
	}
	j := p.jobs[id]
	j.Feedback = &f
	return j, nil
}

func (p *plant) ConfirmFeedback(_ context.Context, id edgeagent.ID, by string) error {
	if id == idJob && p.jobs[id].Feedback == nil {
		return fmt.Errorf("nobody has judged its diagnosis: %w", edgeagent.ErrConflict)
	}
	return p.onJob(id, "confirm by "+by, edgeagent.JobCompleted)
}

func (p *plant) Accuracy() ([]edgeagent.Accuracy, error) { return p.judged, p.err }

func (p *plant) Memory(device, line, code string) (edgeagent.Memory, error) {
	m := p.memory
	m.Device, m.Line, m.Code = device, line, code
	return m, p.err
}

func (p *plant) Memories(int) ([]edgeagent.Memory, error) { return []edgeagent.Memory{p.memory}, p.err }

func (p *plant) Reload(context.Context) ([]string, error) {
	return nil, errors.New(`config.toml:14:1: unknown key "address" in [[device.tag]]`)
}

func (p *plant) deeds() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.did)
}

// newPlant is a bottling line at three in the morning: one alarm of a machine,
// one PLC that is not being read, no cloud.
func newPlant(now time.Time) *plant {
	p := &plant{
		readings: map[string][]edgeagent.Reading{}, trends: map[string][]Point{}, keys: map[string]keyed{},
		alarms: map[edgeagent.ID]edgeagent.Alarm{}, evidence: map[edgeagent.ID]*edgeagent.Evidence{}, jobs: map[edgeagent.ID]edgeagent.Job{},
	}
	p.status = newStatus(now)
	addReadings(p, now)
	addAlarms(p, now)
	addJobs(p, now)
	p.judged = []edgeagent.Accuracy{{Provider: "cloud", Model: "gpt-4o-mini", Right: 12, Partly: 3, Wrong: 2}, {Provider: "runbook", Wrong: 1}}
	p.memory = edgeagent.Memory{Judged: p.judged[1:], Before: []edgeagent.Precedent{{Alarm: idBefore, At: now.Add(-50 * 24 * time.Hour),
		Cause: "foam after a product change", FixedBy: "rinsed the probe", Verdict: edgeagent.VerdictWrong, Confirmed: true, ByPerson: true}}}
	return p
}

func ago(now time.Time, d time.Duration) *time.Time {
	t := now.Add(-d)
	return &t
}

func newStatus(now time.Time) edgeagent.Status {
	bars := func(s string) string {
		return (s + "||||||||||||||||||||||||||||||||||||||||||||||||||||||||||||")[:60]
	}
	return edgeagent.Status{
		Agent: edgeagent.AgentInfo{ID: "line-3-gw", Site: "plant-a", Version: "0.1.0", UptimeS: 93784, Epoch: idOld,
			ConfigHash: "3f2a9c", ClockSynced: true, SamplesMerged: 2},
		Devices: []edgeagent.DeviceStatus{
			{Name: "filler", Line: "Filler-2", URL: "modbus-tcp://192.168.10.21:502", Protocol: "modbus-tcp", Unit: 1,
				State: edgeagent.DevicePolling, Since: ago(now, time.Hour), Link: edgeagent.LinkUp, LastOKAt: ago(now, 400*time.Millisecond),
				Resume: "5m", ScanMS: 12.4, RequestsPerScan: 2, Requests: 7200, Tags: edgeagent.TagCount{Good: 2, Bad: 1},
				Recent: bars("||.|"), Plan: []string{"read 14 holding registers from 100", "read 8 coils from 0"},
				Log: []edgeagent.LogEntry{{At: now.Add(-time.Hour), Event: "connected", Detail: edgeagent.NewNote("connected", "192.168.10.21:502")}}},
			{Name: "capper", Line: "Filler-2", URL: "modbus-tcp://192.168.10.22:502", Protocol: "modbus-tcp", Unit: 1,
				State: edgeagent.DeviceStopped, Since: ago(now, 12*time.Minute), Link: edgeagent.LinkDown, Attempt: 6, LastOKAt: ago(now, 13*time.Minute),
				NextTryAt: ago(now, -3*time.Minute), Resume: "5m", Requests: 6400, Errors: 14, Tags: edgeagent.TagCount{Bad: 1},
				Error: "dial tcp 192.168.10.22:502: i/o timeout; retried after 2, 4, 8, 16, 30 s", Recent: "||||||||||||||||||||||||||||||||||||||||||||||||||||||xxxxxx"},
			{Name: "packer", Line: "Packaging", URL: "modbus-tcp://192.168.10.23:502", Protocol: "modbus-tcp", Unit: 1,
				State: edgeagent.DevicePolling, Link: edgeagent.LinkUp, LastOKAt: ago(now, time.Second), ScanMS: 3.1, RequestsPerScan: 1,
				Requests: 7201, Tags: edgeagent.TagCount{Good: 1, Uncertain: 1}, Recent: bars("|")},
		},
		Alarms: edgeagent.AlarmCounts{Active: 2, Unacked: 2},
		Jobs:   edgeagent.JobCounts{Pending: 1, Completed: 12, Failed: 1},
		Providers: []edgeagent.ProviderStatus{
			{Name: "cloud", Kind: "openai", Model: "gpt-4o-mini", Breaker: "open", LastOKAt: ago(now, time.Hour), Error: "dial tcp: i/o timeout",
				NextProbe: ago(now, -20*time.Second), Calls: 42},
			{Name: "local", Kind: "ollama", Model: "qwen2.5:1.5b", Breaker: "closed", LastOKAt: ago(now, time.Minute), Calls: 7,
				TokensPerSecond: 7.5, PromptTokensPerSecond: 40, LoadS: 12, ContextTokens: 2048},
			{Name: "runbook", Kind: "runbook", Calls: 3},
		},
		Upstreams: []edgeagent.UpstreamStatus{{Name: "historian", URL: "https://ingest.example/events", State: edgeagent.UpstreamDown,
			Since: ago(now, 41*time.Minute), Backlog: 17, OldestS: 2460, Confirmed: 812, Error: "dial tcp: i/o timeout", NextTryAt: ago(now, -25*time.Second)}},
		Spend:   edgeagent.SpendStatus{TodayUSD: 0.84, DailyCapUSD: 2},
		Storage: edgeagent.StorageStatus{FileBytes: 39 << 20, FreeBytes: 12 << 20, MaxBytes: 256 << 20, DiskFreeBytes: 8 << 30, State: edgeagent.StorageOK, Commits: 412, ReserveBytes: 2 << 20, JobsRefused: 3},
	}
}

func addReadings(p *plant, now time.Time) {
	good := edgeagent.Float(93.5)
	p.readings["filler"] = []edgeagent.Reading{
		{Device: "filler", Tag: "level", Value: edgeagent.Float(91.8125), EngUnit: "%", Quality: edgeagent.QualityGood, At: ago(now, time.Second),
			AgeS: 1, Raw: []uint16{0x42b7, 0xa000}, Address: "holding:100", Type: edgeagent.TypeFloat32},
		{Device: "filler", Tag: "state", Value: edgeagent.Int(6), Text: "Execute", Quality: edgeagent.QualityGood, At: ago(now, time.Second),
			AgeS: 1, Raw: []uint16{6}, Address: "40103", Type: edgeagent.TypeUint16},
		{Device: "filler", Tag: "pressure", EngUnit: "bar", Quality: edgeagent.QualityBad, At: ago(now, 42*time.Second), AgeS: 42,
			Reason:   edgeagent.NewNote(edgeagent.ReasonException, "the PLC refused the address: exception 2, illegal data address"),
			LastGood: &good, LastGoodAt: ago(now, 10*time.Minute), Address: "holding:104", Type: edgeagent.TypeFloat32, Safety: true},
	}
	p.readings["capper"] = []edgeagent.Reading{{Device: "capper", Tag: "speed", Quality: edgeagent.QualityBad,
		Reason: edgeagent.NewNote(edgeagent.ReasonDeviceStopped, "the device is not being read"), Address: "input:3", Type: edgeagent.TypeInt16}}
	p.readings["packer"] = []edgeagent.Reading{{Device: "packer", Tag: "load", Value: edgeagent.Float(131), EngUnit: "%", Quality: edgeagent.QualityUncertain,
		Reason: edgeagent.NewNote(edgeagent.ReasonOutOfRange, "above its maximum of 120"), AgeS: 0.5, At: ago(now, 500*time.Millisecond)}}
	for i := range 400 {
		at := now.Add(-time.Duration(400-i) * 5 * time.Second)
		v := 60 + 5*math.Sin(float64(i)/9)
		if i > 310 {
			v = math.Min(60+float64(i-310)*0.9, 92) + math.Sin(float64(i))
		}
		p.trends["filler.level"] = append(p.trends["filler.level"], Point{at, v - 1, v + 1, v})
		if i < 150 || i > 200 {
			p.trends["filler.flow"] = append(p.trends["filler.flow"], Point{at, 11.9 - float64(i)/100, 12.3 - float64(i)/100, 12.2 - float64(i)/100})
		}
	}
}

func hint(now time.Time) *edgeagent.Diagnosis {
	return &edgeagent.Diagnosis{Summary: "Level sensor reads high while the fill valve is open.", Language: "en",
		Causes:  []edgeagent.Cause{{Cause: "Foam on the level probe after a product change", Likelihood: edgeagent.Likely, Evidence: []string{"filler.level"}, Sources: []string{"runbook/filler.md#f212"}}},
		Checks:  []string{"Look at the sight glass: is there foam above the probe?", "Compare the probe with the float switch"},
		Urgency: edgeagent.UrgencyNow, Safety: "Lock out the filler before opening the bowl.",
		By: edgeagent.Provenance{Provider: "runbook", Kind: "runbook", At: now, Attempts: 1}}
}

func addAlarms(p *plant, now time.Time) {
	raised := now.Add(-6 * time.Minute)
	low, high, mean, slope := 55.0, 92.5, 71.2, 4.9
	p.alarms[idPressure] = edgeagent.Alarm{ID: idPressure, Device: "filler", Line: "Filler-2", Area: "Filling", Code: "F212",
		Text: "Level sensor unstable during fill cycle", SourceText: "F212 LVL SENS UNSTABLE", Origin: edgeagent.OriginTag, Priority: 1,
		State: edgeagent.AlarmUnacked, RaisedAt: raised, Values: map[string]edgeagent.Value{"filler.level": edgeagent.Float(88.25)},
		FirstOut: true, Observed: edgeagent.ObservedLive, Diagnose: true, Hint: hint(raised), Job: idJob,
		LastTime: &edgeagent.Occurrence{ID: idOld, At: now.Add(-26 * time.Hour), Cause: "foam", FixedBy: "rinsed the probe"}}
	p.evidence[idPressure] = &edgeagent.Evidence{At: raised, WindowS: 600, HistorySince: raised.Add(-4 * time.Minute), Omitted: 9,
		Tags: []edgeagent.Feature{{Tag: "filler.level", Value: edgeagent.Float(88.25), EngUnit: "%", Quality: edgeagent.QualityGood,
			Min: &low, Max: &high, Mean: &mean, SlopePerMin: &slope, LimitHigh: new(80.0), LastChange: ago(raised, time.Second), Changes: 44}},
		Moved: []edgeagent.Feature{{Tag: "filler.flow", Value: edgeagent.Float(9.1), EngUnit: "l/min", Quality: edgeagent.QualityUncertain,
			Reason: edgeagent.NewNote(edgeagent.ReasonStale, "stale for 42 s"), Min: new(8.2), Max: new(12.4)}},
		Gaps: []string{"filler: nothing was read from 02:41 to 02:45"}}
	p.alarms[idStopped] = edgeagent.Alarm{ID: idStopped, Device: "capper", Line: "Filler-2", Code: edgeagent.CodeDeviceStopped,
		Text: "Capper is not being read any more", Origin: edgeagent.OriginAgent, Priority: 2, State: edgeagent.AlarmUnacked, RaisedAt: now.Add(-12 * time.Minute),
		Observed: edgeagent.ObservedLive, Hint: &edgeagent.Diagnosis{Summary: "The PLC did not answer for 60 s.", Checks: []string{"Check switch port 4 in cabinet =A2"},
			By: edgeagent.Provenance{Provider: "runbook", Kind: "runbook", At: now.Add(-12 * time.Minute)}}}
	p.alarms[idOld] = edgeagent.Alarm{ID: idOld, Device: "packer", Line: "Packaging", Code: "A305", Text: "Motor overload", Origin: edgeagent.OriginTag, Priority: 3,
		State: edgeagent.AlarmNormal, RaisedAt: now.Add(-26 * time.Hour), ClearedAt: ago(now, 25*time.Hour), AckedAt: ago(now, 25*time.Hour), AckedBy: "meier", Observed: edgeagent.ObservedAtStart}
}

func addJobs(p *plant, now time.Time) {
	p.jobs[idJob] = edgeagent.Job{ID: idJob, State: edgeagent.JobCompleted, Alarms: []edgeagent.ID{idPressure}, Line: "Filler-2", Priority: 1,
		Attempts: 1, MaxAttempts: 8, CreatedAt: now.Add(-6 * time.Minute), FinishedAt: ago(now, 5*time.Minute),
		Diagnosis: &edgeagent.Diagnosis{Summary: "The level signal rose faster than the flow allows: the probe sees foam.", Language: "en",
			Causes: []edgeagent.Cause{
				{Cause: "Foam on the level probe", Likelihood: edgeagent.Likely, Evidence: []string{"filler.level", "filler.flow"}, Sources: []string{"runbook/filler.md#f212"}},
				{Cause: "Loose probe cable", Likelihood: edgeagent.Possible, Evidence: []string{"filler/F212"}},
				{Cause: "Inlet valve does not close", Likelihood: edgeagent.Unlikely},
			},
			Checks: []string{"Look at the sight glass", "Wiggle the probe's connector"}, Urgency: edgeagent.UrgencyNow,
			Safety: "Lock out the filler before opening the bowl.", Missing: []string{"valve position"},
			Grounded: edgeagent.Grounded{Checked: 5, Held: 4}, Filtered: []string{"bridge the door switch: would defeat a guard"},
			By: edgeagent.Provenance{Provider: "local", Kind: "ollama", Model: "qwen2.5:1.5b", PromptVersion: "1", At: now.Add(-5 * time.Minute),
				TookMS: 18400, TokensIn: 812, TokensOut: 141, Attempts: 1, WhyNotFirst: "cloud: breaker open"}},
		Timeline: []edgeagent.TimelineEntry{{At: now.Add(-6 * time.Minute), Event: "opened"}, {At: now.Add(-355 * time.Second), Event: "leased"},
			{At: now.Add(-5 * time.Minute), Event: "completed", Detail: edgeagent.NewNote("completed", "answered by local")}},
		Calls: []edgeagent.Call{
			{Provider: "cloud", Model: "gpt-4o-mini", At: now.Add(-355 * time.Second), TookMS: 3001, Outcome: edgeagent.CallUnreachable, Error: edgeagent.NewNote("unreachable", "dial tcp: i/o timeout")},
			{Provider: "local", Model: "qwen2.5:1.5b", At: now.Add(-350 * time.Second), TookMS: 18400, Outcome: edgeagent.CallOK, Status: 200, TokensIn: 812, TokensOut: 141, RequestID: "req-7"},
		}}
	p.jobs[idFailed] = edgeagent.Job{ID: idFailed, State: edgeagent.JobFailed, Alarms: []edgeagent.ID{idOld, idNobody}, Line: "Packaging", Priority: 3,
		Attempts: 8, Interrupts: 1, MaxAttempts: 8, CreatedAt: now.Add(-26 * time.Hour), FinishedAt: ago(now, 25*time.Hour),
		LastError: edgeagent.NewNote("config", "local: model qwen2.5:1.5b not found")}
}
