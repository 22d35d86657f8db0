package status

import (
	"net/http"

	"edgeagent"
)

// toldJob is a job as its own answer of the API has it.
type toldJob struct {
	edgeagent.Job
	// Faulty are the answers that were of no use, as far as they may be shown.
	Faulty []edgeagent.FaultyAnswer `json:"faulty"`
	// Exchanges are word for word, for who is known by name and asks for them.
	Exchanges []edgeagent.Exchange `json:"exchanges,omitempty"`
}

// apiJob is GET /api/v1/jobs/{id}. With exchanges=true it holds what was sent to
// models and what they said unfiltered: over the Unix socket alone, because a
// prompt tells all of a line, and an answer may advise what nobody should do.
func (s *Server) apiJob(w http.ResponseWriter, r *http.Request) {
	j, err := s.job(r.PathValue("id"))
	if err != nil {
		s.failed(w, r, err)
		return
	}
	told := toldJob{Job: j}
	if r.URL.Query().Get("exchanges") == "true" {
		if _, known := actor(r); !known {
			w.Header().Set("WWW-Authenticate", `Unix realm="edgeagent"`)
			fail(w, http.StatusUnauthorized, "sign_in_required", "what was sent to models is told on the gateway alone: use `edgeagent jobs show "+
				string(j.ID)+" --exchanges` there (Unix socket)")
			return
		}
		told.Exchanges, err = s.opt.Source.Exchanges(j.ID)
	}
	if err == nil {
		told.Faulty, err = s.opt.Source.Faulty(j.ID)
	}
	if err != nil {
		s.failed(w, r, err)
		return
	}
	told.Faulty = orEmpty(told.Faulty)
	reply(w, http.StatusOK, told)
}

// saidView is an answer that was not taken, beside the call that it came with.
type saidView struct {
	Call int // its place among the calls
	Text string
}

// addFaulty puts the answers of no use to their calls.
func (s *Server) addFaulty(f *frame, r *http.Request, v *jobView) {
	all, err := s.opt.Source.Faulty(v.ID)
	if err != nil {
		s.unread(f, r, "What was answered and not taken", err)
		return
	}
	for _, a := range all {
		if a.Call >= 0 && a.Call < len(v.Calls) {
			v.Calls[a.Call].Said = &saidView{Call: a.Call, Text: a.Raw}
		}
	}
}
