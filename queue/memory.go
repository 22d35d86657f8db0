package queue

import (
	"cmp"
	"encoding/base32"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.etcd.io/bbolt"

	"edgeagent"
)

// What people said of an alarm is worth more than its jobs and outlives them: a
// small record for each alarm that was ever judged, written with the word alone.
const (
	maxPrecedents = 20  // of an alarm that are remembered
	maxBefore     = 5   // of them that go into a case
	maxDiagnosed  = 2   // of those, at most so many that nobody has judged
	maxAnswerers  = 16  // of an alarm that are counted apart
	maxToldText   = 200 // characters of a cause or a remedy in a case: every lease writes them, and no prompt holds more

	maxRemembered = 4096 // alarms: those from outside may have any name
)

// answerers beyond maxAnswerers are counted together.
const otherAnswerers = "others"

// memoryPrefix is an id's time of zero: what is remembered lies before all that
// happens, and none of it is ever old enough to be tidied away.
const memoryPrefix = "0000000000"

var memoryLetters = base32.NewEncoding(idLetters).WithPadding(base32.NoPadding)

// memoryKey returns where an alarm's memory lies: like a body, under an id that
// is made of its name.
func memoryKey(name occasion) string {
	return part(edgeagent.ID(memoryPrefix+memoryLetters.EncodeToString(name[:10])), partMemory)
}

func isMemory(key string) bool {
	return len(key) == idLength+1 && key[idLength] == partMemory && strings.HasPrefix(key, memoryPrefix)
}

// An answerer is a model of a provider.
type answerer struct{ provider, model string }

// loadMemory finds what is remembered, and sums up how it was judged.
func (w *working) loadMemory(tx *bbolt.Tx) error {
	w.judged = make(map[answerer]edgeagent.Accuracy)
	return scanRecords(tx, bucketBodies, memoryPrefix, func(key string, body []byte, _ uint32) error {
		var m edgeagent.Memory
		if !isMemory(key) {
			return nil
		}
		if err := unmarshal(bucketBodies, key, body, &m); err != nil {
			return err
		}
		w.learned[occasionNamed(m.Device, m.Line, m.Code)] = true
		for _, row := range m.Judged {
			who := answerer{row.Provider, row.Model}
			w.judged[who] = added(w.judged[who], row)
		}
		return nil
	})
}

func added(sum, row edgeagent.Accuracy) edgeagent.Accuracy {
	sum.Provider, sum.Model = row.Provider, row.Model
	sum.Right, sum.Partly, sum.Wrong = sum.Right+row.Right, sum.Partly+row.Partly, sum.Wrong+row.Wrong
	return sum
}

// learn brings what is remembered of an alarm in step with a word on it.
func (b *batch) learn(a edgeagent.Alarm, w word) error {
	name := occasionOf(a)
	if !b.w.learned[name] && len(b.w.learned) >= maxRemembered {
		b.o.Log.Warn("too many alarms are remembered: this word is kept with its job alone", "alarm", a.Name())
		return nil
	}
	m, revision, err := b.memoryOf(name)
	if err != nil {
		return err
	}
	m.Device, m.Line, m.Code = a.Device, a.Line, a.Code
	if w.was != nil {
		b.recount(&m, *w.was, -1)
	}
	b.recount(&m, w.is, 1)
	m.Before = kept(m.Before, precedentOf(a, w.is, w.of))
	set(b, b.w.learned, name, true)
	return b.putJSON(bucketBodies, memoryKey(name), revision+1, m)
}

// memoryOf returns what is remembered of an alarm. What was damaged is begun anew.
func (b *batch) memoryOf(name occasion) (m edgeagent.Memory, revision uint32, err error) {
	key := memoryKey(name)
	body, revision, err := b.get(bucketBodies, key)
	if err == nil {
		err = unmarshal(bucketBodies, key, body, &m)
	}
	if errors.Is(err, errDamaged) {
		b.o.Log.Error("what was remembered of an alarm cannot be read and is begun anew", "key", key, "error", err)
		return edgeagent.Memory{}, revision, nil
	}
	if errors.Is(err, edgeagent.ErrNotFound) {
		err = nil
	}
	return m, revision, err
}

// recount adds n to how the answerer of a word was judged, in the alarm's memory
// and in the sum of all. A word of before this was counted is not.
func (b *batch) recount(m *edgeagent.Memory, f edgeagent.Feedback, n int) {
	if f.Provider == "" {
		return
	}
	row := rowFor(m, answerer{f.Provider, f.Model})
	change := edgeagent.Accuracy{Provider: row.Provider, Model: row.Model}
	for verdict, at := range map[edgeagent.Verdict][2]*int{
		edgeagent.VerdictRight:  {&row.Right, &change.Right},
		edgeagent.VerdictPartly: {&row.Partly, &change.Partly},
		edgeagent.VerdictWrong:  {&row.Wrong, &change.Wrong},
	} {
		if verdict == f.Verdict {
			*at[1] = max(n, -*at[0]) // what was never counted is not taken back
			*at[0] += *at[1]
		}
	}
	who, sums := answerer{row.Provider, row.Model}, maps.Clone(b.w.judged)
	sums[who] = added(sums[who], change)
	assign(b, &b.w.judged, sums)
}

// rowFor returns the line of an answerer.
func rowFor(m *edgeagent.Memory, who answerer) *edgeagent.Accuracy {
	find := func(who answerer) int {
		return slices.IndexFunc(m.Judged, func(a edgeagent.Accuracy) bool { return answerer{a.Provider, a.Model} == who })
	}
	at := find(who)
	if at < 0 && len(m.Judged) >= maxAnswerers-1 {
		who = answerer{provider: otherAnswerers}
		at = find(who)
	}
	if at < 0 {
		m.Judged = append(m.Judged, edgeagent.Accuracy{Provider: who.provider, Model: who.model})
		at = len(m.Judged) - 1
	}
	return &m.Judged[at]
}

// precedentOf returns what later diagnoses may learn of a word. The cause of an
// answer that was wrong is none.
func precedentOf(a edgeagent.Alarm, f edgeagent.Feedback, d edgeagent.Diagnosis) edgeagent.Precedent {
	p := edgeagent.Precedent{
		Alarm: a.ID, At: a.RaisedAt.Round(time.Millisecond), Cause: f.Cause, FixedBy: f.FixedBy, Verdict: f.Verdict,
		Confirmed: f.ConfirmedBy != "", ByPerson: f.Cause != "",
	}
	if p.Cause == "" && f.Verdict != edgeagent.VerdictWrong && len(d.Causes) > 0 {
		p.Cause = edgeagent.OneLine(d.Causes[0].Cause, maxWord)
	}
	return p
}

// kept puts a precedent in its place, and leaves out those that are worth least:
// old ones that nobody has confirmed.
func kept(all []edgeagent.Precedent, p edgeagent.Precedent) []edgeagent.Precedent {
	all = slices.DeleteFunc(slices.Clone(all), func(old edgeagent.Precedent) bool { return old.Alarm == p.Alarm })
	all = append(all, p)
	slices.SortFunc(all, worthMore)
	return all[:min(len(all), maxPrecedents)]
}

// worthMore orders confirmed ones before others, and newer before older.
func worthMore(x, y edgeagent.Precedent) int {
	if x.Confirmed != y.Confirmed {
		if x.Confirmed {
			return -1
		}
		return 1
	}
	return cmp.Or(y.At.Compare(x.At), strings.Compare(string(y.Alarm), string(x.Alarm)))
}

// before returns the precedents of an alarm for its case: what people said of
// it, and of its last activations that nobody has judged what they were diagnosed as.
func (b *batch) before(a edgeagent.Alarm) []edgeagent.Precedent {
	name := occasionOf(a)
	var out []edgeagent.Precedent
	if b.w.learned[name] {
		m, _, err := b.memoryOf(name)
		if err != nil {
			b.o.Log.Error("what is remembered of an alarm cannot be read and is left out", "alarm", a.ID, "error", err)
		}
		out = pastOf(m, a.ID)
	}
	out = out[:min(len(out), maxBefore)]
	judged := len(out)
	for _, raw := range slices.Backward(b.w.activations(name)) {
		if len(out) == maxBefore || len(out)-judged == maxDiagnosed {
			break
		}
		id := raw.id()
		if id >= a.ID || slices.ContainsFunc(out, func(p edgeagent.Precedent) bool { return p.Alarm == id }) {
			continue
		}
		if p, ok := b.precedent(id); ok && p.Cause+p.FixedBy != "" {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, worthMore)
	for i := range out {
		out[i].Cause, out[i].FixedBy = edgeagent.OneLine(out[i].Cause, maxToldText), edgeagent.OneLine(out[i].FixedBy, maxToldText)
	}
	return out
}

// precedentIn reads what came of one activation, and whether it is kept. It is a
// courtesy: whatever else cannot be read is left empty.
func precedentIn(get func(bucket byte, key string, v any) error, id edgeagent.ID) (edgeagent.Precedent, bool) {
	var a edgeagent.Alarm
	if get(bucketAlarms, string(id), &a) != nil {
		return edgeagent.Precedent{}, false
	}
	return whatCame(get, a), true
}

// whatCame reads it for an alarm that is known.
func whatCame(get func(bucket byte, key string, v any) error, a edgeagent.Alarm) edgeagent.Precedent {
	var d edgeagent.Diagnosis
	var f edgeagent.Feedback
	if get(bucketBodies, part(a.Job, partReview), &d) != nil {
		_ = get(bucketBodies, part(a.Job, partDiagnosis), &d) // without one nothing is known of it
	}
	if get(bucketBodies, part(a.Job, partFeedback), &f) != nil {
		f = edgeagent.Feedback{}
	}
	return precedentOf(a, f, d)
}

// pastOf returns the precedents of before an activation, in their order.
func pastOf(m edgeagent.Memory, than edgeagent.ID) []edgeagent.Precedent {
	return slices.DeleteFunc(slices.Clone(m.Before), func(p edgeagent.Precedent) bool { return p.Alarm >= than })
}

// learnEarlier takes up, once in the life of a file, what people said while it
// was kept with their jobs alone.
func (b *batch) learnEarlier() error {
	if _, _, err := b.get(bucketMeta, keyLearned); !errors.Is(err, edgeagent.ErrNotFound) {
		return err
	}
	tx, err := b.reader()
	if err != nil {
		return err
	}
	r, err := rowsOf(tx, bucketBodies)
	if err != nil {
		return err
	}
	for ok := r.seek(""); ok; ok = r.next() {
		if len(r.key) != idLength+1 || r.key[idLength] != partFeedback {
			continue
		}
		if err := b.learnFrom(edgeagent.ID(r.key[:idLength])); err != nil && !errors.Is(err, edgeagent.ErrNotFound) && !errors.Is(err, errDamaged) {
			return fmt.Errorf("learn what was said of job %s: %w", r.key[:idLength], err)
		}
	}
	return b.put(bucketMeta, keyLearned, 0, []byte("1"))
}

// learnFrom takes up the word on one job, and notes whose answer it is about.
func (b *batch) learnFrom(id edgeagent.ID) error {
	f, err := b.wordOn(id)
	if err != nil || f == nil || f.Provider != "" {
		return err
	}
	d, err := b.answerBy(id, "")
	if err != nil {
		return err
	}
	a, err := b.firstAlarm(id)
	if err != nil || a.ID == "" {
		return err
	}
	_, revision, err := b.get(bucketBodies, part(id, partFeedback))
	if err != nil {
		return err
	}
	f.Provider, f.Model = d.By.Provider, d.By.Model
	f.Cause, f.FixedBy = edgeagent.OneLine(f.Cause, maxWord), edgeagent.OneLine(f.FixedBy, maxWord)
	return errors.Join(b.putJSON(bucketBodies, part(id, partFeedback), revision+1, f), b.learn(a, word{is: *f, of: d}))
}
