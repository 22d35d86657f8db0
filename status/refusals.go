package status

import (
	"context"
	"fmt"
	"net/http"

	"edgeagent"
)

// Refusals are the events that an upstream has refused for themselves. An
// upstream that is not configured is [edgeagent.ErrNotFound]; before the data
// file is open every method is an error.
type Refusals interface {
	// Parked returns up to limit of them, the oldest first, with why.
	Parked(upstream string, limit int) ([]edgeagent.ParkedEvent, error)
	// Resend has them sent again and returns how many that are. It answers after
	// the commit; by is who wants it.
	Resend(ctx context.Context, upstream, by, reason string) (int, error)
}

// ParkedEvents is the answer of GET /api/v1/upstreams/NAME/parked.
type ParkedEvents struct {
	Parked []edgeagent.ParkedEvent `json:"parked"`
}

// SentAgain is the answer of POST /api/v1/upstreams/NAME/resend.
type SentAgain struct {
	Events int `json:"events"` // that were not on their way already
}

func (s *Server) apiParked(w http.ResponseWriter, r *http.Request) {
	all, err := s.opt.Refusals.Parked(r.PathValue("name"), mostRows)
	if err != nil {
		s.failed(w, r, fmt.Errorf("upstream %s: %w", r.PathValue("name"), err))
		return
	}
	for i := range all {
		e := &all[i]
		e.At, e.AskedAt, e.ParkedAt = s.local(e.At), s.local(e.AskedAt), e.ParkedAt.In(s.opt.Location)
	}
	reply(w, http.StatusOK, ParkedEvents{orEmpty(all)})
}

func (s *Server) resend(w http.ResponseWriter, r *http.Request, by string) (int, any, error) {
	name := r.PathValue("name")
	reason, err := reasonOf(w, r)
	if err != nil {
		return 0, nil, err
	}
	n, err := s.opt.Refusals.Resend(r.Context(), name, by, reason)
	if err != nil {
		return 0, nil, fmt.Errorf("upstream %s: %w", name, err)
	}
	return http.StatusOK, SentAgain{n}, nil
}
