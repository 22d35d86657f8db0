package status

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"edgeagent"
)

// alarmView is an alarm as a page shows it.
type alarmView struct {
	edgeagent.Alarm
	Raised, Cleared, Acked, Shelved, Lost, Last stamp
	Word                                        string // the state in words
	Blink                                       bool
	Values                                      []valueView
	Advice                                      *diagnosisView // the best there is
	Pending                                     bool           // a better answer is on its way
	Together                                    int            // alarms that are diagnosed together with it, itself too
	Led                                         bool           // it was the first of them
}

// valueView is a value at the raise and the trend up to now.
type valueView struct {
	Name, At, Now string
	Spark         *chart
}

func (l lens) alarm(a edgeagent.Alarm) alarmView {
	v := alarmView{Alarm: a, Raised: l.stamp(a.RaisedAt), Cleared: l.stampPtr(a.ClearedAt), Acked: l.stampPtr(a.AckedAt),
		Shelved: l.stampPtr(a.ShelvedUntil), Lost: l.stampPtr(a.ValueLostSince), Word: alarmWord(a)}
	v.Blink = a.State == edgeagent.AlarmUnacked && !v.Shelved.Set()
	if a.Hint != nil {
		v.Advice = l.diagnosis(*a.Hint)
	}
	if a.LastTime != nil {
		v.Last = l.stamp(a.LastTime.At)
	}
	return v
}

func alarmWord(a edgeagent.Alarm) string {
	switch {
	case a.Removed:
		return "closed: no longer configured"
	case a.ShelvedUntil != nil && a.State.Open():
		return "shelved"
	case a.State == edgeagent.AlarmUnacked:
		return "active, not acknowledged"
	case a.State == edgeagent.AlarmAcked:
		return "active, acknowledged"
	case a.State == edgeagent.AlarmClearedUnacked:
		return "gone, not acknowledged"
	default:
		return "back to normal"
	}
}

// sortAlarms puts what wants a person first: unacknowledged, then by priority,
// then the newest.
func sortAlarms(all []edgeagent.Alarm) {
	unacked := func(a edgeagent.Alarm) int {
		if a.State == edgeagent.AlarmUnacked || a.State == edgeagent.AlarmClearedUnacked {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(all, func(a, b edgeagent.Alarm) int {
		return cmp.Or(cmp.Compare(unacked(a), unacked(b)), cmp.Compare(a.Priority, b.Priority), b.RaisedAt.Compare(a.RaisedAt))
	})
}

// values shows what the alarm was raised with, and where it went since.
func (l lens) values(a edgeagent.Alarm, most int) []valueView {
	var out []valueView
	for _, name := range slices.Sorted(maps.Keys(a.Values)) {
		if len(out) == most {
			break
		}
		v := valueView{Name: name, At: valueText(a.Values[name])}
		if r, ok := l.plant.reading(name); ok {
			v.At, v.Now = withUnit(v.At, r.EngUnit), nowText(r)
			if r.Text != "" && sameNumber(r.Value, a.Values[name]) {
				v.At = r.Text // the same number has the same word
			}
		}
		out = append(out, v)
	}
	return out
}

// sameNumber holds a value that was read against one that was stored: what is
// read back from the data file has forgotten that it had no sign.
func sameNumber(a, b edgeagent.Value) bool {
	x, isNumber := a.Float64()
	y, areBoth := b.Float64()
	return isNumber && areBoth && x == y
}

// sparks draws the last minutes of an alarm's values.
func (s *Server) sparks(l lens, v *alarmView) {
	from := l.now.Add(-sparkTime)
	for i := range v.Values {
		value := &v.Values[i]
		device, tag, _ := strings.Cut(value.Name, ".")
		value.Spark = l.draw(plot{points: s.opt.Source.Trend(device, tag, from), from: from, to: l.now,
			mark: v.RaisedAt, w: 160, h: 36, name: value.Name, gap: time.Minute})
	}
}

// sparkTime is how far back a small trend goes.
const sparkTime = 10 * time.Minute

// board is what is known of the tags while one page is drawn: each device is
// read once, however many alarms it has.
type board struct {
	plant   Plant
	devices map[string]map[string]edgeagent.Reading
}

// reading finds a tag by DEVICE.TAG.
func (b *board) reading(name string) (edgeagent.Reading, bool) {
	device, tag, _ := strings.Cut(name, ".")
	known, ok := b.devices[device]
	if !ok {
		known = make(map[string]edgeagent.Reading)
		for _, r := range b.plant.Readings(device) {
			known[r.Tag] = r
		}
		b.devices[device] = known
	}
	r, ok := known[tag]
	return r, ok
}

func withUnit(text, unit string) string { return strings.TrimSpace(text + " " + unit) }

// nowText never shows a number that cannot be trusted as a number alone.
func nowText(r edgeagent.Reading) string {
	if r.Quality == edgeagent.QualityBad {
		return cmp.Or(r.Reason.String(), "no value")
	}
	text := cmp.Or(r.Text, withUnit(valueText(r.Value), r.EngUnit))
	if r.Quality == edgeagent.QualityUncertain {
		text += " (" + cmp.Or(r.Reason.String(), "uncertain") + ")"
	}
	return text
}

// diagnosisView is advice with who gave it.
type diagnosisView struct {
	edgeagent.Diagnosis
	Top  *edgeagent.Cause // the most likely cause
	Who  string
	Why  string // those before it were not asked, or gave no answer
	Took string
	Cost string
	At   stamp
	// Similar: all of it is of another machine that is like this one.
	Similar bool
	// Held says in words how much of what it cites was found in the case.
	Held string
}

func (l lens) diagnosis(d edgeagent.Diagnosis) *diagnosisView {
	v := &diagnosisView{Diagnosis: d, Who: who(d.By), Why: plainWhy(d.By.WhyNotFirst), At: l.stamp(d.By.At)}
	v.Causes = likeliestFirst(d.Causes)
	v.ofSimilar()
	if len(v.Causes) > 0 {
		v.Top = &v.Causes[0]
	}
	if d.By.TookMS > 0 {
		v.Took = millis(d.By.TookMS)
	}
	if d.By.CostUSD > 0 {
		v.Cost = usd(d.By.CostUSD)
	}
	v.Held = heldWords(d)
	return v
}

func who(by edgeagent.Provenance) string {
	switch providerClass(by.Kind) {
	case "local":
		return strings.TrimSpace("local model " + by.Model)
	case "runbook":
		return "runbook"
	default:
		return strings.TrimSpace("cloud model " + by.Model)
	}
}

func heldWords(d edgeagent.Diagnosis) string {
	switch g := d.Grounded; {
	case d.By.Kind == "runbook":
		return "" // it quotes what people wrote
	case d.Unstructured != "":
		return "Nothing of it was checked."
	case g.Checked == 0:
		return "It cites no value, alarm or passage of this case: read it as an opinion."
	case g.Held == 0:
		return "Nothing it cites was found in the data of this case, and what rested on it was removed: read the rest as an opinion."
	case g.Held == g.Checked:
		return "Everything it cites was found in the data of this case (" + count(g.Checked, "citation") + ")."
	default:
		return fmt.Sprintf("%d of %s found in the data of this case; the other claims were removed.",
			g.Held, count(g.Checked, "citation"))
	}
}

// deviceView is a device as a page shows it.
type deviceView struct {
	edgeagent.DeviceStatus
	StateSince, LastOK, NextTry stamp
	End                         stamp // of a maintenance
	WeAre, LinkWord             string
	Abnormal, Down              bool
	Told                        bool // the device tells changes by itself: it has no scans
	Bars                        *bars
	Scan                        string
	Log                         []logView
}

type logView struct {
	At     stamp
	Event  string
	Detail string
}

func (l lens) device(d edgeagent.DeviceStatus) deviceView {
	v := deviceView{DeviceStatus: d, StateSince: l.stampPtr(d.Since), LastOK: l.stampPtr(d.LastOKAt), NextTry: l.due(d.NextTryAt),
		LinkWord: linkWord(d), Bars: scanBars(d.Recent)}
	v.Told = d.Protocol == "opcua"
	v.WeAre, v.End = l.weAre(d), l.due(d.Until)
	v.Abnormal = d.State == edgeagent.DeviceStopped || d.State == edgeagent.DeviceRetrying || tellsNothing(d)
	v.Down = linkCounts(d) && d.Link != edgeagent.LinkUp
	if d.ScanMS > 0 {
		v.Scan = words(time.Duration(d.ScanMS * float64(time.Millisecond)))
	}
	for _, e := range slices.Backward(d.Log) {
		v.Log = append(v.Log, logView{At: l.stamp(e.At), Event: e.Event, Detail: e.Detail.String()})
	}
	return v
}

// wrong reports whether a device is not read as it should be.
func (v deviceView) wrong() bool { return v.Abnormal || v.Down }

// rank puts what is wrong before what is well: among 64 devices nobody finds it
// otherwise.
func (v deviceView) rank() int {
	if v.wrong() {
		return 1
	}
	return 0
}

// weAre says what the agent does; whether the machine runs is another
// question, and a stopped device must never read as a stopped machine.
func (l lens) weAre(d edgeagent.DeviceStatus) string {
	switch {
	case tellsNothing(d):
		return "polling, but none of its values is good"
	case d.State == edgeagent.DeviceStopped:
		return "NOT BEING READ" + sinceAt(d.Since, l.now) + ", machine state unknown"
	case d.State == edgeagent.DeviceRetrying:
		return fmt.Sprintf("retrying, %s so far", count(d.Attempt, "failure"))
	case d.State == edgeagent.DeviceMaintenance:
		return "leaving it alone for maintenance: NOT BEING READ" + sinceAt(d.Since, l.now)
	default:
		return string(d.State)
	}
}

func linkCounts(d edgeagent.DeviceStatus) bool {
	return d.State != edgeagent.DeviceDisabled && d.State != edgeagent.DeviceConnecting && d.State != edgeagent.DeviceMaintenance
}

func linkWord(d edgeagent.DeviceStatus) string {
	switch {
	case d.State == edgeagent.DeviceDisabled || d.State == edgeagent.DeviceMaintenance:
		return "not asked"
	case d.Link == edgeagent.LinkSilent:
		return "silent: connected, but nothing that arrives is an answer"
	case d.Link == edgeagent.LinkFrozen:
		return "frozen: answers, but its heartbeat stands still"
	case d.Link == "":
		return "not known yet"
	default:
		return string(d.Link)
	}
}

// tagView is a row of a device's tags.
type tagView struct {
	edgeagent.Reading
	Registers, Shown, Why, Age string
	Wire                       string
	LastGoodText               string
	LastGoodStamp              stamp
	Spark                      *chart
}

func (s *Server) tag(l lens, r edgeagent.Reading) tagView {
	v := tagView{Reading: r, Registers: registers(r.Raw), Why: r.Reason.String(), LastGoodStamp: l.stampPtr(r.LastGoodAt)}
	v.Shown = cmp.Or(r.Text, withUnit(valueText(r.Value), r.EngUnit))
	if r.LastGood != nil {
		v.LastGoodText = withUnit(valueText(*r.LastGood), r.EngUnit)
	}
	if r.At != nil {
		v.Age = age(r.AgeS)
	}
	if a, err := edgeagent.ParseAddress(r.Address, true); err == nil {
		v.Wire = strings.TrimPrefix(a.Notations(), r.Address+" = ")
	}
	from := l.now.Add(-sparkTime)
	v.Spark = l.draw(plot{points: s.opt.Source.Trend(r.Device, r.Tag, from), from: from, to: l.now,
		w: 120, h: 28, name: r.Tag, eng: r.EngUnit, gap: time.Minute})
	return v
}

func valueText(v edgeagent.Value) string {
	if f, ok := v.Float64(); ok && v.Kind() == edgeagent.KindFloat && v.Finite() {
		return number(f)
	}
	return v.String()
}

// jobView is a job as a page shows it.
type jobView struct {
	edgeagent.Job
	Created, Finished, NextTry stamp
	Subject                    string // what it is about
	First                      edgeagent.ID
	Answer                     *diagnosisView // the newest
	Answers                    answersView
	Took                       string
	Steps                      []logView
	Calls                      []callView
	Cost                       string
}

type callView struct {
	edgeagent.Call
	At         stamp
	Took, Cost string
	Why        string
	Said       *saidView // what came, where it was not taken
}

func (l lens) job(j edgeagent.Job) jobView {
	v := jobView{Job: j, Created: l.stamp(j.CreatedAt), Finished: l.stampPtr(j.FinishedAt), NextTry: l.due(j.NextTryAt)}
	if len(j.Alarms) > 0 {
		v.First = j.Alarms[0]
	}
	v.Answers = l.answers(j)
	v.Answer = v.Answers.Newest
	if j.FinishedAt != nil {
		v.Took = words(j.FinishedAt.Sub(j.CreatedAt))
	}
	for _, e := range j.Timeline {
		v.Steps = append(v.Steps, logView{At: l.stamp(e.At), Event: e.Event, Detail: e.Detail.String()})
	}
	var cost float64
	for _, c := range j.Calls {
		cost += c.CostUSD
		v.Calls = append(v.Calls, callView{Call: c, At: l.stamp(c.At), Took: millis(c.TookMS), Cost: usd(c.CostUSD), Why: c.Error.String()})
	}
	v.Cost = usd(cost)
	return v
}
