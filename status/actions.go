package status

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"edgeagent"
)

// action does one thing for a named person and returns what to answer.
type action func(w http.ResponseWriter, r *http.Request, by string) (int, any, error)

// act lets an action be done over the Unix socket alone: it is where somebody
// is known by name.
func (s *Server) act(do action) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		by, known := s.signedIn(w, r)
		if !known {
			return
		}
		s.patience(w)
		status, body, err := do(w, r, by)
		var bad *errBody
		switch {
		case errors.As(err, &bad):
			fail(w, bad.status, bad.code, bad.text)
		case err != nil:
			s.failed(w, r, err)
		default:
			reply(w, status, body)
		}
	}
}

// signedIn returns who asks, or answers that nobody is known.
func (s *Server) signedIn(w http.ResponseWriter, r *http.Request) (by string, known bool) {
	if by, known = actor(r); !known {
		w.Header().Set("WWW-Authenticate", `Unix realm="edgeagent"`)
		fail(w, http.StatusUnauthorized, "sign_in_required", "sign-in is not part of this version: use `"+
			commandFor(r)+"` on the gateway (Unix socket)")
	}
	return by, known
}

// actionTime is how long an action may take: more than the longest
// shutdown_grace, which a reload waits for.
const actionTime = 15 * time.Minute

// patience lifts the deadlines that are for slow readers. Once the read deadline
// has passed, the server cancels a request that is being answered.
func (s *Server) patience(w http.ResponseWriter) {
	rc, until := http.NewResponseController(w), time.Now().Add(actionTime)
	if err := errors.Join(rc.SetReadDeadline(until), rc.SetWriteDeadline(until)); err != nil {
		s.opt.Log.Debug("action with the deadlines of a page", "err", err)
	}
}

// commandFor names the command that does what was asked for over HTTP.
func commandFor(r *http.Request) string {
	id, name := r.PathValue("id"), r.PathValue("name")
	switch verb := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]; verb {
	case "reload":
		return "edgeagent reload"
	case "backup":
		return "edgeagent backup FILE"
	case "compact":
		return "edgeagent db compact"
	case "diagnose":
		return "edgeagent diagnose --alarm CODE"
	case "resume":
		return "edgeagent devices resume " + name
	case "maintenance":
		return "edgeagent devices maintenance " + name + ` --for 4h --reason "…"`
	case "resend":
		return "edgeagent upstreams resend " + name
	case "ask":
		return "edgeagent doctor " + name
	case "ack", "unshelve":
		return "edgeagent alarms " + verb + " " + id
	case "shelve":
		return "edgeagent alarms shelve " + id + ` --for 8h --reason "…"`
	case "retry":
		return "edgeagent jobs retry " + id
	case "discard":
		return "edgeagent jobs discard " + id + ` --reason "…"`
	case "feedback":
		return "edgeagent jobs feedback " + id + " --verdict right|partly|wrong"
	case "confirm":
		return "edgeagent jobs confirm " + id
	default: // has no command of its own
		return "curl --unix-socket …/edgeagent.sock --json '{…}' http://localhost" + r.URL.Path
	}
}

// Limits of what people and other systems write.
const (
	maxKey    = 255
	maxCode   = 64
	maxLine   = 63 // as in the configuration
	maxReason = 500
	maxText   = 2000
)

func (s *Server) raise(w http.ResponseWriter, r *http.Request, by string) (int, any, error) {
	var o OutsideAlarm
	if err := decode(w, r, &o); err != nil {
		return 0, nil, err
	}
	if err := checkOutside(o); err != nil {
		return 0, nil, err
	}
	key := r.Header.Get("Idempotency-Key")
	if len(key) > maxKey {
		return 0, nil, invalid("Idempotency-Key is longer than %d characters", maxKey)
	}
	hash, err := bodyHash(o)
	if err != nil {
		return 0, nil, err
	}
	o.By, o.Text, o.Values = by, edgeagent.OneLine(o.Text, maxText), readable(o.Values) // the hash is of what was sent
	a, created, err := s.opt.Actions.Raise(r.Context(), o, key, hash)
	if err != nil {
		return 0, nil, fmt.Errorf("raise %s: %w", o.Code, err)
	}
	if !created {
		return http.StatusOK, a, nil
	}
	w.Header().Set("Location", "/api/v1/alarms/"+string(a.ID))
	return http.StatusCreated, a, nil
}

func checkOutside(o OutsideAlarm) error {
	if err := checkName("code", o.Code, maxCode); err != nil {
		return err
	}
	if err := checkName("line", o.Line, maxLine); o.Line != "" && err != nil {
		return err
	}
	switch {
	case o.Line == "" && o.Device == "":
		return invalid("field %q is missing", "line")
	case edgeagent.OneLine(o.Text, maxText) == "":
		return invalid("field %q is missing", "text")
	case utf8.RuneCountInString(o.Text) > maxText:
		return invalid("field %q is longer than %d characters", "text", maxText)
	case o.Priority < 0 || o.Priority > 4:
		return invalid("field %q: want 1 (highest) to 4", "priority")
	case slices.Contains(edgeagent.ReservedCodes, o.Code):
		return invalid("field %q: %s is the agent's own", "code", o.Code)
	default:
		return nil
	}
}

// readable returns values as they read, by the rule that holds for the text.
func readable(values map[string]edgeagent.Value) map[string]edgeagent.Value {
	out := make(map[string]edgeagent.Value, len(values))
	for name, v := range values {
		if s := v.String(); v.Kind() == edgeagent.KindString {
			v = edgeagent.String(edgeagent.OneLine(s, len(s)))
		}
		out[edgeagent.OneLine(name, len(name))] = v
	}
	return out
}

// checkName lets no name by that a row of a table cannot show, or that nobody
// could type: an alarm is found by its line and code.
func checkName(field, name string, most int) error {
	switch {
	case name == "":
		return invalid("field %q is missing", field)
	case utf8.RuneCountInString(name) > most:
		return invalid("field %q is longer than %d characters", field, most)
	case name != strings.TrimSpace(name) || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return invalid("field %q: want printable characters, and no space at either end", field)
	default:
		return nil
	}
}

func invalid(format string, args ...any) error {
	return &errBody{verdict{http.StatusBadRequest, "bad_request"}, fmt.Sprintf(format, args...)}
}

// bodyHash is of what was understood, not of the bytes: the same alarm with
// other white space is the same alarm.
func bodyHash(o OutsideAlarm) (string, error) {
	data, err := json.Marshal(o)
	if err != nil {
		return "", fmt.Errorf("hash body: %w", err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}

// empty is the body of an action that takes nothing.
type empty struct{}

func (s *Server) acknowledge(w http.ResponseWriter, r *http.Request, by string) (int, any, error) {
	return onAlarm(w, r, &empty{}, func(id edgeagent.ID) (edgeagent.Alarm, error) {
		return s.opt.Actions.Acknowledge(r.Context(), id, by)
	})
}

func (s *Server) unshelve(w http.ResponseWriter, r *http.Request, by string) (int, any, error) {
	return onAlarm(w, r, &empty{}, func(id edgeagent.ID) (edgeagent.Alarm, error) {
		return s.opt.Actions.Unshelve(r.Context(), id, by)
	})
}

func (s *Server) clear(w http.ResponseWriter, r *http.Request, by string) (int, any, error) {
	return onAlarm(w, r, &empty{}, func(id edgeagent.ID) (edgeagent.Alarm, error) {
		return s.opt.Actions.Clear(r.Context(), id, by)
	})
}

// maxShelve keeps a number of seconds from overflowing a duration; how long
// is allowed is the agent's to say.
const maxShelve = 366 * 24 * time.Hour

func (s *Server) shelve(w http.ResponseWriter, r *http.Request, by string) (int, any, error) {
	var body struct {
		ForS   float64 `json:"for_s"`
		Reason string  `json:"reason"`
	}
	return onAlarm(w, r, &body, func(id edgeagent.ID) (edgeagent.Alarm, error) {
		if body.ForS <= 0 || body.ForS > maxShelve.Seconds() {
			return edgeagent.Alarm{}, invalid("field %q: want seconds, more than 0 and less than a year", "for_s")
		}
		if err := checkReason(body.Reason); err != nil {
			return edgeagent.Alarm{}, err
		}
		return s.opt.Actions.Shelve(r.Context(), id, by, body.Reason, time.Duration(body.ForS*float64(time.Second)))
	})
}

func checkReason(reason string) error {
	if strings.TrimSpace(reason) == "" {
		return invalid("field %q is missing: the next shift wants to know", "reason")
	}
	return checkLength(reason)
}

func checkLength(reason string) error {
	if utf8.RuneCountInString(reason) > maxReason {
		return invalid("field %q is longer than %d characters", "reason", maxReason)
	}
	return nil
}

// onAlarm reads the body, then acts on the alarm of the path.
func onAlarm(w http.ResponseWriter, r *http.Request, body any, do func(edgeagent.ID) (edgeagent.Alarm, error)) (int, any, error) {
	id, err := target(w, r, body)
	if err != nil {
		return 0, nil, err
	}
	a, err := do(id)
	if err != nil {
		return 0, nil, fmt.Errorf("alarm %s: %w", id, err)
	}
	return http.StatusOK, a, nil
}

func target(w http.ResponseWriter, r *http.Request, body any) (edgeagent.ID, error) {
	id, err := edgeagent.ParseID(r.PathValue("id"))
	if err != nil {
		return "", err
	}
	return id, decode(w, r, body)
}

// reasonOf reads a body that says why, and nothing else.
func reasonOf(w http.ResponseWriter, r *http.Request) (string, error) {
	var body struct {
		Reason string `json:"reason"`
	}
	if err := decode(w, r, &body); err != nil {
		return "", err
	}
	return body.Reason, checkLength(body.Reason)
}

func (s *Server) resume(w http.ResponseWriter, r *http.Request, by string) (int, any, error) {
	name := r.PathValue("name")
	reason, err := reasonOf(w, r)
	if err != nil {
		return 0, nil, err
	}
	if err := s.opt.Actions.ResumeDevice(r.Context(), name, by, reason); err != nil {
		return 0, nil, fmt.Errorf("device %s: %w", name, err)
	}
	d, _ := s.device(name)
	return http.StatusOK, d, nil
}

func (s *Server) maintain(w http.ResponseWriter, r *http.Request, by string) (int, any, error) {
	var body struct {
		ForS   float64 `json:"for_s"`
		Reason string  `json:"reason"`
	}
	if err := decode(w, r, &body); err != nil {
		return 0, nil, err
	}
	const longest = 30 * 24 * time.Hour
	switch {
	case !(body.ForS > 0 && body.ForS <= longest.Seconds()):
		return 0, nil, invalid("field %q wants seconds, more than 0 and at most 30 days", "for_s")
	case strings.TrimSpace(body.Reason) == "":
		return 0, nil, invalid("field %q is missing: the next shift wants to know", "reason")
	}
	if err := checkLength(body.Reason); err != nil {
		return 0, nil, err
	}
	name := r.PathValue("name")
	if err := s.opt.Actions.MaintainDevice(r.Context(), name, by, body.Reason, time.Duration(body.ForS*float64(time.Second))); err != nil {
		return 0, nil, fmt.Errorf("device %s: %w", name, err)
	}
	d, _ := s.device(name)
	return http.StatusOK, d, nil
}

func (s *Server) ask(w http.ResponseWriter, r *http.Request, _ string) (int, any, error) {
	var q Question
	if err := decode(w, r, &q); err != nil {
		return 0, nil, err
	}
	a, err := s.opt.Actions.AskDevice(r.Context(), r.PathValue("name"), q)
	if err != nil {
		return 0, nil, fmt.Errorf("ask device %s: %w", r.PathValue("name"), err)
	}
	return http.StatusOK, a, nil
}

func (s *Server) retryJob(w http.ResponseWriter, r *http.Request, by string) (int, any, error) {
	return s.onJob(w, r, &empty{}, func(id edgeagent.ID) error { return s.opt.Actions.RetryJob(r.Context(), id, by) })
}

func (s *Server) discardJob(w http.ResponseWriter, r *http.Request, by string) (int, any, error) {
	var body struct {
		Reason string `json:"reason"`
	}
	return s.onJob(w, r, &body, func(id edgeagent.ID) error {
		if err := checkReason(body.Reason); err != nil {
			return err
		}
		return s.opt.Actions.DiscardJob(r.Context(), id, by, body.Reason)
	})
}

// onJob acts on the job of the path and answers the job as it is then.
func (s *Server) onJob(w http.ResponseWriter, r *http.Request, body any, do func(edgeagent.ID) error) (int, any, error) {
	id, err := target(w, r, body)
	if err != nil {
		return 0, nil, err
	}
	if err := do(id); err != nil {
		return 0, nil, fmt.Errorf("job %s: %w", id, err)
	}
	j, err := s.job(string(id))
	return http.StatusOK, j, err
}

// reload reads the configuration again. A file that is refused is the person's
// mistake: the agent runs on with what it has, and says why.
func (s *Server) reload(w http.ResponseWriter, r *http.Request, _ string) (int, any, error) {
	if err := decode(w, r, &empty{}); err != nil {
		return 0, nil, err
	}
	changes, err := s.opt.Actions.Reload(r.Context())
	if err != nil && judge(err).code == "internal" {
		err = &errBody{verdict{http.StatusUnprocessableEntity, "refused"}, err.Error()}
	}
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, map[string]any{"changes": orEmpty(changes)}, nil
}
