package queue

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"edgeagent"
)

// emitJob writes the event of a job, whole.
func (b *batch) emitJob(j job, typ edgeagent.EventType, revision int, o edgeagent.Outcome) error {
	if len(b.o.Destinations) == 0 {
		return nil
	}
	if b.o.Minimal {
		o.Prompt, o.Raw = "", ""
	}
	bodies, err := b.bodies(j.id)
	if err != nil {
		return err
	}
	data, err := jobText(j, bodies, o)
	if err != nil {
		return fmt.Errorf("write %s: %w", typ, err)
	}
	return b.emitText(outgoing{typ, j.id, revision, j.Group.Line, b.now, nil}, data)
}

// jobText returns the job object of an event: the JSON of [edgeagent.Job] with
// prompt and raw behind it. Its large parts are in the file as JSON already and
// are copied, not read and written again, for every writer waits meanwhile.
func jobText(j job, bodies map[string][]byte, o edgeagent.Outcome) ([]byte, error) {
	parts, err := copyParts(j.id, bodies)
	if err != nil {
		return nil, err
	}
	full, err := assemble(j.id, j.header, parts.rest)
	if err != nil {
		return nil, err
	}
	full.Line, full.Timeline = j.Group.Line, []edgeagent.TimelineEntry{}
	text, err := json.Marshal(full)
	if err != nil {
		return nil, err
	}
	text, found := bytes.CutSuffix(text, []byte(emptyParts))
	if !found {
		return nil, errors.New("the JSON of a job does not end with what is copied")
	}
	tail, err := json.Marshal(promptAndRaw{o.Prompt, o.Raw})
	if err != nil {
		return nil, err
	}
	if tail[0] = ','; len(tail) == len("{}") {
		tail = []byte("}")
	}
	return append(parts.appendTo(text), tail...), nil
}

// emptyParts is how a job ends whose copied parts are not there.
const emptyParts = `"diagnosis":null,"reviews":[],"feedback":null,"timeline":[],"calls":[]}`

type promptAndRaw struct {
	Prompt string `json:"prompt,omitempty"`
	Raw    string `json:"raw,omitempty"`
}

// jobParts are those of a job that are copied.
type jobParts struct {
	diagnosis, review, feedback []byte
	timeline, calls             [][]byte
	rest                        map[string][]byte // what else has to be known of it
}

func copyParts(id edgeagent.ID, bodies map[string][]byte) (p jobParts, err error) {
	p.rest = make(map[string][]byte)
	for _, key := range sortedKeys(bodies) {
		kind := byte(0)
		if len(key) > len(id) {
			kind = key[len(id)]
		}
		text := []byte(nil)
		if slices.Contains([]byte{partDiagnosis, partReview, partFeedback, partTimeline, partCalls}, kind) {
			if text, err = plain(bucketBodies, bodies[key]); err != nil {
				return p, err
			}
		}
		switch kind {
		case partDiagnosis:
			p.diagnosis = text
		case partReview:
			p.review = text
		case partFeedback:
			p.feedback = text
		case partCalls:
			if some := bytes.TrimSuffix(bytes.TrimPrefix(text, []byte("[")), []byte("]")); len(some) > 0 {
				p.calls = append(p.calls, some)
			}
		case partTimeline:
			p.timeline = append(p.timeline, text)
			if !tellsNothing(text) {
				p.rest[key] = text
			}
		}
	}
	return p, nil
}

// appendTo writes the parts behind the rest of a job, as emptyParts has them.
func (p jobParts) appendTo(text []byte) []byte {
	or := func(part []byte) []byte {
		if part == nil {
			return []byte("null")
		}
		return part
	}
	text = append(append(text, `"diagnosis":`...), or(p.diagnosis)...)
	text = append(append(text, `,"reviews":[`...), p.review...)
	text = append(append(text, `],"feedback":`...), or(p.feedback)...)
	text = append(append(text, `,"timeline":[`...), bytes.Join(p.timeline, []byte(","))...)
	text = append(append(text, `],"calls":[`...), bytes.Join(p.calls, []byte(","))...)
	return append(text, ']')
}

// tellsNothing reports whether a line of the timeline says nothing of a job that
// is not in its header too. Within a text the quotes would be escaped.
func tellsNothing(line []byte) bool {
	return bytes.Contains(line, []byte(`"event":"leased"`)) || bytes.Contains(line, []byte(`"event":"completed"`))
}
