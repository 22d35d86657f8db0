package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"edgeagent"
	"edgeagent/alarm"
	"edgeagent/config"
	"edgeagent/llm"
	"edgeagent/status"
)

// archive is what a diagnosis beside the queue reads of the data file.
type archive interface {
	OpenAlarms() []edgeagent.Alarm
	Evidence(alarm edgeagent.ID) (*edgeagent.Evidence, error)
	Job(id edgeagent.ID) (edgeagent.Job, error)
	Case(job edgeagent.ID) (edgeagent.Case, error)
	Around(c edgeagent.Case) (edgeagent.Case, error)
	LastTime(device, line, code string, before edgeagent.ID) *edgeagent.Occurrence
}

// aside diagnoses beside the queue: for whom no alarm waits. The agent does it
// with its own router, so that Ollama is asked one thing at a time and the caps
// count it; without an agent a command does it alone.
type aside struct {
	cfg     *config.Config
	router  *llm.Router
	archive archive // nil: there is no data file
	// present describes tags of a device as they are now, and the mode of its line.
	present func(ctx context.Context, device string, tags []string) (*edgeagent.Evidence, error)
	charge  func(job edgeagent.ID, usd float64) error
	notes   []string // that go with every answer
	letGo   func()   // gives the data file back as soon as a case is read; nil: it is ours anyway
}

// AskCase answers q; see [status.CaseAsker].
func (x *aside) AskCase(ctx context.Context, q status.AskedCase) (status.AnsweredCase, error) {
	a, err := x.caseOf(ctx, q)
	if x.letGo != nil {
		x.letGo() // a model thinks for minutes, and an agent that starts meanwhile needs the file
	}
	if err != nil {
		return a, err
	}
	a.Notes = append(slices.Clone(x.notes), a.Notes...)
	if err := x.knows(q.Provider); err != nil {
		return a, err
	}
	if q.DryRun {
		a.Prompts = x.previews(q.Provider, a.Case)
		return a, nil
	}
	return x.ask(ctx, q.Provider, a)
}

func (x *aside) knows(provider string) error {
	names := providerNames(x.cfg)
	if provider == "" || slices.Contains(names, provider) {
		return nil
	}
	return fmt.Errorf("%w: no provider %q in the configuration; it has %s", status.ErrInvalid, provider, strings.Join(names, ", "))
}

func providerNames(cfg *config.Config) []string {
	var names []string
	for _, p := range cfg.LLM.Providers {
		names = append(names, p.Name)
	}
	return names
}

// ask has the case answered. What was called is paid, whatever came of it.
func (x *aside) ask(ctx context.Context, provider string, a status.AnsweredCase) (status.AnsweredCase, error) {
	c := a.Case
	c.Job, c.SpentUSD = edgeagent.NewID(time.Now()), 0 // the ledger and the provider's log tell it from the job
	var out edgeagent.Outcome
	var err error
	if provider == "" {
		out, err = x.router.Diagnose(ctx, c)
	} else {
		out, err = x.router.DiagnoseWith(ctx, provider, c)
	}
	a.Diagnosis, a.Calls = out.Diagnosis, out.Calls
	if err != nil {
		a.Error = strings.ReplaceAll(err.Error(), " about job "+string(c.Job), "") // it is nobody's job
	}
	if err := x.charge(c.Job, out.CostUSD()); err != nil {
		a.Notes = append(a.Notes, "what it cost is not in the data file yet: "+err.Error())
	}
	return a, nil
}

func (x *aside) previews(provider string, c edgeagent.Case) []status.PreviewedPrompt {
	var all []status.PreviewedPrompt
	for _, name := range providerNames(x.cfg) {
		if provider != "" && name != provider {
			continue
		}
		p, err := x.router.Preview(name, c)
		if err != nil {
			all = append(all, status.PreviewedPrompt{Provider: name, Error: err.Error()})
			continue
		}
		all = append(all, status.PreviewedPrompt{
			Provider: name, Version: p.Version, Tokens: p.Tokens, Fits: p.Fits, System: p.System, User: p.User, Schema: p.Schema,
		})
	}
	return all
}

func (x *aside) caseOf(ctx context.Context, q status.AskedCase) (status.AnsweredCase, error) {
	switch {
	case q.Case != nil:
		c := *q.Case
		c.Outside = c.Outside && x.cfg.Line(c.Line).DiagnoseOutside
		return status.AnsweredCase{From: status.CaseGiven, Case: c}, nil
	case q.Job != "":
		return x.storedCase(q.Job)
	default:
		return x.alarmCase(ctx, q)
	}
}

var errNoFile = errors.New("there is no data file yet")

func (x *aside) storedCase(id edgeagent.ID) (status.AnsweredCase, error) {
	if x.archive == nil {
		return status.AnsweredCase{}, fmt.Errorf("read job %s: %w", id, errNoFile)
	}
	j, err := x.archive.Job(id)
	if err != nil {
		return status.AnsweredCase{}, err
	}
	c, err := x.archive.Case(id)
	if err != nil {
		return status.AnsweredCase{}, err
	}
	c.Outside = c.Outside && x.cfg.Line(c.Line).DiagnoseOutside
	return status.AnsweredCase{From: status.CaseStored, Case: c, Stored: j.Latest()}, nil
}

// alarmCase makes a case of what is known now of an alarm.
func (x *aside) alarmCase(ctx context.Context, q status.AskedCase) (status.AnsweredCase, error) {
	if a, err := x.active(q); a != nil || err != nil {
		if err != nil {
			return status.AnsweredCase{}, err
		}
		return x.activeCase(*a)
	}
	d, err := definedAlarm(x.cfg, q)
	if err != nil {
		return status.AnsweredCase{}, err
	}
	now := time.Now()
	d.alarm.ID, d.alarm.RaisedAt = edgeagent.NewID(now), now
	if x.archive != nil {
		d.alarm.LastTime = x.archive.LastTime(d.alarm.Device, d.alarm.Line, d.alarm.Code, d.alarm.ID)
	}
	ev, err := x.present(ctx, d.alarm.Device, d.tags)
	if err != nil {
		return status.AnsweredCase{}, err
	}
	a, err := x.around(edgeagent.CaseAlarm{Alarm: d.alarm, Evidence: ev})
	a.From = status.CaseDefinition
	return a, err
}

// active returns the open alarm that q means, nil when none is open. Among the
// same code of several machines the person has to choose.
func (x *aside) active(q status.AskedCase) (*edgeagent.Alarm, error) {
	if x.archive == nil {
		return nil, nil
	}
	var found []edgeagent.Alarm
	for _, a := range x.archive.OpenAlarms() {
		if a.Code == q.Alarm && (q.Device == "" || a.Device == q.Device) && (q.Line == "" || a.Line == q.Line) {
			found = append(found, a)
		}
	}
	where := make([]string, 0, len(found))
	for _, a := range found {
		where = append(where, place(a))
	}
	slices.Sort(where)
	if where = slices.Compact(where); len(where) > 1 {
		return nil, ambiguous(q.Alarm, "is open at", where)
	}
	if len(found) == 0 {
		return nil, nil
	}
	newest := slices.MaxFunc(found, func(a, b edgeagent.Alarm) int { return cmp.Compare(a.ID, b.ID) })
	return &newest, nil
}

func place(a edgeagent.Alarm) string {
	if a.Device == "" {
		return "line " + a.Line
	}
	return a.Device
}

func ambiguous(code, is string, where []string) error {
	return fmt.Errorf("%w: %s %s %s; name one with --device or --line", status.ErrInvalid, code, is, strings.Join(where, ", "))
}

func (x *aside) activeCase(a edgeagent.Alarm) (status.AnsweredCase, error) {
	ev, err := x.archive.Evidence(a.ID)
	note := ""
	if err != nil || ev == nil {
		ev, note = &edgeagent.Evidence{At: a.RaisedAt, Gaps: []string{"evidence is not there"}}, "the evidence of its raise cannot be read"
	}
	out, err := x.around(edgeagent.CaseAlarm{Alarm: a, Evidence: ev})
	if out.From = status.CaseActive; note != "" {
		out.Notes = append(out.Notes, note)
	}
	return out, err
}

func (x *aside) around(first edgeagent.CaseAlarm) (status.AnsweredCase, error) {
	a := first.Alarm
	line := x.cfg.Line(a.Line)
	c := edgeagent.Case{
		At: time.Now(), Site: x.cfg.Agent.Site, Line: a.Line, Area: line.Area, Outside: line.DiagnoseOutside,
		Alarms: []edgeagent.CaseAlarm{first}, Related: []edgeagent.Alarm{}, Language: x.cfg.LLM.Language,
	}
	if x.archive == nil {
		return status.AnsweredCase{Case: c, Notes: []string{errNoFile.Error() + ": nothing is known of other alarms"}}, nil
	}
	c, err := x.archive.Around(c)
	return status.AnsweredCase{Case: c}, err
}

// definition is an alarm as the configuration has it.
type definition struct {
	alarm edgeagent.Alarm
	tags  []string // of its evidence
}

// definedAlarm returns the alarm of the configuration that q means.
func definedAlarm(cfg *config.Config, q status.AskedCase) (definition, error) {
	all := slices.DeleteFunc(defined(cfg, q.Alarm), func(d definition) bool {
		return q.Device != "" && d.alarm.Device != q.Device || q.Line != "" && d.alarm.Line != q.Line
	})
	switch len(all) {
	case 0:
		return definition{}, fmt.Errorf("no alarm %s%s is open, nor in the configuration: %w; edgeagent alarms list names the open ones", q.Alarm, at(q), edgeagent.ErrNotFound)
	case 1:
		return all[0], nil
	}
	var where []string
	for _, d := range all {
		where = append(where, d.alarm.Device)
	}
	return definition{}, ambiguous(q.Alarm, "is not open, and defined for", where)
}

func at(q status.AskedCase) string {
	switch {
	case q.Device != "":
		return " of device " + q.Device
	case q.Line != "":
		return " of line " + q.Line
	default:
		return ""
	}
}

// defined lists every definition of a code.
func defined(cfg *config.Config, code string) []definition {
	var all []definition
	rules, o := definitions(cfg)
	for _, r := range rules {
		if r.Code == code {
			all = append(all, definition{definedAs(r.Device, r.Line, r.Area, alarm.Text{Code: code, Text: r.Text, Priority: r.Priority}, r.Safety), ruleTags(cfg, r)})
		}
	}
	for _, w := range o.Words {
		for _, row := range rowsOf(w.Rows, code, w.Priority) {
			all = append(all, definition{definedAs(w.Device, w.Line, w.Area, row, w.Safety), orTags(w.Context, w.Tag)})
		}
	}
	for _, n := range o.Codes {
		for _, row := range rowsOf(n.Rows, code, n.Priority) {
			all = append(all, definition{definedAs(n.Device, n.Line, n.Area, row, n.Safety), orTags(n.Context, n.Tag)})
		}
	}
	return all
}

// rowsOf returns the row of a code, with the table's priority where it has none.
func rowsOf(rows []alarm.Text, code string, priority int) []alarm.Text {
	i := slices.IndexFunc(rows, func(t alarm.Text) bool { return t.Code == code })
	if i < 0 {
		return nil
	}
	row := rows[i]
	row.Priority = cmp.Or(row.Priority, priority)
	return []alarm.Text{row}
}

func definedAs(device, line, area string, t alarm.Text, safety bool) edgeagent.Alarm {
	return edgeagent.Alarm{
		Device: device, Line: line, Area: area, Code: t.Code, Text: t.Text, SourceText: t.Text, Priority: cmp.Or(t.Priority, 3),
		Origin: edgeagent.OriginTag, State: edgeagent.AlarmNormal, Observed: edgeagent.ObservedLive, Diagnose: true, Safety: safety, FirstOut: true,
	}
}

// ruleTags are the tags that the alarm would carry as evidence.
func ruleTags(cfg *config.Config, r alarm.Rule) []string {
	if len(r.Context) > 0 {
		return r.Context
	}
	var tags []string
	for _, d := range cfg.Devices {
		if d.Name != r.Device {
			continue
		}
		named := words.FindAllString(r.When+" "+r.Clear, -1)
		for _, t := range d.Tags {
			if slices.Contains(named, t.Name) {
				tags = append(tags, t.Name)
			}
		}
	}
	return tags
}

func orTags(context []string, tag string) []string {
	if len(context) > 0 {
		return context
	}
	return []string{tag}
}
