package status

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// Pace of a stream. A page that hears nothing for ten seconds says that it is
// not updating, so a heartbeat comes well before that.
const (
	heartbeatEvery = 4 * time.Second
	flushEvery     = time.Second
	eventDeadline  = 5 * time.Second
)

// events is GET /api/v1/events.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodHead {
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		return // who asks for nothing would hold a stream for as long as the connection
	}
	st, ok := s.hub.join()
	if !ok {
		w.Header().Set("Retry-After", "10")
		fail(w, http.StatusServiceUnavailable, "too_many_streams",
			fmt.Sprintf("all %d event streams are in use; ask again later or read the page every ten seconds", maxStreams))
		return
	}
	defer s.hub.leave(st)
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	w.Header().Set("X-Accel-Buffering", "no")
	f := &feed{w: w, rc: http.NewResponseController(w), zone: s.opt.Location}
	// The request has been read whole; its read deadline would end the stream.
	if err := f.rc.SetReadDeadline(time.Time{}); err != nil {
		s.opt.Log.Debug("event stream without deadlines", "err", err)
	}
	// An error means that the reader is gone: there is nobody to tell.
	_ = f.run(r, st)
}

// feed writes one stream.
type feed struct {
	w    http.ResponseWriter
	rc   *http.ResponseController
	zone *time.Location
}

func (f *feed) run(r *http.Request, st *stream) error {
	beat := time.NewTicker(heartbeatEvery)
	defer beat.Stop()
	// The first heartbeat at once: the page knows that it is live.
	if err := f.heartbeat("retry: 2000\n"); err != nil {
		return err
	}
	pause := time.NewTimer(0)
	defer pause.Stop()
	wake := (<-chan struct{})(nil)
	for {
		select {
		case <-r.Context().Done():
			return nil
		case <-stopOf(r.Context()):
			return nil
		case <-pause.C:
			wake = st.wake
		case <-wake:
			wake = nil
			pause.Reset(flushEvery)
			if err := f.changes(st.take()); err != nil {
				return err
			}
		case <-beat.C:
			if err := f.heartbeat(""); err != nil {
				return err
			}
		}
	}
}

func (f *feed) heartbeat(prefix string) error {
	now := time.Now().In(f.zone)
	body := struct {
		change
		At    time.Time `json:"at"`
		Clock string    `json:"clock"`
	}{change{Type: "heartbeat"}, now, now.Format(time.TimeOnly)}
	return f.write(prefix+"event: heartbeat\n", body)
}

func (f *feed) changes(all []change) error {
	for _, c := range all {
		if err := f.write("", c); err != nil {
			return err
		}
	}
	return nil
}

// write sends one event. A reader that does not take it in time is dropped.
func (f *feed) write(head string, body any) error {
	data, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("write event: %w", err)
	}
	if err := f.rc.SetWriteDeadline(time.Now().Add(eventDeadline)); err != nil {
		return fmt.Errorf("write event: %w", err)
	}
	if _, err := fmt.Fprintf(f.w, "%sdata: %s\n\n", head, data); err != nil {
		return fmt.Errorf("write event: %w", err)
	}
	return f.rc.Flush()
}
