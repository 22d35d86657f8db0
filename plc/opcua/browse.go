package opcua

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gopcua/opcua/id"
	"github.com/gopcua/opcua/ua"

	"edgeagent/plc"
)

// What browsing takes from a server at most: an address space may be endless.
const (
	maxNodes      = 200_000
	maxLevels     = 64
	maxReferences = 50_000 // of one node
	maxRounds     = 10_000 // continuation points of one node
	maxShown      = 256
	perNode       = 1000
)

// errEnough ends a walk that the visitor or a bound has stopped.
var errEnough = errors.New("the address space is larger than is browsed; begin deeper")

// Browse walks the address space of a server from root (an address; empty: the
// Objects folder, without the server's own diagnostics) and calls visit for
// each variable, parents before children, in the server's order. It follows
// hierarchical references and visits a node once, whatever cycles there are.
// An error of visit ends it and is returned. It ends with an error after
// 200,000 nodes. Errors wrap what a connect's do.
func Browse(ctx context.Context, o Options, root string, visit func(Node) error) error {
	c, err := connect(ctx, &o)
	if err != nil {
		return err
	}
	defer c.leave()
	w := &walk{c: c, visit: visit, seen: make(map[string]bool), types: make(map[string]dataType)}
	start := ua.NewNumericNodeID(0, id.ObjectsFolder)
	if root != "" {
		if start, err = c.resolve(root); err != nil {
			return err
		}
	} else {
		w.seen[ua.NewNumericNodeID(0, id.Server).String()] = true
	}
	if err := w.from(ctx, start); err != nil {
		return fmt.Errorf("browse %s: %w", o.Endpoint, err)
	}
	return nil
}

// walk is one browsing.
type walk struct {
	c     *client
	visit func(Node) error
	seen  map[string]bool
	types map[string]dataType // found so far, by node
}

// place is a node that is yet to be looked into.
type place struct {
	node  *ua.NodeID
	path  string
	level int
}

// from walks depth first, with a stack of its own: a server chooses the depth.
func (w *walk) from(ctx context.Context, start *ua.NodeID) error {
	w.seen[start.String()] = true
	root := place{node: start}
	if err := w.variables(ctx, []found{{place: root, variable: true}}); err != nil {
		return err
	}
	stack := []place{root}
	for len(stack) > 0 {
		here := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		children, err := w.children(ctx, here)
		if err != nil {
			return err
		}
		if err := w.variables(ctx, children); err != nil {
			return err
		}
		for _, child := range slices.Backward(children) {
			if child.level < maxLevels {
				stack = append(stack, child.place)
			}
		}
	}
	return nil
}

// found is a node that a reference led to.
type found struct {
	place
	variable bool
}

// children returns the nodes below one that were not seen before.
func (w *walk) children(ctx context.Context, of place) ([]found, error) {
	refs, err := w.c.references(ctx, &ua.BrowseDescription{
		NodeID: of.node, BrowseDirection: ua.BrowseDirectionForward, ReferenceTypeID: ua.NewNumericNodeID(0, id.HierarchicalReferences),
		IncludeSubtypes: true, NodeClassMask: uint32(ua.NodeClassObject | ua.NodeClassVariable), ResultMask: uint32(ua.BrowseResultMaskAll),
	})
	if err != nil {
		return nil, err
	}
	var out []found
	for _, r := range refs {
		node := local(r.NodeID, w.c.ns)
		if node == nil || w.seen[node.String()] {
			continue
		}
		if len(w.seen) >= maxNodes {
			return nil, errEnough
		}
		w.seen[node.String()] = true
		path := nameOf(r)
		if of.path != "" {
			path = of.path + "/" + path
		}
		out = append(out, found{place{node, path, of.level + 1}, r.NodeClass == ua.NodeClassVariable})
	}
	return out, nil
}

// nameOf is the browse name, which is the same in every language.
func nameOf(r *ua.ReferenceDescription) string {
	if r.BrowseName != nil && r.BrowseName.Name != "" {
		return text(r.BrowseName.Name, maxShown)
	}
	if r.DisplayName != nil {
		return text(r.DisplayName.Text, maxShown)
	}
	return ""
}

// local returns the node of a reference, nil for one of another server.
func local(e *ua.ExpandedNodeID, namespaces []string) *ua.NodeID {
	if e == nil || e.NodeID == nil || e.ServerIndex != 0 {
		return nil
	}
	if e.NamespaceURI == "" {
		// The flags of an expanded node id are no part of the node.
		n, err := identified("", e.NodeID.Namespace(), identifierOf(e.NodeID))
		if err != nil {
			return nil
		}
		return n
	}
	for i, uri := range namespaces {
		if uri == e.NamespaceURI && i <= 0xffff {
			n, err := identified("", uint16(i), identifierOf(e.NodeID))
			if err == nil {
				return n
			}
		}
	}
	return nil
}

// references follows all continuation points of one node. A node that cannot be
// browsed has none; only a broken connection is an error.
func (c *client) references(ctx context.Context, of *ua.BrowseDescription) ([]*ua.ReferenceDescription, error) {
	results, err := c.browse(ctx, []*ua.BrowseDescription{of}, perNode)
	if err != nil {
		return nil, err
	}
	refs, point := results[0].References, results[0].ContinuationPoint
	for round := 0; len(point) > 0; round++ {
		if len(refs) > maxReferences || round > maxRounds {
			_, _ = c.browseNext(ctx, point, true) // the server drops it with the session anyway
			return nil, errEnough
		}
		next, err := c.browseNext(ctx, point, false)
		if err != nil {
			return nil, err
		}
		refs, point = append(refs, next.References...), next.ContinuationPoint
	}
	return refs, nil
}

// attributes of a variable, in the order in which they are read.
var attributes = []ua.AttributeID{
	ua.AttributeIDDataType, ua.AttributeIDValueRank, ua.AttributeIDArrayDimensions,
	ua.AttributeIDUserAccessLevel, ua.AttributeIDDescription, ua.AttributeIDNodeClass, ua.AttributeIDAccessLevel,
}

// variables reads what the variables among nodes are and visits them.
func (w *walk) variables(ctx context.Context, nodes []found) error {
	var reads []*ua.ReadValueID
	var which []found
	for _, n := range nodes {
		if !n.variable {
			continue
		}
		which = append(which, n)
		for _, a := range attributes {
			reads = append(reads, &ua.ReadValueID{NodeID: n.node, AttributeID: a, DataEncoding: &ua.QualifiedName{}})
		}
	}
	values, err := w.c.read(ctx, reads)
	if err != nil {
		return err
	}
	var out []Node
	var at []*ua.NodeID
	var unclear []int
	for i, n := range which {
		got := values[i*len(attributes) : (i+1)*len(attributes)]
		if class, ok := plain[int32](got[5]); !ok || ua.NodeClass(class) != ua.NodeClassVariable {
			continue // the root may be anything
		}
		node := describeVariable(n.place, got, w.c.ns)
		if typ := typeNode(got[0], w.c.ns); typ != nil {
			t, err := w.dataType(ctx, typ)
			if err != nil {
				return err
			}
			node.DataType, node.Type = t.name, t.typ
		}
		if node.Access == "" || node.Type == "" && !noValue(node.DataType) {
			unclear = append(unclear, len(out))
		}
		out, at = append(out, node), append(at, n.node)
	}
	if err := w.settle(ctx, out, at, unclear); err != nil {
		return err
	}
	for _, n := range out {
		if err := w.visit(n); err != nil {
			return err
		}
	}
	return nil
}

// settle reads the values of variables whose attributes leave their type or
// access open: what comes tells both.
func (w *walk) settle(ctx context.Context, nodes []Node, at []*ua.NodeID, unclear []int) error {
	reads := make([]*ua.ReadValueID, 0, len(unclear))
	for _, i := range unclear {
		reads = append(reads, &ua.ReadValueID{NodeID: at[i], AttributeID: ua.AttributeIDValue, DataEncoding: &ua.QualifiedName{}})
	}
	values, err := w.c.read(ctx, reads)
	if err != nil {
		return err
	}
	for k, i := range unclear {
		if v := values[k]; v.Value != nil && v.Value.Value() != nil && !isBad(v.Status) {
			nodes[i].learnFrom(v.Value)
		}
	}
	return nil
}

// typeNode returns a DataType attribute; some servers write it as an expanded
// node id.
func typeNode(v *ua.DataValue, namespaces []string) *ua.NodeID {
	if e, ok := plain[*ua.ExpandedNodeID](v); ok {
		return local(e, namespaces)
	}
	n, _ := plain[*ua.NodeID](v)
	return n
}

// plain returns an attribute's value if it is of the expected type.
func plain[T any](v *ua.DataValue) (T, bool) {
	if v == nil || v.Value == nil || isBad(v.Status) {
		var none T
		return none, false
	}
	x, ok := v.Value.Value().(T)
	return x, ok
}

// Describe asks a server what it offers, for commissioning: policies and modes,
// logins and the certificate to be trusted. Nothing but GetEndpoints is sent,
// over a channel without security: what it says is not proven.
func Describe(ctx context.Context, o Options) ([]Endpoint, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*o.timeout())
	defer cancel()
	list, err := endpoints(ctx, &o)
	if err != nil {
		return nil, broken("describe "+o.Endpoint, err)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("describe %s: %w: it has no endpoints", o.Endpoint, plc.ErrSilent)
	}
	out := make([]Endpoint, 0, len(list))
	for _, e := range list {
		out = append(out, describeEndpoint(e, &o, time.Now()))
	}
	return out, nil
}
