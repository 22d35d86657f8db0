package status

import (
	"bytes"
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"edgeagent"
)

// frame is what every page has around its own content.
type frame struct {
	lens
	Page    string // of the navigation
	Title   string
	Mark    string // the worst state as a symbol, for the title of a tab
	Icon    string // the same as a picture
	Status  edgeagent.Status
	Clock   string
	Opening bool   // the data file is not open yet
	Worst   string // of the headline: what makes the level
	Rest    string // of the headline: what there is besides
	Trouble string
	Body    any
}

func (s *Server) frame(page, title string) *frame {
	st := s.Snapshot()
	l := lens{now: time.Now(), zone: s.opt.Location,
		plant: &board{plant: s.opt.Source, devices: make(map[string]map[string]edgeagent.Reading)}}
	f := &frame{lens: l, Page: page, Title: title, Status: st, Clock: l.clock(), Opening: checking(st)}
	_, worst, rest := ladder(st)
	f.Worst, f.Rest = strings.Join(worst, " · "), strings.Join(rest, " · ")
	f.Mark, f.Icon = mark(st.Headline.Level), icon(st.Headline.Level)
	if n := st.Alarms.Unacked; n > 0 {
		f.Mark += fmt.Sprint(n)
	}
	return f
}

func mark(l edgeagent.Level) string {
	return map[edgeagent.Level]string{
		edgeagent.LevelFault: "■", edgeagent.LevelAttention: "▲", edgeagent.LevelDegraded: "◆",
	}[l]
}

// icon draws the favicon: shape and colour, as everywhere on the page.
func icon(l edgeagent.Level) string {
	shape := map[edgeagent.Level]string{
		edgeagent.LevelFault:     `<path fill="#b3261e" d="M1 1h14v14H1z"/>`,
		edgeagent.LevelAttention: `<path fill="#d98a00" d="M8 1l7 14H1z"/>`,
		edgeagent.LevelDegraded:  `<path fill="#5b7089" d="M8 0l8 8-8 8-8-8z"/>`,
	}[l]
	if shape == "" {
		shape = `<circle cx="8" cy="8" r="6" fill="none" stroke="#8a8f94" stroke-width="3"/>`
	}
	return "data:image/svg+xml," + url.PathEscape(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">`+shape+`</svg>`)
}

// show renders first and answers then: a template that fails half-way must not
// leave half a page with a 200.
func (s *Server) show(w http.ResponseWriter, r *http.Request, status int, name string, f *frame) {
	var buf bytes.Buffer
	if err := pages[name].Execute(&buf, "layout", f); err != nil {
		s.opt.Log.Error("page not drawn", "path", r.URL.Path, "err", err)
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(http.StatusInternalServerError)
		buf.Reset()
		buf.WriteString("This page could not be drawn; the reason is in the agent's log. Reading and alarms are not affected.\n")
	} else {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(status)
	}
	// A reader that is gone cannot be told so.
	_, _ = w.Write(buf.Bytes())
}

// unread notes on the page why a list cannot be shown. A file that is being
// checked has its own words.
func (s *Server) unread(f *frame, r *http.Request, what string, err error) {
	if f.Opening {
		return
	}
	f.Trouble = what + " cannot be read: " + err.Error()
	s.opt.Log.Error("page incomplete", "path", r.URL.Path, "err", err)
}

// broken answers a page whose object cannot be shown.
func (s *Server) broken(w http.ResponseWriter, r *http.Request, page string, err error) {
	v := s.verdict(err)
	f := s.frame(page, "Not found")
	switch v.status {
	case http.StatusNotFound:
		f.Body = err.Error()
	case http.StatusServiceUnavailable:
		f.Title, f.Body = "Not open yet", "It shows as soon as the data file is open."
	default:
		f.Title, f.Body = "Not readable", "It cannot be read: "+err.Error()
		s.opt.Log.Error("request not answered", "method", r.Method, "path", r.URL.Path, "err", err)
	}
	s.show(w, r, v.status, "error", f)
}

func (s *Server) missingPage(w http.ResponseWriter, r *http.Request) {
	f := s.frame("", "Not found")
	f.Body = "There is nothing at " + r.URL.Path
	s.show(w, r, http.StatusNotFound, "error", f)
}

// nowRows is how many alarms the first page shows: more do not fit a head.
const nowRows = 20

type nowBody struct {
	Alarms  []alarmView
	More    int
	Devices []deviceView // that are not being read as they should
	Reading int
	Diag    string

	MoreDevices int // of them that are not shown
}

func (s *Server) nowPage(w http.ResponseWriter, r *http.Request) {
	f := s.frame("now", "Now")
	body := &nowBody{Diag: diagnosisLine(f.Status.Providers)}
	var first []edgeagent.Alarm // that want a person most
	err := openAlarms(s.opt.Source, func(page []edgeagent.Alarm) {
		first = append(first, page...)
		sortAlarms(first)
		body.More += max(len(first)-nowRows, 0)
		first = first[:min(len(first), nowRows)]
	})
	if err != nil {
		s.unread(f, r, "Alarms", err)
	}
	stopped := make(map[string]bool) // the alarm's card stands for the device
	for _, a := range first {
		if a.Code == edgeagent.CodeDeviceStopped {
			stopped[a.Device] = true
		}
		v := s.advised(f.lens, a, 1)
		s.sparks(f.lens, &v)
		body.Alarms = append(body.Alarms, v)
	}
	for _, d := range f.Status.Devices {
		v := f.device(d)
		switch {
		case !v.wrong() || stopped[d.Name]:
		case len(body.Devices) == nowRows:
			body.MoreDevices++
		default:
			body.Devices = append(body.Devices, v)
		}
		if d.State == edgeagent.DevicePolling && !tellsNothing(d) {
			body.Reading++
		}
	}
	f.Body = body
	s.show(w, r, http.StatusOK, "now", f)
}

// advised is an alarm with the best advice there is: its job's answer, else
// the runbook's hint.
func (s *Server) advised(l lens, a edgeagent.Alarm, values int) alarmView {
	v := l.alarm(a)
	v.Values = l.values(a, values)
	if a.Job == "" {
		return v
	}
	j, err := s.opt.Source.Job(a.Job)
	if err != nil {
		return v // the hint is there; the alarm's own page says what is wrong
	}
	v.Pending = j.State == edgeagent.JobPending || j.State == edgeagent.JobRunning
	v.together(j)
	if d := j.Latest(); d != nil && !ownHintSaysMore(a, j) {
		v.Advice = l.diagnosis(*d)
	}
	return v
}

func (v *alarmView) together(j edgeagent.Job) {
	v.Together, v.Led = len(j.Alarms), v.FirstOut && len(j.Alarms) > 1
}

// ownHintSaysMore reports whether the job's answer is the runbook's entry of
// another alarm of the group, while the alarm has one of its own. A hint that
// there is no entry is none.
func ownHintSaysMore(a edgeagent.Alarm, j edgeagent.Job) bool {
	d := j.Latest()
	return d != nil && d.By.Kind == "runbook" && a.Hint != nil && !a.Hint.InsufficientEvidence && len(j.Alarms) > 1 && j.Alarms[0] != a.ID
}

// diagnosisLine says who answers the next alarm.
func diagnosisLine(all []edgeagent.ProviderStatus) string {
	for i, p := range all {
		if !available(p) {
			continue
		}
		text := who(edgeagent.Provenance{Kind: p.Kind, Model: p.Model})
		if i > 0 && providerClass(all[0].Kind) == "cloud" && !available(all[0]) {
			text += " (" + all[0].Name + ": " + held(all[0]) + ")"
		}
		return text
	}
	return "runbook"
}

// held says why a provider is not asked.
func held(p edgeagent.ProviderStatus) string {
	if p.Hold != "" {
		return p.Hold
	}
	if p.Breaker == "half-open" {
		return "being tried again"
	}
	return "not answering"
}

// speed says what was measured of a model on the box; empty until it was.
func speed(p edgeagent.ProviderStatus) string {
	if p.TokensPerSecond <= 0 {
		return ""
	}
	return fmt.Sprintf("%.3g tokens a second, reads %.3g a second of %d, loads in %s",
		p.TokensPerSecond, p.PromptTokensPerSecond, p.ContextTokens, seconds(p.LoadS))
}

// tab is one choice above a list.
type tab struct {
	Name, Href string
	Count      int
	Counted    bool
	Here       bool
}

type listBody[T any] struct {
	Tabs []tab
	Rows []T
	Next string // link to the rows after these
	What string
	JSON string
}

// list links to what follows and to the same as JSON.
func list[T any](path string, sel selection, next edgeagent.ID, tabs []tab) *listBody[T] {
	q := url.Values{}
	if sel.state != "" {
		q.Set("state", sel.state)
	}
	b := &listBody[T]{Tabs: tabs, What: sel.state}
	if next != "" {
		q.Set("after", string(next))
		b.Next = path + "?" + q.Encode()
		q.Del("after")
	}
	q.Set("format", "json")
	b.JSON = path + "?" + q.Encode()
	return b
}

func (s *Server) alarmsPage(w http.ResponseWriter, r *http.Request) {
	f := s.frame("alarms", "Alarms")
	sel, err := selectRows(r, alarmStates...)
	if err != nil {
		s.refused(w, r, f, err)
		return
	}
	all, next, err := s.opt.Source.Alarms(sel.state, min(sel.limit, usualRows), sel.after)
	if err != nil {
		s.unread(f, r, "Alarms", err)
	}
	if sel.state == "active" {
		sortAlarms(all)
	}
	body := list[alarmView]("/alarms", sel, next, []tab{
		{Name: "Active", Href: "/alarms", Here: sel.state == "active"},
		{Name: "Shelved", Href: "/alarms?state=shelved", Count: f.Status.Alarms.Shelved, Counted: true, Here: sel.state == "shelved"},
		{Name: "History", Href: "/alarms?state=history", Here: sel.state == "history"},
	})
	for _, a := range all {
		body.Rows = append(body.Rows, s.advised(f.lens, a, 2))
	}
	f.Body = body
	s.show(w, r, http.StatusOK, "alarms", f)
}

// refused answers a page that was asked for with a wrong parameter.
func (s *Server) refused(w http.ResponseWriter, r *http.Request, f *frame, err error) {
	f.Title, f.Body = "Not understood", err.Error()
	s.show(w, r, http.StatusBadRequest, "error", f)
}

func (s *Server) devicesPage(w http.ResponseWriter, r *http.Request) {
	f := s.frame("devices", "Devices")
	body := &listBody[deviceView]{JSON: "/devices?format=json"}
	for _, d := range f.Status.Devices {
		body.Rows = append(body.Rows, f.device(d))
	}
	slices.SortStableFunc(body.Rows, func(a, b deviceView) int { return cmp.Compare(b.rank(), a.rank()) })
	f.Body = body
	s.show(w, r, http.StatusOK, "devices", f)
}

type deviceBody struct {
	deviceView
	Tags []tagView
}

func (s *Server) devicePage(w http.ResponseWriter, r *http.Request) {
	d, ok := s.device(r.PathValue("name"))
	if !ok {
		s.broken(w, r, "devices", fmt.Errorf("device %q: %w", r.PathValue("name"), edgeagent.ErrNotFound))
		return
	}
	f := s.frame("devices", "Device "+d.Name)
	body := &deviceBody{deviceView: f.device(d)}
	for _, reading := range s.opt.Source.Readings(d.Name) {
		body.Tags = append(body.Tags, s.tag(f.lens, reading))
	}
	f.Body = body
	s.show(w, r, http.StatusOK, "device", f)
}

func (s *Server) jobsPage(w http.ResponseWriter, r *http.Request) {
	f := s.frame("jobs", "Jobs")
	sel, err := selectRows(r, jobStates()...)
	if err != nil {
		s.refused(w, r, f, err)
		return
	}
	all, next, err := s.opt.Source.Jobs(sel.state, min(sel.limit, usualRows), sel.after)
	if err != nil {
		s.unread(f, r, "Jobs", err)
	}
	body := list[jobView]("/jobs", sel, next, jobTabs(f.Status.Jobs, sel.state))
	for _, j := range all {
		body.Rows = append(body.Rows, s.jobView(f.lens, j))
	}
	f.Body = body
	s.show(w, r, http.StatusOK, "jobs", f)
}

func jobTabs(c edgeagent.JobCounts, here string) []tab {
	tabs := []tab{{Name: "all", Href: "/jobs", Here: here == ""}}
	for _, state := range edgeagent.JobStates {
		tabs = append(tabs, tab{Name: string(state), Href: "/jobs?state=" + string(state),
			Count: jobCount(c, state), Counted: true, Here: here == string(state)})
	}
	return tabs
}

// jobView names the alarm that the job is about, where it can still be read.
func (s *Server) jobView(l lens, j edgeagent.Job) jobView {
	v := l.job(j)
	v.Subject = j.Line
	if v.First == "" {
		return v
	}
	if a, err := s.opt.Source.Alarm(v.First); err == nil {
		v.Subject = a.Name() + " " + a.Text
	}
	return v
}

type systemBody struct {
	Providers []providerView
	Upstreams []upstreamView
	Used      int64 // bytes of the data file that hold something
	SpentOf   string
	Judged    []judgedView
	Uptime    string
}

type providerView struct {
	edgeagent.ProviderStatus
	LastOK, Until, Probe stamp
	Up                   bool
	Held                 string
	Speed                string
}

type upstreamView struct {
	edgeagent.UpstreamStatus
	StateSince, NextTry stamp
	Oldest              string
}

func (s *Server) systemPage(w http.ResponseWriter, r *http.Request) {
	f := s.frame("system", "System")
	st := f.Status
	body := &systemBody{Used: st.Storage.FileBytes - st.Storage.FreeBytes, Uptime: seconds(st.Agent.UptimeS),
		SpentOf: usd(st.Spend.TodayUSD)}
	if st.Spend.DailyCapUSD > 0 {
		body.SpentOf += " of " + usd(st.Spend.DailyCapUSD)
	}
	for _, p := range st.Providers {
		body.Providers = append(body.Providers, providerView{p, f.stampPtr(p.LastOKAt), f.stampPtr(p.HoldUntil),
			f.due(p.NextProbe), available(p), held(p), speed(p)})
	}
	for _, u := range st.Upstreams {
		v := upstreamView{UpstreamStatus: u, StateSince: f.stampPtr(u.Since), NextTry: f.due(u.NextTryAt)}
		if u.Backlog > 0 {
			v.Oldest = seconds(u.OldestS)
		}
		body.Upstreams = append(body.Upstreams, v)
	}
	judged, err := s.opt.Source.Accuracy()
	if err != nil {
		s.unread(f, r, "How diagnoses were judged", err)
	}
	body.Judged = judgedRows(judged)
	f.Body = body
	s.show(w, r, http.StatusOK, "system", f)
}
