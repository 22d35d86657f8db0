package opcua

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gopcua/opcua/id"
	"github.com/gopcua/opcua/ua"

	"edgeagent"
)

// Events say which alarms and conditions of a server are followed.
type Events struct {
	Source      string // the notifier; empty: the server, "i=2253"
	MinSeverity int
	Priorities  [4]int // [i-1] is the lowest severity of priority i; 0: unused
	// CodeFrom names the field that is the alarm's code: a browse name of the
	// condition ("ConditionName", "SourceName"; "3:Number" with its namespace),
	// or several joined by a dot, which joins their values. Empty: ConditionName.
	CodeFrom string
}

// Limits of a condition's texts in bytes: a server may send megabytes.
const (
	nameBytes     = 256
	messageBytes  = 2048
	identityBytes = 512
)

const (
	defaultCodeFrom = "ConditionName"
	// defaultSource is the Server object, which tells the events of all others.
	defaultSource = "i=2253"
)

func (e *Events) source() string { return cmp.Or(e.Source, defaultSource) }

// priority returns 1 for the highest to 4. A severity below the whole table is
// the least urgent.
func (e *Events) priority(severity int) int {
	for i, lowest := range e.Priorities {
		if lowest > 0 && severity >= lowest {
			return i + 1
		}
	}
	return len(e.Priorities)
}

// field is the position of a select clause, and so of its value in an event.
type field int

const (
	fieldEventType field = iota
	fieldSourceNode
	fieldSourceName
	fieldTime
	fieldMessage
	fieldSeverity
	fieldConditionID
	fieldBranchID
	fieldConditionName
	fieldRetain
	fieldEnabled
	fieldAcked
	fieldActive
	fieldActiveSince
	fieldCode // the first part of the code; further parts follow
)

// selected are the select clauses before those of the code, by [field]: the
// type that declares the field, and the path to it.
var selected = [fieldCode]struct {
	declaredBy uint32
	path       string
}{
	fieldEventType:     {id.BaseEventType, "EventType"},
	fieldSourceNode:    {id.BaseEventType, "SourceNode"},
	fieldSourceName:    {id.BaseEventType, "SourceName"},
	fieldTime:          {id.BaseEventType, "Time"},
	fieldMessage:       {id.BaseEventType, "Message"},
	fieldSeverity:      {id.BaseEventType, "Severity"},
	fieldConditionID:   {id.ConditionType, ""}, // the node itself
	fieldBranchID:      {id.ConditionType, "BranchId"},
	fieldConditionName: {id.ConditionType, "ConditionName"},
	fieldRetain:        {id.ConditionType, "Retain"},
	fieldEnabled:       {id.ConditionType, "EnabledState/Id"},
	fieldAcked:         {id.AcknowledgeableConditionType, "AckedState/Id"},
	fieldActive:        {id.AlarmConditionType, "ActiveState/Id"},
	fieldActiveSince:   {id.AlarmConditionType, "ActiveState/TransitionTime"},
}

// passing are the event types that are asked for. A refresh is framed by events
// that are no conditions, and would be filtered out with them.
var passing = []uint32{id.ConditionType, id.RefreshStartEventType, id.RefreshEndEventType, id.RefreshRequiredEventType}

// filters returns the event filters to try, the narrowest first: not every
// server knows Or, and not every server lets any field be selected. What a
// server sends too much of is dropped here.
func (e *Events) filters() []*ua.EventFilter {
	all, plain := e.selectClauses(true), e.selectClauses(false)
	anything := &ua.ContentFilter{Elements: []*ua.ContentFilterElement{}}
	return []*ua.EventFilter{
		{SelectClauses: all, WhereClause: ofTypes(passing)},
		{SelectClauses: all, WhereClause: anything},
		{SelectClauses: plain, WhereClause: anything},
	}
}

func (e *Events) selectClauses(code bool) []*ua.SimpleAttributeOperand {
	out := make([]*ua.SimpleAttributeOperand, 0, len(selected)+2)
	for _, s := range selected {
		out = append(out, selectClause(s.declaredBy, s.path))
	}
	if code {
		for _, part := range e.codeParts() {
			out = append(out, selectClause(declarer(part), part))
		}
	}
	return out
}

// codeParts are the browse names whose values make the code.
func (e *Events) codeParts() []string {
	if e.CodeFrom == "" {
		return []string{defaultCodeFrom}
	}
	return strings.Split(e.CodeFrom, ".")
}

// declarer returns the type that declares a field of the standard. A field of
// a plant's own type is looked for from the base: servers find it on the event.
func declarer(path string) uint32 {
	for _, s := range selected {
		if s.path == path {
			return s.declaredBy
		}
	}
	return id.BaseEventType
}

func selectClause(declaredBy uint32, path string) *ua.SimpleAttributeOperand {
	op := &ua.SimpleAttributeOperand{
		TypeDefinitionID: ua.NewNumericNodeID(0, declaredBy),
		BrowsePath:       []*ua.QualifiedName{},
		AttributeID:      ua.AttributeIDValue,
	}
	if path == "" {
		op.AttributeID = ua.AttributeIDNodeID
		return op
	}
	for name := range strings.SplitSeq(path, "/") {
		op.BrowsePath = append(op.BrowsePath, qualifiedName(name))
	}
	return op
}

// qualifiedName reads "Name" of the standard's namespace, or "3:Name".
func qualifiedName(s string) *ua.QualifiedName {
	number, name, found := strings.Cut(s, ":")
	if ns, err := strconv.ParseUint(number, 10, 16); found && err == nil {
		return &ua.QualifiedName{NamespaceIndex: uint16(ns), Name: name}
	}
	return &ua.QualifiedName{Name: s}
}

// ofTypes is OfType(a) Or (OfType(b) Or (…)): element 2k is an Or of element
// 2k+1, one OfType, and element 2k+2, the rest.
func ofTypes(types []uint32) *ua.ContentFilter {
	f := &ua.ContentFilter{}
	for i, typ := range types {
		if i < len(types)-1 {
			f.Elements = append(f.Elements, &ua.ContentFilterElement{
				FilterOperator: ua.FilterOperatorOr,
				FilterOperands: []*ua.ExtensionObject{elementOperand(2*i + 1), elementOperand(2*i + 2)},
			})
		}
		f.Elements = append(f.Elements, &ua.ContentFilterElement{
			FilterOperator: ua.FilterOperatorOfType,
			FilterOperands: []*ua.ExtensionObject{ua.NewExtensionObject(&ua.LiteralOperand{
				Value: ua.MustVariant(ua.NewNumericNodeID(0, typ)),
			})},
		})
	}
	return f
}

func elementOperand(i int) *ua.ExtensionObject {
	return ua.NewExtensionObject(&ua.ElementOperand{Index: uint32(i)})
}

// occurrence is one event as it was understood.
type occurrence struct {
	kind      uint32 // id.ConditionType, or the id of a refresh or overflow event; 0: nothing of ours
	condition edgeagent.Condition
	since     time.Time // TransitionTime of ActiveState; zero where the server has none
	rated     bool      // the event has a severity
}

// understand reads the fields of an event. Fields may be missing, null or of
// any type; what is not there is zero, and an event without a condition's
// identity is nothing.
func (e *Events) understand(values []*ua.Variant, ns []string, received time.Time) occurrence {
	f := fields(values)
	if kind := systemEvent(f.node(fieldEventType)); kind != 0 {
		return occurrence{kind: kind}
	}
	identity, named := identify(f, ns)
	if !named {
		return occurrence{}
	}
	severity, rated := f.severity()
	o := occurrence{kind: id.ConditionType, since: f.time(fieldActiveSince), rated: rated, condition: edgeagent.Condition{
		ID: identity, Branch: nodeText(f.node(fieldBranchID), ns),
		Source: f.text(fieldSourceName, nameBytes), Name: f.text(fieldConditionName, nameBytes), Text: f.text(fieldMessage, messageBytes),
		Severity: severity, Priority: e.priority(severity), At: f.time(fieldTime),
	}}
	o.condition.Code = e.code(f, o.condition)
	if o.condition.At.IsZero() {
		o.condition.At = received
	}
	o.setState(f)
	return o
}

// setState reads the states. A condition without an active state is active
// while it is retained; one that nobody can acknowledge wants no
// acknowledgement once it is over.
func (o *occurrence) setState(f fields) {
	active, hasActive := f.bool(fieldActive)
	acked, hasAcked := f.bool(fieldAcked)
	retain, hasRetain := f.bool(fieldRetain)
	if enabled, known := f.bool(fieldEnabled); known && !enabled {
		retain, hasRetain = false, true
	}
	if !hasActive {
		active = retain
	}
	if !hasAcked {
		acked = !active
	}
	if !hasRetain {
		retain = active || !acked
	}
	// What is not retained is over, whatever its states say: the server has
	// nothing more to tell of it.
	o.condition.Active, o.condition.Acked, o.condition.Gone = active && retain, acked, !retain
}

// code joins the values of the parts; where they are empty it is the name of
// the condition, or its identity.
func (e *Events) code(f fields, c edgeagent.Condition) string {
	var parts []string
	for i := range e.codeParts() {
		if s := f.text(fieldCode+field(i), nameBytes); s != "" {
			parts = append(parts, s)
		}
	}
	for _, s := range []string{strings.Join(parts, "."), c.Name, c.ID} {
		if s != "" {
			return text(s, nameBytes)
		}
	}
	return ""
}

// systemEvent returns the id of the standard's events that are about events.
func systemEvent(n *ua.NodeID) uint32 {
	system := []uint32{id.RefreshStartEventType, id.RefreshEndEventType, id.RefreshRequiredEventType, id.EventQueueOverflowEventType}
	if n == nil || n.Namespace() != 0 || n.StringID() != "" || !slices.Contains(system, n.IntID()) {
		return 0
	}
	return n.IntID()
}

// identify returns the ConditionId. A server that leaves it out is told apart
// by source and name.
func identify(f fields, ns []string) (string, bool) {
	if s := nodeText(f.node(fieldConditionID), ns); s != "" {
		return s, true
	}
	name := f.text(fieldConditionName, nameBytes)
	if name == "" {
		return "", false
	}
	return nodeText(f.node(fieldSourceNode), ns) + "/" + name, true
}

// nodeText writes a node id with its namespace by name, since the index may be
// another after the server's restart; the null id is empty. An id too long to
// keep is its hash: cut short, two could be one.
func nodeText(n *ua.NodeID, ns []string) string {
	if n == nil || isNull(n) {
		return ""
	}
	s := nodeName(n, ns)
	if len(s) > identityBytes {
		sum := sha256.Sum256([]byte(s))
		return "sha256=" + hex.EncodeToString(sum[:])
	}
	return text(s, identityBytes)
}

func isNull(n *ua.NodeID) bool {
	switch n.Type() {
	case ua.NodeIDTypeTwoByte, ua.NodeIDTypeFourByte, ua.NodeIDTypeNumeric:
		return n.Namespace() == 0 && n.IntID() == 0
	default:
		return n.Namespace() == 0 && n.StringID() == ""
	}
}

// fields are the values of one event, by [field].
type fields []*ua.Variant

func (f fields) raw(i field) any {
	if int(i) >= len(f) || f[i] == nil {
		return nil
	}
	return f[i].Value()
}

func (f fields) bool(i field) (value, known bool) {
	value, known = f.raw(i).(bool)
	return value, known
}

func (f fields) node(i field) *ua.NodeID {
	n, _ := f.raw(i).(*ua.NodeID)
	return n
}

func (f fields) time(i field) time.Time {
	t, _ := f.raw(i).(time.Time)
	return stamp(t)
}

func (f fields) severity() (int, bool) {
	bits, isInt, negative := integer(f.raw(fieldSeverity))
	if !isInt {
		return 0, false
	}
	if negative {
		return 1, true
	}
	return int(min(max(bits, 1), 1000)), true
}

// text reads a text, or a number: a code often is one.
func (f fields) text(i field, limit int) string {
	raw := f.raw(i)
	if s, ok := words(raw); ok {
		return text(s, limit)
	}
	if s, ok := number(raw); ok {
		return s
	}
	if b, ok := raw.([]byte); ok {
		return text(hex.EncodeToString(b[:min(len(b), limit/2)]), limit)
	}
	if n, ok := raw.(*ua.NodeID); ok && n != nil {
		return text(fmt.Sprint(n), limit)
	}
	return ""
}
