package status

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"edgeagent"
)

// Rows of a list: as asked for, up to a limit that keeps an answer small.
const (
	usualRows = 100
	mostRows  = 500
)

// Snapshot returns the status as it is shown: with its headline, and with times in
// the gateway's zone.
func (s *Server) Snapshot() edgeagent.Status {
	st := s.opt.Source.Status()
	st.Devices, st.Providers, st.Upstreams = orEmpty(slices.Clone(st.Devices)), orEmpty(slices.Clone(st.Providers)), orEmpty(slices.Clone(st.Upstreams))
	for i := range st.Devices {
		d := &st.Devices[i]
		d.Since, d.LastOKAt, d.NextTryAt = s.local(d.Since), s.local(d.LastOKAt), s.local(d.NextTryAt)
	}
	for i := range st.Providers {
		p := &st.Providers[i]
		p.LastOKAt, p.HoldUntil, p.NextProbe = s.local(p.LastOKAt), s.local(p.HoldUntil), s.local(p.NextProbe)
	}
	for i := range st.Upstreams {
		u := &st.Upstreams[i]
		u.Since, u.NextTryAt = s.local(u.Since), s.local(u.NextTryAt)
	}
	st.Headline = Headline(st)
	return st
}

func (s *Server) local(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	in := t.In(s.opt.Location)
	return &in
}

// orEmpty makes JSON's [] of a nil slice: a list is never null.
func orEmpty[T any](all []T) []T {
	if all == nil {
		return []T{}
	}
	return all
}

// apiStatus is GET /api/v1/status. Logs and plans belong to the devices' own
// answers.
func (s *Server) apiStatus(w http.ResponseWriter, _ *http.Request) {
	st := s.Snapshot()
	for i := range st.Devices {
		st.Devices[i].Log, st.Devices[i].Plan = nil, nil
	}
	reply(w, http.StatusOK, st)
}

func (s *Server) apiDevices(w http.ResponseWriter, _ *http.Request) {
	reply(w, http.StatusOK, map[string]any{"devices": s.Snapshot().Devices})
}

// apiDevice is the data of a device's page: the device and its tags.
func (s *Server) apiDevice(w http.ResponseWriter, r *http.Request) {
	d, ok := s.device(r.PathValue("name"))
	if !ok {
		fail(w, http.StatusNotFound, "not_found", fmt.Sprintf("there is no device %q", r.PathValue("name")))
		return
	}
	reply(w, http.StatusOK, map[string]any{"device": d, "tags": s.readings(d.Name)})
}

// readings returns the tags of a device; what has no registers, as a value of OPC
// UA, has none of them, not null.
func (s *Server) readings(device string) []edgeagent.Reading {
	all := orEmpty(slices.Clone(s.opt.Source.Readings(device)))
	for i := range all {
		all[i].Raw = orEmpty(all[i].Raw)
	}
	return all
}

func (s *Server) device(name string) (edgeagent.DeviceStatus, bool) {
	for _, d := range s.Snapshot().Devices {
		if d.Name == name {
			return d, true
		}
	}
	return edgeagent.DeviceStatus{}, false
}

// apiTags is GET /api/v1/tags: of one device, or of all in their order.
func (s *Server) apiTags(w http.ResponseWriter, r *http.Request) {
	name, tags := r.URL.Query().Get("device"), []edgeagent.Reading{}
	found := name == ""
	for _, d := range s.opt.Source.Status().Devices {
		if name == "" || name == d.Name {
			found = true
			tags = append(tags, s.readings(d.Name)...)
		}
	}
	if !found {
		fail(w, http.StatusNotFound, "not_found", fmt.Sprintf("there is no device %q", name))
		return
	}
	reply(w, http.StatusOK, map[string]any{"tags": tags})
}

// selection is which rows of a list are asked for.
type selection struct {
	state string
	limit int
	after edgeagent.ID
}

// selectRows reads state, limit and after; known are the states that exist,
// the first is the default.
func selectRows(r *http.Request, known ...string) (selection, error) {
	q := r.URL.Query()
	sel := selection{state: known[0], limit: usualRows}
	if state := q.Get("state"); state != "" {
		if !slices.Contains(known, state) {
			return sel, fmt.Errorf("state %q: want one of %v", state, known)
		}
		sel.state = state
	}
	if limit := q.Get("limit"); limit != "" {
		n, err := strconv.Atoi(limit)
		if err != nil || n < 1 {
			return sel, fmt.Errorf("limit %q: want a number from 1 to %d", limit, mostRows)
		}
		sel.limit = min(n, mostRows)
	}
	if after := q.Get("after"); after != "" {
		id, err := edgeagent.ParseID(after)
		if err != nil {
			return sel, fmt.Errorf("after: %w", err)
		}
		sel.after = id
	}
	return sel, nil
}

var alarmStates = []string{"active", "shelved", "history"}

// jobStates are the states of jobs; none means all of them.
func jobStates() []string {
	all := []string{""}
	for _, state := range edgeagent.JobStates {
		all = append(all, string(state))
	}
	return all
}

// openAlarms hands every open alarm to do, newest first, a page at a time: a
// flood has more of them than should be held at once.
func openAlarms(src AlarmSource, do func([]edgeagent.Alarm)) error {
	for after := edgeagent.ID(""); ; {
		page, next, err := src.Alarms("active", mostRows, after)
		if err != nil {
			return err
		}
		do(page)
		if after = next; next == "" {
			return nil
		}
	}
}

func (s *Server) apiAlarms(w http.ResponseWriter, r *http.Request) {
	sel, err := selectRows(r, alarmStates...)
	if err != nil {
		fail(w, http.StatusBadRequest, "bad_request", err.Error())
		return
	}
	all, next, err := s.opt.Source.Alarms(sel.state, sel.limit, sel.after)
	if err != nil {
		s.failed(w, r, err)
		return
	}
	reply(w, http.StatusOK, map[string]any{"alarms": orEmpty(all), "next": next})
}

// apiAlarm is one alarm, with what was frozen when it rose.
func (s *Server) apiAlarm(w http.ResponseWriter, r *http.Request) {
	a, evidence, err := s.alarm(r.PathValue("id"))
	if err != nil {
		s.failed(w, r, err)
		return
	}
	reply(w, http.StatusOK, struct {
		edgeagent.Alarm
		Evidence *edgeagent.Evidence `json:"evidence"`
	}{a, evidence})
}

func (s *Server) alarm(text string) (edgeagent.Alarm, *edgeagent.Evidence, error) {
	id, err := edgeagent.ParseID(text)
	if err != nil {
		return edgeagent.Alarm{}, nil, fmt.Errorf("alarm %w", err)
	}
	a, err := s.opt.Source.Alarm(id)
	if err != nil {
		return edgeagent.Alarm{}, nil, fmt.Errorf("alarm %s: %w", id, err)
	}
	evidence, err := s.opt.Source.Evidence(id)
	if err != nil && judge(err).status != http.StatusNotFound {
		return edgeagent.Alarm{}, nil, fmt.Errorf("evidence of alarm %s: %w", id, err)
	}
	return a, evidence, nil
}

func (s *Server) apiJobs(w http.ResponseWriter, r *http.Request) {
	sel, err := selectRows(r, jobStates()...)
	if err != nil {
		fail(w, http.StatusBadRequest, "bad_request", err.Error())
		return
	}
	all, next, err := s.opt.Source.Jobs(sel.state, sel.limit, sel.after)
	if err != nil {
		s.failed(w, r, err)
		return
	}
	for i, j := range all {
		all[i] = withLists(j)
	}
	reply(w, http.StatusOK, map[string]any{"jobs": orEmpty(all), "next": next})
}

func (s *Server) job(text string) (edgeagent.Job, error) {
	id, err := edgeagent.ParseID(text)
	if err != nil {
		return edgeagent.Job{}, fmt.Errorf("job %w", err)
	}
	j, err := s.opt.Source.Job(id)
	if err != nil {
		return edgeagent.Job{}, fmt.Errorf("job %s: %w", id, err)
	}
	return withLists(j), nil
}

// withLists makes a job's lists ones that can be walked.
func withLists(j edgeagent.Job) edgeagent.Job {
	j.Alarms, j.Reviews = orEmpty(j.Alarms), orEmpty(j.Reviews)
	j.Timeline, j.Calls = orEmpty(j.Timeline), orEmpty(j.Calls)
	return j
}
