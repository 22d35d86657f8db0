package opcua

import (
	"context"
	"fmt"
	"slices"

	"github.com/gopcua/opcua/id"
	"github.com/gopcua/opcua/ua"

	"edgeagent/plc"
)

// complete reports whether the server had all that is to be followed when the
// episode began. What it refused of single nodes is asked for elsewhere.
func (e *episode) complete() bool {
	return len(e.unresolved) == 0 && (e.c.o.Events == nil || e.events.Load() != nil)
}

// askMissing asks again for what the server had not when the episode began. It
// may have listened before its address space was loaded, or had no room because
// it keeps the subscriptions of a connection that was cut for a while.
func (e *episode) askMissing(ctx context.Context) error {
	came, err := e.namespacesCame(ctx)
	if err != nil {
		return err
	}
	if came {
		return fmt.Errorf("%w: the server has namespaces by now that it had not: all is made anew", plc.ErrSilent)
	}
	return e.seekEvents(ctx)
}

// namespacesCame reports whether an address can be resolved that could not.
func (e *episode) namespacesCame(ctx context.Context) (bool, error) {
	missing := e.missingNodes()
	if len(missing) == 0 {
		return false, nil
	}
	values, err := e.conn.read(ctx, []*ua.ReadValueID{valueOf(id.Server_NamespaceArray)})
	if _, refused := itemRefusal(err); refused {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	ns, err := namespaces(values[0])
	if err != nil {
		return false, nil //nolint:nilerr // those of the connect hold
	}
	for _, node := range missing {
		if _, err := parseNode(node, ns); err == nil {
			return true, nil
		}
	}
	return false, nil
}

// missingNodes are the addresses that cannot be resolved.
func (e *episode) missingNodes() []string {
	var nodes []string
	for i := range e.c.o.Tags {
		nodes = append(nodes, e.c.o.Tags[i].Node)
	}
	if e.c.o.Events != nil {
		nodes = append(nodes, e.c.o.Events.source())
	}
	return slices.DeleteFunc(nodes, func(node string) bool { _, err := e.conn.resolve(node); return err == nil })
}
