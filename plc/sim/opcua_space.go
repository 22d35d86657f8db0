package sim

import (
	"encoding/binary"
	"math"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/gopcua/opcua/id"
	"github.com/gopcua/opcua/ua"

	"edgeagent"
)

// variable is a value of a machine, as its register map has it.
type variable struct {
	machine, name string
	value         func(d *Device) any
}

// variables mirrors what the machines write into their registers, in
// engineering units: nobody scales behind OPC UA.
var variables = []variable{
	{"filler", "State", holding16(0)},
	{"filler", "Heartbeat", holding16(1)},
	{"filler", "Produced", holding32(2)},
	{"filler", "Level", real32(100, edgeagent.OrderCDAB)},
	{"filler", "Flow", real32(102, edgeagent.OrderABCD)},
	{"filler", "Temperature", tenths(104, 10)},
	{"filler", "Pressure", tenths(106, 100)},
	{"filler", "Jitter", tenths(108, 10)},
	{"filler", "Recipe", text(110, 8)},
	{"filler", "Valve", func(d *Device) any { return float32(words(d, edgeagent.AreaInput, 0, 1)[0]) * 100 / 27648 }},
	{"filler", "Running", bit(edgeagent.AreaCoil, 0)},
	{"filler", "BottlePresent", bit(edgeagent.AreaDiscrete, 0)},
	{"capper", "State", holding16(0)},
	{"capper", "Heartbeat", holding16(1)},
	{"capper", "Produced", holding32(2)},
	{"capper", "Torque", real32(100, edgeagent.OrderABCD)},
	{"capper", "CapsInChute", holding16(102)},
	{"capper", "MotorCurrent", real32(104, edgeagent.OrderCDAB)},
	{"capper", "GuardClosed", bit(edgeagent.AreaDiscrete, 0)},
	{"packaging", "State", holding16(0)},
	{"packaging", "Heartbeat", holding16(1)},
	{"packaging", "Produced", holding32(2)},
	{"packaging", "ConveyorSpeed", real32(100, edgeagent.OrderABCD)},
	{"packaging", "MotorCurrent", real32(102, edgeagent.OrderCDAB)},
	{"packaging", "MotorTemp", tenths(104, 10)},
	{"packaging", "AlarmBits", holding16(106)},
	{"packaging", "PhotoEyeBlocked", func(d *Device) any { return words(d, edgeagent.AreaHolding, 106, 1)[0]&1 != 0 }},
	{"packaging", "MotorOverload", func(d *Device) any { return words(d, edgeagent.AreaHolding, 106, 1)[0]&2 != 0 }},
	{"packaging", "GuardClosed", bit(edgeagent.AreaDiscrete, 1)},
}

// folders are the names of the machines in the address space.
var folders = map[string]string{"filler": "Filler", "capper": "Capper", "packaging": "Packaging"}

func words(d *Device, area edgeagent.Area, addr, n uint16) []uint16 {
	raw, _ := d.read(area, addr, n)
	out := make([]uint16, len(raw)/2)
	for i := range out {
		out[i] = binary.BigEndian.Uint16(raw[2*i:])
	}
	return out
}

func holding16(addr uint16) func(*Device) any {
	return func(d *Device) any { return words(d, edgeagent.AreaHolding, addr, 1)[0] }
}

func holding32(addr uint16) func(*Device) any {
	return func(d *Device) any {
		w := words(d, edgeagent.AreaHolding, addr, 2)
		return uint32(w[0])<<16 | uint32(w[1])
	}
}

func real32(addr uint16, order edgeagent.ByteOrder) func(*Device) any {
	return func(d *Device) any {
		w := words(d, edgeagent.AreaHolding, addr, 2)
		if order == edgeagent.OrderCDAB {
			slices.Reverse(w)
		}
		return math.Float32frombits(uint32(w[0])<<16 | uint32(w[1]))
	}
}

func tenths(addr uint16, by float32) func(*Device) any {
	return func(d *Device) any { return float32(int16(words(d, edgeagent.AreaHolding, addr, 1)[0])) / by }
}

func bit(area edgeagent.Area, addr uint16) func(*Device) any {
	return func(d *Device) any {
		raw, _ := d.read(area, addr, 1)
		return raw[0] == 1
	}
}

func text(addr, n uint16) func(*Device) any {
	return func(d *Device) any {
		raw, _ := d.read(edgeagent.AreaHolding, addr, n)
		if end := slices.Index(raw, 0); end >= 0 {
			raw = raw[:end]
		}
		return string(raw)
	}
}

// uaNode is a node of the address space.
type uaNode struct {
	id       *ua.NodeID
	name     string
	class    ua.NodeClass
	typ      uint32 // type definition, namespace 0
	parent   *uaNode
	children []*uaNode

	read   func() any // nil: no variable
	fixed  bool       // the value is asked for anew with every read
	value  any
	status ua.StatusCode // bad: there is no value
	source time.Time     // when the value became what it is
}

// uaSpace is the address space: the plant's variables and as much of namespace 0
// as clients ask for.
type uaSpace struct {
	mu      sync.Mutex
	nodes   map[string]*uaNode
	sampled []*uaNode
	state   int32 // of the server
}

func newSpace(plant *Plant) *uaSpace {
	s := &uaSpace{nodes: map[string]*uaNode{}}
	root := s.add(nil, ua.NewNumericNodeID(0, id.RootFolder), "Root", id.FolderType, nil)
	objects := s.add(root, ua.NewNumericNodeID(0, id.ObjectsFolder), "Objects", id.FolderType, nil)
	s.addServer(objects)
	for _, v := range variables {
		d := plant.Device(v.machine)
		if d == nil {
			continue
		}
		folder := s.nodes[ua.NewStringNodeID(1, folders[v.machine]).String()]
		if folder == nil {
			folder = s.add(objects, ua.NewStringNodeID(1, folders[v.machine]), folders[v.machine], id.FolderType, nil)
		}
		n := s.add(folder, ua.NewStringNodeID(1, folder.name+"."+v.name), v.name, id.BaseDataVariableType, func() any { return v.value(d) })
		s.sampled = append(s.sampled, n)
	}
	return s
}

// addServer adds what a client looks at to know that the server lives, what
// its namespaces are and how much it may be asked at once.
func (s *uaSpace) addServer(objects *uaNode) {
	server := s.add(objects, ua.NewNumericNodeID(0, id.Server), "Server", id.ServerType, nil)
	fixed := func(number uint32, name string, read func() any) {
		s.add(server, ua.NewNumericNodeID(0, number), name, id.BaseDataVariableType, read).fixed = true
	}
	fixed(id.Server_NamespaceArray, "NamespaceArray", func() any { return []string{"http://opcfoundation.org/UA/", OPCUANamespace} })
	fixed(id.Server_ServerArray, "ServerArray", func() any { return []string{OPCUANamespace} })
	fixed(id.Server_ServerStatus_State, "State", func() any { return s.state })
	fixed(id.Server_ServerStatus_CurrentTime, "CurrentTime", func() any { return time.Now() })
	for number, name := range map[uint32]string{
		id.Server_ServerCapabilities_OperationLimits_MaxNodesPerRead:                          "MaxNodesPerRead",
		id.Server_ServerCapabilities_OperationLimits_MaxNodesPerBrowse:                        "MaxNodesPerBrowse",
		id.Server_ServerCapabilities_OperationLimits_MaxMonitoredItemsPerCall:                 "MaxMonitoredItemsPerCall",
		id.Server_ServerCapabilities_OperationLimits_MaxNodesPerTranslateBrowsePathsToNodeIDs: "MaxNodesPerTranslateBrowsePathsToNodeIds",
	} {
		fixed(number, name, func() any { return uint32(operationLimit) })
	}
}

// operationLimit is how many nodes one request may name.
const operationLimit = 100

func (s *uaSpace) add(parent *uaNode, nodeID *ua.NodeID, name string, typ uint32, read func() any) *uaNode {
	n := &uaNode{id: nodeID, name: name, class: ua.NodeClassObject, typ: typ, parent: parent, read: read}
	if read != nil {
		n.class, n.value = ua.NodeClassVariable, read()
	}
	if parent != nil {
		parent.children = append(parent.children, n)
	}
	s.nodes[nodeID.String()] = n
	return n
}

// sample takes over what the plant shows now. A value that stayed keeps its
// time: one sees a plant that stands still.
func (s *uaSpace) sample(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.sampled {
		if v := n.read(); v != n.value || n.source.IsZero() {
			n.value, n.source = v, now
		}
	}
}

// node returns a node, nil for one that is not there. The caller holds the lock.
func (s *uaSpace) node(nodeID *ua.NodeID) *uaNode {
	if nodeID == nil {
		return nil
	}
	return s.nodes[nodeID.String()]
}

// read returns an attribute of a node with both times where it is the value.
func (s *uaSpace) read(nodeID *ua.NodeID, attribute ua.AttributeID) *ua.DataValue {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.node(nodeID)
	if n == nil {
		return badValue(ua.StatusBadNodeIDUnknown)
	}
	if attribute == ua.AttributeIDValue && n.read != nil {
		return n.now()
	}
	v := n.attribute(attribute)
	if v == nil {
		return badValue(ua.StatusBadAttributeIDInvalid)
	}
	return &ua.DataValue{EncodingMask: ua.DataValueValue, Value: ua.MustVariant(v)}
}

// now is the value as it was sampled last. The caller holds the lock.
func (n *uaNode) now() *ua.DataValue {
	now := time.Now()
	if n.fixed {
		n.value, n.source = n.read(), now
	}
	if n.status != ua.StatusOK {
		return badValue(n.status)
	}
	return &ua.DataValue{
		EncodingMask: ua.DataValueValue | ua.DataValueSourceTimestamp | ua.DataValueServerTimestamp,
		Value:        ua.MustVariant(n.value), SourceTimestamp: n.source, ServerTimestamp: now,
	}
}

func badValue(status ua.StatusCode) *ua.DataValue {
	return &ua.DataValue{EncodingMask: ua.DataValueStatusCode | ua.DataValueServerTimestamp, Status: status, ServerTimestamp: time.Now()}
}

// attribute returns any attribute but the value, nil for one that the node has
// not.
func (n *uaNode) attribute(attribute ua.AttributeID) any {
	switch attribute {
	case ua.AttributeIDNodeID:
		return n.id
	case ua.AttributeIDNodeClass:
		return int32(n.class)
	case ua.AttributeIDBrowseName:
		return n.browseName()
	case ua.AttributeIDDisplayName, ua.AttributeIDDescription:
		return ua.NewLocalizedText(n.name)
	case ua.AttributeIDEventNotifier:
		if n.class == ua.NodeClassObject {
			return byte(0)
		}
	default:
	}
	if n.read == nil {
		return nil
	}
	switch attribute {
	case ua.AttributeIDDataType:
		return ua.NewNumericNodeID(0, n.dataType())
	case ua.AttributeIDValueRank:
		if reflect.TypeOf(n.value).Kind() == reflect.Slice {
			return int32(1)
		}
		return int32(-1)
	case ua.AttributeIDAccessLevel, ua.AttributeIDUserAccessLevel:
		return byte(ua.AccessLevelTypeCurrentRead)
	case ua.AttributeIDMinimumSamplingInterval:
		return float64(Tick / time.Millisecond)
	case ua.AttributeIDHistorizing:
		return false
	default:
		return nil
	}
}

func (n *uaNode) browseName() *ua.QualifiedName {
	return &ua.QualifiedName{NamespaceIndex: n.id.Namespace(), Name: n.name}
}

// dataType is the number of the value's type in namespace 0.
func (n *uaNode) dataType() uint32 { return uint32(ua.MustVariant(n.value).Type()) }
