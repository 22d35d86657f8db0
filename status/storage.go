package status

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
)

// Storage is what a person may have done with the data file while the agent
// runs. Before it is open every method is an error.
type Storage interface {
	// Backup writes the file as of the last commit to what begin returns, which
	// is told the size in bytes.
	Backup(begin func(size int64) (io.Writer, error)) error
	// Compact writes the file anew without its free pages and returns its size
	// before and after, in bytes.
	Compact(ctx context.Context) (before, after int64, err error)
}

// Compacted is the answer of POST /api/v1/compact.
type Compacted struct {
	BeforeBytes int64 `json:"before_bytes"`
	AfterBytes  int64 `json:"after_bytes"`
}

// backup sends the data file. A copy that breaks off is shorter than was
// announced, which every client notices.
func (s *Server) backup(w http.ResponseWriter, r *http.Request) {
	if _, known := s.signedIn(w, r); !known {
		return
	}
	s.patience(w)
	begun := false
	err := s.opt.Storage.Backup(func(size int64) (io.Writer, error) {
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
		begun = true
		return w, nil
	})
	switch {
	case err == nil:
	case begun:
		s.opt.Log.Warn("backup broke off", "err", err)
	default:
		s.failed(w, r, err)
	}
}

func (s *Server) compact(_ http.ResponseWriter, r *http.Request, by string) (int, any, error) {
	before, after, err := s.opt.Storage.Compact(r.Context())
	if err != nil {
		return 0, nil, fmt.Errorf("compact for %s: %w", by, err)
	}
	return http.StatusOK, Compacted{before, after}, nil
}
