package queue

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.etcd.io/bbolt"

	"edgeagent"
)

// salvaged says what became of a damaged file. It lies in the new one until the
// agent has begun a new epoch there and told of the gaps: a power cut between
// the two must not silence them.
type salvaged struct {
	At     time.Time `json:"at"`
	Kept   string    `json:"kept"` // the damaged file, its name alone
	Why    string    `json:"why"`
	Found  int       `json:"found"` // records that were saved
	Lost   int       `json:"lost"`  // records whose place was found, and not their bytes
	Pages  int       `json:"pages"` // in use that cannot be read at all
	Events uint64    `json:"events"`
	Gaps   []missed  `json:"gaps"`
}

// keySalvaged is where it lies in bucket m.
const keySalvaged = "salvaged"

func (s salvaged) String() string {
	text := fmt.Sprintf("it was damaged (%s); %d records were saved", s.Why, s.Found)
	if s.Lost > 0 || s.Pages > 0 || s.Events > 0 {
		text += fmt.Sprintf(", %d lost, %d pages unreadable, %d events will never be sent", s.Lost, s.Pages, s.Events)
	}
	return text + "; the damaged file is kept as " + s.Kept
}

// settle makes one whole of what was saved.
func (v *salvager) settle() (salvaged, error) {
	out := salvaged{At: time.Now(), Found: v.found, Why: fmt.Sprint(v.tree.damage)}
	err := v.to.Update(func(tx *bbolt.Tx) error {
		for _, step := range []func(*bbolt.Tx) error{v.dropTwofold, v.mendJobs} {
			if err := step(tx); err != nil {
				return err
			}
		}
		gaps, err := v.gaps(tx)
		out.Gaps = gaps
		return err
	})
	for _, g := range out.Gaps {
		if !g.Beyond {
			out.Events += g.To - g.From + 1
		}
	}
	out.Lost, out.Pages = v.losses()
	if err != nil {
		return out, fmt.Errorf("settle what was salvaged: %w", err)
	}
	return out, nil
}

// losses counts what the tree knew and the new file does not have.
func (v *salvager) losses() (records, pages int) {
	for id, role := range v.tree.roles {
		if role != roleBroken {
			continue
		}
		page, err := v.pages.bytes(uint64(id), 1)
		if err == nil && pageHeadOf(page).names(uint64(id)) {
			records += int(pageHeadOf(page).count)
			continue
		}
		pages++
	}
	return max(0, v.tree.rows+v.tree.lost+records-v.found), pages
}

// dropTwofold takes back events of which pages not in use held two: one of them
// is of a commit that never ended, and nobody knows which.
func (v *salvager) dropTwofold(tx *bbolt.Tx) error {
	for key := range v.twofold {
		if err := writeRecord(tx, bucketOutbox, key, nil); err != nil {
			return err
		}
	}
	return nil
}

// An object is what was saved of one id.
type object struct {
	id     edgeagent.ID
	bodies map[string][]byte
}

// mendJobs brings jobs in step with their bodies, and drops bodies whose alarm or
// job is gone. A job all of whose bodies are gone is looked at too: of an older
// file its group was one of them.
func (v *salvager) mendJobs(tx *bbolt.Tx) error {
	var ids []edgeagent.ID
	note := func(key string, _ []byte, _ uint32) error {
		if id := edgeagent.ID(key[:min(idLength, len(key))]); len(ids) == 0 || ids[len(ids)-1] != id {
			ids = append(ids, id)
		}
		return nil
	}
	err := errors.Join(scanRecords(tx, bucketBodies, "", note), scanRecords(tx, bucketJobs, "", note))
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		if err == nil {
			err = v.mendObject(tx, id)
		}
	}
	return err
}

func (v *salvager) mendObject(tx *bbolt.Tx, id edgeagent.ID) error {
	for kind, key := range map[byte]string{bucketAlarms: string(id), bucketBodies: part(id, partMemory)} {
		if _, _, err := readRecord(tx, kind, key); err == nil {
			return nil
		}
	}
	bodies, damage := bodiesOf(tx, id)
	if damage != nil {
		return damage
	}
	o := object{id, bodies}
	body, revision, err := readRecord(tx, bucketJobs, string(id))
	var h header
	if err == nil {
		h, err = o.header(tx, body)
	}
	if err == nil && h.Entries >= o.numbers(partTimeline) && (!o.has(partDiagnosis) || !unfinished(h.State)) {
		return o.regroup(tx, body)
	}
	if err != nil && !errors.Is(err, edgeagent.ErrNotFound) && !errors.Is(err, errDamaged) {
		return err
	}
	mended, ok := o.mend(tx, h, v.attempts)
	if !ok {
		return o.drop(tx)
	}
	rec := encodeRecord(bucketJobs, string(id), max(revision, uint32(mended.Entries))+1, mended.encode())
	return errors.Join(writeRecord(tx, bucketJobs, string(id), rec), o.regroup(tx, mended.encode()))
}

// header reads the header of a job, and where its group lay beside it, that too.
func (o object) header(tx *bbolt.Tx, body []byte) (header, error) {
	h, err := wholeHeader(getter(tx), o.id, body)
	if err != nil && h.State != "" {
		h.Group, err = o.group(tx), nil
	}
	return h, err
}

// regroup gives a job back whose alarms it shares, where that lay beside a header
// and is lost.
func (o object) regroup(tx *bbolt.Tx, body []byte) error {
	if len(body) == 0 || body[0] != headerApart || o.has(partOpening) {
		return nil
	}
	opening, err := json.Marshal(o.group(tx))
	if err != nil {
		return err
	}
	key := part(o.id, partOpening)
	return writeRecord(tx, bucketBodies, key, encodeRecord(bucketBodies, key, 0, opening))
}

// group is that of the first alarm that can be read.
func (o object) group(tx *bbolt.Tx) group {
	full, err := assemble(o.id, header{}, o.bodies)
	if err == nil {
		for _, id := range full.Alarms {
			if a, err := readAlarm(tx, id); err == nil {
				return groupOf(a)
			}
		}
	}
	return group{}
}

func (o object) has(part byte) bool {
	_, ok := o.bodies[string(o.id)+string(rune(part))]
	return ok
}

// drop deletes what belongs to nobody any more.
func (o object) drop(tx *bbolt.Tx) error {
	for key := range o.bodies {
		if err := writeRecord(tx, bucketBodies, key, nil); err != nil {
			return err
		}
	}
	return nil
}

// numbers returns how many bodies of a kind there have been at least.
func (o object) numbers(kind byte) int {
	n := 0
	for key := range o.bodies {
		if strings.HasPrefix(key, part(o.id, kind)) && len(key) == idLength+3 {
			n = max(n, 1+(int(key[idLength+1])<<8|int(key[idLength+2])))
		}
	}
	return n
}

// mend returns the header of a job whose own is lost or older than its bodies:
// the timeline tells its life, and an answer is an answer. It reports false for
// what is no job, and for one that may have ended in what is lost with its
// header: no answer is better than one that is paid twice.
func (o object) mend(tx *bbolt.Tx, h header, attempts int) (header, bool) {
	full, err := assemble(o.id, h, o.bodies)
	if err != nil || h.State == "" && full.Diagnosis == nil && !over(full.Timeline) {
		return h, false
	}
	if h.State == "" {
		h = header{State: edgeagent.JobPending, Priority: priorityOf(tx, full.Alarms), MaxAttempts: attempts, Created: o.id.Time(), Group: o.group(tx)}
	}
	h.Entries, h.Asks = o.numbers(partTimeline), max(h.Asks, o.numbers(partCalls))
	h.Attempts, h.Interrupts = 0, 0
	for _, e := range full.Timeline {
		h.relive(e)
	}
	if full.Diagnosis != nil {
		h.State, h.Frozen = edgeagent.JobCompleted, true
		if h.Finished.IsZero() {
			h.Finished = full.Diagnosis.By.At
		}
	}
	if h.State != edgeagent.JobRunning {
		h.Token = [16]byte{}
	}
	return h, true
}

// over reports whether a job has reached a state that no event leads out of.
func over(timeline []edgeagent.TimelineEntry) bool {
	return slices.ContainsFunc(timeline, func(e edgeagent.TimelineEntry) bool { return e.Event == "completed" || e.Event == "discarded" })
}

// relive repeats what an entry of the timeline tells.
func (h *header) relive(e edgeagent.TimelineEntry) {
	switch e.Event {
	case "leased":
		h.State, h.Frozen, h.LeasedAt = edgeagent.JobRunning, true, e.At
	case "interrupted":
		h.State = edgeagent.JobPending
		h.Interrupts++
	case "released":
		h.State = edgeagent.JobPending
	case "retry":
		if h.Attempts++; e.Detail.Is("person") {
			h.Attempts = 0
		}
		h.State, h.NotBefore, h.Wait = edgeagent.JobPending, e.At, 0
	case "completed":
		h.State, h.Finished = edgeagent.JobCompleted, e.At
		h.Attempts++
	case "failed":
		h.State, h.Finished = edgeagent.JobFailed, e.At
	case "discarded":
		h.State, h.Finished = edgeagent.JobDiscarded, e.At
	}
}

// priorityOf returns the highest priority of alarms that can be read.
func priorityOf(tx *bbolt.Tx, ids []edgeagent.ID) int {
	priorities := []int{lowestPriority}
	for _, id := range ids {
		if a, err := readAlarm(tx, id); err == nil && a.Priority > 0 {
			priorities = append(priorities, a.Priority)
		}
	}
	return slices.Min(priorities)
}

const lowestPriority = 4

// leave writes what was salvaged into the new file, for who opens it.
func (s salvaged) leave(path string, maxSize int64) error {
	body, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("write what was salvaged: %w", err)
	}
	b, err := openBolt(path, maxSize)
	if err != nil {
		return err
	}
	put := func(tx *bbolt.Tx) error {
		return writeRecord(tx, bucketMeta, keySalvaged, encodeRecord(bucketMeta, keySalvaged, 0, body))
	}
	return errors.Join(b.Update(put), b.Close())
}
