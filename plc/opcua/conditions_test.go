package opcua

import (
	"bytes"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/gopcua/opcua/id"
	"github.com/gopcua/opcua/ua"

	"edgeagent"
)

var plantSpaces = []string{"http://opcfoundation.org/UA/", "urn:plant"}

// told are the fields of an event that differ from those of an active, unacked
// alarm of severity 700.
type told map[field]any

func eventOf(differ told) []*ua.Variant {
	all := told{
		fieldEventType:     ua.NewNumericNodeID(0, id.ExclusiveLimitAlarmType),
		fieldSourceNode:    ua.NewStringNodeID(1, "Filler.Level"),
		fieldSourceName:    "Level",
		fieldTime:          noon,
		fieldMessage:       ua.NewLocalizedText("Level high"),
		fieldSeverity:      uint16(700),
		fieldConditionID:   ua.NewStringNodeID(1, "LevelAlarm"),
		fieldBranchID:      ua.NewTwoByteNodeID(0),
		fieldConditionName: "LevelAlarm",
		fieldRetain:        true,
		fieldEnabled:       true,
		fieldAcked:         false,
		fieldActive:        true,
		fieldActiveSince:   noon.Add(-time.Minute),
		fieldCode:          "LevelAlarm",
	}
	values := make([]*ua.Variant, fieldCode+2)
	for f := range values {
		v, differs := differ[field(f)]
		if !differs {
			v = all[field(f)]
		}
		if v == nil {
			values[f] = &ua.Variant{}
			continue
		}
		values[f] = ua.MustVariant(v)
	}
	return values
}

// system is one of the events about events.
func system(kind uint32) []*ua.Variant {
	values := make([]*ua.Variant, fieldCode+1)
	values[fieldEventType] = ua.MustVariant(ua.NewNumericNodeID(0, kind))
	return values
}

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func testEvents() *Events {
	return &Events{MinSeverity: 300, Priorities: [4]int{800, 600, 300, 0}}
}

func TestAnEventIsUnderstood(t *testing.T) {
	active := edgeagent.Condition{
		ID: "nsu=urn:plant;s=LevelAlarm", Code: "LevelAlarm", Source: "Level", Name: "LevelAlarm", Text: "Level high",
		Severity: 700, Priority: 2, Active: true, At: noon,
	}
	with := func(change func(*edgeagent.Condition)) edgeagent.Condition {
		c := active
		change(&c)
		return c
	}
	cases := []struct {
		name string
		in   told
		want edgeagent.Condition
	}{
		{"active", told{}, active},
		{"acknowledged", told{fieldAcked: true}, with(func(c *edgeagent.Condition) { c.Acked = true })},
		{"over, not seen", told{fieldActive: false}, with(func(c *edgeagent.Condition) { c.Active = false })},
		{"over and seen", told{fieldActive: false, fieldAcked: true, fieldRetain: false},
			with(func(c *edgeagent.Condition) { c.Active, c.Acked, c.Gone = false, true, true })},
		{"no longer retained is over", told{fieldRetain: false}, with(func(c *edgeagent.Condition) { c.Active, c.Gone = false, true })},
		{"disabled is over", told{fieldEnabled: false}, with(func(c *edgeagent.Condition) { c.Active, c.Gone = false, true })},
		{"no active state: while it is retained", told{fieldActive: nil}, active},
		{"no acknowledgement known", told{fieldAcked: nil, fieldActive: false}, with(func(c *edgeagent.Condition) { c.Active, c.Acked = false, true })},
		{"no Retain: while it is active or not seen", told{fieldRetain: nil, fieldActive: false}, with(func(c *edgeagent.Condition) { c.Active = false })},
		{"no Retain, over and seen", told{fieldRetain: nil, fieldActive: false, fieldAcked: true},
			with(func(c *edgeagent.Condition) { c.Active, c.Acked, c.Gone = false, true, true })},
		{"states of another type", told{fieldActive: "yes", fieldAcked: uint16(1), fieldRetain: true}, active},
		{"a branch", told{fieldBranchID: ua.NewNumericNodeID(1, 9)}, with(func(c *edgeagent.Condition) { c.Branch = "nsu=urn:plant;i=9" })},
		{"a namespace that is not there", told{fieldConditionID: ua.NewStringNodeID(7, "x")}, with(func(c *edgeagent.Condition) { c.ID = "ns=7;s=x" })},
		{"no ConditionId", told{fieldConditionID: nil}, with(func(c *edgeagent.Condition) { c.ID = "nsu=urn:plant;s=Filler.Level/LevelAlarm" })},
		{"no time: when it came", told{fieldTime: nil}, with(func(c *edgeagent.Condition) { c.At = noon.Add(time.Hour) })},
		{"no severity", told{fieldSeverity: nil}, with(func(c *edgeagent.Condition) { c.Severity, c.Priority = 0, 4 })},
		{"severity beyond the scale", told{fieldSeverity: uint16(65535)}, with(func(c *edgeagent.Condition) { c.Severity, c.Priority = 1000, 1 })},
		{"negative severity", told{fieldSeverity: int32(-5)}, with(func(c *edgeagent.Condition) { c.Severity, c.Priority = 1, 4 })},
		{"no texts", told{fieldMessage: nil, fieldSourceName: nil, fieldConditionName: nil},
			with(func(c *edgeagent.Condition) { c.Text, c.Source, c.Name = "", "", "" })},
		{"a text that steers a terminal", told{fieldMessage: "a\x1b]0;b"}, with(func(c *edgeagent.Condition) { c.Text = "a\uFFFD]0;b" })},
		{"no UTF-8", told{fieldMessage: "a\xff"}, with(func(c *edgeagent.Condition) { c.Text = "a\uFFFD" })},
		{"a number for a code", told{fieldCode: uint32(4711)}, with(func(c *edgeagent.Condition) { c.Code = "4711" })},
		{"bytes for a code", told{fieldCode: []byte{0xab, 0x01}}, with(func(c *edgeagent.Condition) { c.Code = "ab01" })},
		{"no code: the name", told{fieldCode: nil}, active},
		{"no code, no name: the identity", told{fieldCode: nil, fieldConditionName: nil},
			with(func(c *edgeagent.Condition) { c.Name, c.Code = "", "nsu=urn:plant;s=LevelAlarm" })},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := testEvents().understand(eventOf(c.in), plantSpaces, noon.Add(time.Hour))
			if got.kind != id.ConditionType || got.condition != c.want {
				t.Errorf("got  %+v\nwant %+v", got.condition, c.want)
			}
		})
	}
}

func TestWhatIsNoConditionIsNothing(t *testing.T) {
	e := testEvents()
	for name, in := range map[string][]*ua.Variant{
		"nothing": nil, "no fields": {}, "nil fields": make([]*ua.Variant, fieldCode+1),
		"an audit event":           eventOf(told{fieldConditionID: nil, fieldConditionName: nil}),
		"identity of another type": eventOf(told{fieldConditionID: "x", fieldConditionName: uint16(0), fieldEventType: "y"})[:fieldConditionName],
		"cut short":                eventOf(told{})[:3], "a nil node": eventOf(told{fieldConditionID: (*ua.NodeID)(nil), fieldConditionName: nil}),
	} {
		if got := e.understand(in, plantSpaces, noon); got.kind != 0 {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestLongTextsAreCutAndLongIdentitiesStayDifferent(t *testing.T) {
	huge := strings.Repeat("x", 4<<20)
	e := testEvents()
	a := e.understand(eventOf(told{fieldConditionID: ua.NewStringNodeID(1, huge+"a"), fieldMessage: huge, fieldSourceName: huge, fieldCode: huge}), plantSpaces, noon)
	b := e.understand(eventOf(told{fieldConditionID: ua.NewStringNodeID(1, huge+"b")}), plantSpaces, noon)
	if a.condition.Key() == b.condition.Key() {
		t.Error("two conditions became one")
	}
	for _, s := range []string{a.condition.ID, a.condition.Text, a.condition.Source, a.condition.Code} {
		if len(s) > messageBytes {
			t.Errorf("%d bytes kept", len(s))
		}
	}
}

func TestCodeFrom(t *testing.T) {
	cases := []struct {
		from   string
		fields []any
		want   string
	}{
		{"", []any{"LevelAlarm"}, "LevelAlarm"},
		{"SourceName.ConditionName", []any{"Level", "High"}, "Level.High"},
		{"SourceName.ConditionName", []any{nil, "High"}, "High"},
		{"2:Number", []any{int32(12)}, "12"},
	}
	for _, c := range cases {
		t.Run(c.from, func(t *testing.T) {
			e := testEvents()
			e.CodeFrom = c.from
			differ := told{}
			for i, v := range c.fields {
				differ[fieldCode+field(i)] = v
			}
			if got := e.understand(eventOf(differ), plantSpaces, noon).condition.Code; got != c.want {
				t.Errorf("code %q, want %q", got, c.want)
			}
			if n := len(e.filters()[0].SelectClauses); n != int(fieldCode)+len(c.fields) {
				t.Errorf("%d clauses", n)
			}
		})
	}
	clauses := (&Events{CodeFrom: "2:Number.AckedState/Id"}).filters()[0].SelectClauses[fieldCode:]
	if n := clauses[0].BrowsePath[0]; n.NamespaceIndex != 2 || n.Name != "Number" {
		t.Errorf("first part is asked for as %+v", n)
	}
	if clauses[1].TypeDefinitionID.IntID() != id.AcknowledgeableConditionType || len(clauses[1].BrowsePath) != 2 {
		t.Errorf("second part is asked for as %+v", clauses[1])
	}
}

func TestPriorities(t *testing.T) {
	e := testEvents()
	for severity, want := range map[int]int{1000: 1, 800: 1, 799: 2, 600: 2, 300: 3, 299: 4, 1: 4} {
		if got := e.priority(severity); got != want {
			t.Errorf("severity %d is priority %d, want %d", severity, got, want)
		}
	}
}

// TestTheFilterLetsEachTypePass evaluates the where clause as a server does.
func TestTheFilterLetsEachTypePass(t *testing.T) {
	elements := testEvents().filters()[0].WhereClause.Elements
	var passes func(i int, typ uint32) bool
	passes = func(i int, typ uint32) bool {
		el := elements[i]
		if el.FilterOperator == ua.FilterOperatorOfType {
			return el.FilterOperands[0].Value.(*ua.LiteralOperand).Value.Value().(*ua.NodeID).IntID() == typ
		}
		for _, op := range el.FilterOperands {
			to := int(op.Value.(*ua.ElementOperand).Index)
			if to <= i {
				t.Fatalf("element %d refers back to %d", i, to)
			}
			if passes(to, typ) {
				return true
			}
		}
		return false
	}
	for _, typ := range passing {
		if !passes(0, typ) {
			t.Errorf("type %d is filtered out", typ)
		}
	}
	if passes(0, id.AuditEventType) {
		t.Error("audit events pass")
	}
	if n := len(elements); n != 2*len(passing)-1 {
		t.Errorf("%d elements", n)
	}
}

// step is one thing that happens to the conditions of a server.
type step struct {
	does string // event, begin, fail, wait, reconnect, or a system event
	in   told
	want string // the sets: "complete[a! b]" "[a-]"; a! active, a+ acked, a- over, ax gone
}

func TestRefresh(t *testing.T) {
	a := func(change told) told { return merge(told{fieldConditionID: ua.NewStringNodeID(1, "a")}, change) }
	b := func(change told) told { return merge(told{fieldConditionID: ua.NewStringNodeID(1, "b")}, change) }
	over, gone := told{fieldActive: false, fieldTime: noon.Add(time.Second)}, told{fieldActive: false, fieldAcked: true, fieldRetain: false, fieldTime: noon.Add(time.Second)}
	cases := []struct {
		name  string
		steps []step
	}{
		{"live", []step{{"event", a(nil), "[a!]"}, {"event", a(over), "[a-]"}, {"event", a(gone), "[ax]"}}},
		{"a whole refresh", []step{{"begin", nil, ""}, {"start", nil, ""}, {"event", a(nil), ""}, {"event", b(told{fieldAcked: true}), ""}, {"end", nil, "complete[a! b+]"}}},
		{"nothing is open", []step{{"begin", nil, ""}, {"start", nil, ""}, {"end", nil, "complete[]"}}},
		{"live between call and start", []step{{"begin", nil, ""}, {"event", a(nil), ""}, {"start", nil, ""}, {"end", nil, "complete[a!]"}}},
		{"it ends meanwhile", []step{{"begin", nil, ""}, {"start", nil, ""}, {"event", a(nil), ""}, {"event", a(gone), ""}, {"end", nil, "complete[ax]"}}},
		{"the replay comes after the live event", []step{{"begin", nil, ""}, {"start", nil, ""}, {"event", a(over), ""}, {"event", a(nil), ""}, {"end", nil, "complete[a-]"}}},
		{"the replay comes after it is gone", []step{{"begin", nil, ""}, {"start", nil, ""}, {"event", a(gone), ""}, {"event", a(nil), ""}, {"end", nil, "complete[ax]"}}},
		{"no end", []step{{"begin", nil, ""}, {"start", nil, ""}, {"event", a(nil), ""}, {"wait", nil, "[a!]"}, {"event", a(over), "[a-]"}}},
		{"no end, and one is gone", []step{{"begin", nil, ""}, {"event", a(nil), ""}, {"event", b(gone), ""}, {"wait", nil, "[bx a!]"}}},
		{"the end of one that was given up", []step{{"begin", nil, ""}, {"start", nil, ""}, {"wait", nil, ""}, {"end", nil, ""},
			{"begin", nil, ""}, {"end", nil, ""}, {"start", nil, ""}, {"event", a(nil), ""}, {"end", nil, "complete[a!]"}}},
		{"one that begins late", []step{{"event", a(nil), "[a!]"}, {"begin", nil, ""}, {"wait", nil, ""}, {"start", nil, ""}, {"event", b(nil), ""}, {"end", nil, "complete[b!]"},
			{"start", nil, ""}, {"end", nil, ""}}},
		{"an end without a beginning", []step{{"end", nil, ""}, {"start", nil, ""}, {"end", nil, ""}, {"event", a(nil), "[a!]"}}},
		{"refused", []step{{"begin", nil, ""}, {"event", a(nil), ""}, {"fail", nil, "[a!]"}, {"event", a(over), "[a-]"}}},
		{"events were lost", []step{{"begin", nil, ""}, {"start", nil, ""}, {"event", a(nil), ""}, {"overflow", nil, "again"}, {"end", nil, "[a!]"}}},
		{"the server wants one", []step{{"required", nil, "again"}, {"event", a(nil), "[a!]"}}},
		{"mild from the start", []step{{"event", a(told{fieldSeverity: uint16(299)}), ""}, {"event", a(told{fieldSeverity: uint16(300)}), "[a!]"}}},
		{"mild at its end", []step{{"event", a(nil), "[a!]"}, {"event", a(merge(over, told{fieldSeverity: uint16(1)})), "[a-]"}}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := newConditions(testEvents(), time.Second)
			s.reconnected(plantSpaces)
			now := noon
			for i, step := range c.steps {
				if got := do(s, step, &now); got != step.want {
					t.Errorf("step %d, %s: told %q, want %q", i, step.does, got, step.want)
				}
			}
		})
	}
}

func do(s *conditions, what step, now *time.Time) string {
	systems := map[string]uint32{
		"start": id.RefreshStartEventType, "end": id.RefreshEndEventType,
		"required": id.RefreshRequiredEventType, "overflow": id.EventQueueOverflowEventType,
	}
	var sets []edgeagent.ConditionSet
	again := false
	*now = now.Add(time.Millisecond)
	switch what.does {
	case "event":
		sets, again = s.told(eventOf(what.in), *now)
	case "begin":
		s.begin(*now)
	case "fail":
		sets = s.fail()
	case "reconnect":
		s.reconnected(plantSpaces)
	case "wait":
		*now = now.Add(2 * time.Second)
		sets, _ = s.overdue(*now)
	default:
		sets, again = s.told(system(systems[what.does]), *now)
	}
	if again {
		return "again"
	}
	return written(sets)
}

func written(sets []edgeagent.ConditionSet) string {
	var out []string
	for _, set := range sets {
		var names []string
		for _, c := range set.Conditions {
			mark := "-"
			switch {
			case c.Gone:
				mark = "x"
			case c.Active && c.Acked:
				mark = "+"
			case c.Active:
				mark = "!"
			}
			names = append(names, strings.TrimPrefix(c.ID, "nsu=urn:plant;s=")+mark)
		}
		s := "[" + strings.Join(names, " ") + "]"
		if set.Complete {
			s = "complete" + s
		}
		out = append(out, s)
	}
	return strings.Join(out, " ")
}

func merge(a, b told) told {
	out := told{}
	maps.Copy(out, a)
	maps.Copy(out, b)
	return out
}

// TestOneActivationHasOneBeginning: ActiveSince is what tells two activations
// of one condition apart, over levels, acknowledgements and reconnects.
func TestOneActivationHasOneBeginning(t *testing.T) {
	at := func(minutes int) time.Time { return noon.Add(time.Duration(minutes) * time.Minute) }
	refreshed := []step{{does: "reconnect"}, {does: "begin"}, {does: "start"}}
	type heard struct {
		before []step
		in     told
		since  time.Time
	}
	cases := []struct {
		name   string
		events []heard
	}{
		{"with transition times", []heard{
			{nil, told{fieldTime: at(1), fieldActiveSince: at(1)}, at(1)},
			{nil, told{fieldTime: at(2), fieldActiveSince: at(1), fieldAcked: true}, at(1)},
			{nil, told{fieldTime: at(3), fieldActiveSince: at(3), fieldActive: false}, at(1)},
			{nil, told{fieldTime: at(4), fieldActiveSince: at(4)}, at(4)},
		}},
		{"another level sets the transition time anew", []heard{
			{nil, told{fieldTime: at(1), fieldActiveSince: at(1)}, at(1)},
			{nil, told{fieldTime: at(2), fieldActiveSince: at(2), fieldSeverity: uint16(900)}, at(1)},
			{refreshed, told{fieldTime: at(2), fieldActiveSince: at(2), fieldSeverity: uint16(900)}, at(1)},
		}},
		{"another activation while nobody listened", []heard{
			{nil, told{fieldTime: at(1), fieldActiveSince: at(1)}, at(1)},
			{refreshed, told{fieldTime: at(5), fieldActiveSince: at(5)}, at(5)},
		}},
		{"without transition times", []heard{
			{nil, told{fieldTime: at(1), fieldActiveSince: nil}, at(1)},
			{nil, told{fieldTime: at(2), fieldActiveSince: nil, fieldAcked: true}, at(1)},
			{refreshed, told{fieldTime: at(3), fieldActiveSince: nil, fieldAcked: true}, at(1)},
			{nil, told{fieldTime: at(4), fieldActiveSince: nil, fieldActive: false}, at(1)},
			{nil, told{fieldTime: at(5), fieldActiveSince: nil}, at(5)},
		}},
		{"events were lost between", []heard{
			{nil, told{fieldTime: at(1), fieldActiveSince: at(1)}, at(1)},
			{[]step{{does: "overflow"}}, told{fieldTime: at(5), fieldActiveSince: at(5)}, at(5)},
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := newConditions(testEvents(), time.Second)
			s.reconnected(plantSpaces)
			now := noon
			do(s, step{does: "begin"}, &now)
			do(s, step{does: "start"}, &now)
			do(s, step{does: "end"}, &now)
			for i, e := range c.events {
				for _, before := range e.before {
					do(s, before, &now)
				}
				sets, _ := s.told(eventOf(e.in), now)
				if s.refreshing() {
					sets, _ = s.told(system(id.RefreshEndEventType), now)
				}
				if len(sets) != 1 || len(sets[0].Conditions) != 1 || !sets[0].Conditions[0].ActiveSince.Equal(e.since) {
					t.Errorf("event %d: %+v, want since %v", i, sets, e.since)
				}
			}
		})
	}
}

func TestTooManyConditionsAreNeverCompleteAndNeverMoreMemory(t *testing.T) {
	s := newConditions(testEvents(), time.Second)
	s.reconnected(plantSpaces)
	for range 2 { // the same again: nothing piles up
		s.begin(noon)
		s.told(system(id.RefreshStartEventType), noon)
		for i := range maxConditions + 100 {
			s.told(eventOf(told{fieldConditionID: ua.NewNumericNodeID(1, uint32(i+1))}), noon)
		}
		sets, _ := s.told(system(id.RefreshEndEventType), noon)
		if len(sets) != 1 || sets[0].Complete || len(sets[0].Conditions) != maxConditions || len(s.open) != maxConditions {
			t.Fatalf("%d sets, complete %v, %d conditions, %d open", len(sets), sets[0].Complete, len(sets[0].Conditions), len(s.open))
		}
	}
	if s.dropped != 200 {
		t.Errorf("%d dropped", s.dropped)
	}
	s.told(eventOf(told{fieldConditionID: ua.NewNumericNodeID(1, 1), fieldRetain: false}), noon)
	if sets, _ := s.told(eventOf(told{fieldConditionID: ua.NewNumericNodeID(1, maxConditions+1)}), noon); len(sets) != 1 {
		t.Error("one is over, and there is no room for the next")
	}
}

func TestARefreshThatGoesOnForEverIsGivenUp(t *testing.T) {
	s := newConditions(testEvents(), time.Second)
	s.reconnected(plantSpaces)
	s.begin(noon)
	now := noon
	for s.refreshing() {
		now = now.Add(time.Second / 2)
		s.told(eventOf(told{}), now)
		if _, err := s.overdue(now); err != nil && !strings.Contains(err.Error(), "1 told") {
			t.Errorf("said: %v", err)
		}
		if now.Sub(noon) > time.Minute {
			t.Fatal("still held after a minute")
		}
	}
}

// FuzzConditions feeds events of any shape: nothing panics, no text is long or
// broken, and a complete set comes only between a start and an end.
func FuzzConditions(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4}, "text", uint16(500))
	f.Add([]byte{9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 11, 12, 13}, "a\xff\x00", uint16(0))
	f.Fuzz(func(t *testing.T, script []byte, s string, severity uint16) {
		c := newConditions(testEvents(), time.Second)
		c.reconnected(plantSpaces)
		now, begun, started := noon, false, false
		shapes := []any{nil, s, severity, true, false, noon, ua.NewStringNodeID(1, s), ua.NewLocalizedText(s), []byte(s), []string{s}, (*ua.NodeID)(nil)}
		for i, op := range script {
			now = now.Add(time.Duration(op) * time.Millisecond)
			var sets []edgeagent.ConditionSet
			switch op % 6 {
			case 0:
				c.begin(now)
				begun, started = true, false
			case 1:
				sets, _ = c.told(system(id.RefreshStartEventType), now)
				started = begun
			case 2:
				sets, _ = c.told(system(id.RefreshEndEventType), now)
			case 3:
				sets, _ = c.overdue(now)
			default:
				differ := told{}
				for f := range fieldCode + 2 {
					if b := script[(i+int(f))%len(script)]; b > 127 {
						differ[f] = shapes[int(b)%len(shapes)]
					}
				}
				sets, _ = c.told(eventOf(differ), now)
			}
			for _, set := range sets {
				if set.Complete && !started {
					t.Fatal("complete without a start")
				}
				checkTexts(t, set.Conditions)
			}
		}
	})
}

func checkTexts(t *testing.T, all []edgeagent.Condition) {
	t.Helper()
	for _, c := range all {
		for _, s := range []string{c.ID, c.Branch, c.Code, c.Source, c.Name, c.Text} {
			if len(s) > messageBytes*3 || !utf8.ValidString(s) || bytes.ContainsAny([]byte(s), "\x00\x1b\n") {
				t.Fatalf("text of %d bytes: %q", len(s), fmt.Sprintf("%.80s", s))
			}
		}
		if c.ID == "" || c.Code == "" || c.At.IsZero() || c.ActiveSince.IsZero() || c.Active && c.Gone {
			t.Fatalf("%+v", c)
		}
	}
}
