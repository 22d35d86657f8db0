package opcua

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gopcua/opcua/id"
	"github.com/gopcua/opcua/ua"

	"edgeagent/plc"
)

// allowed is every request that can leave this package. It is asked once, in
// [channel.call], through which everything goes: a request that is not here is
// not encoded. Of methods only ConditionRefresh can be called, which makes a
// server tell its alarms again and changes nothing.
func allowed(req ua.Request) bool {
	switch r := req.(type) {
	case *ua.GetEndpointsRequest, *ua.OpenSecureChannelRequest, *ua.CloseSecureChannelRequest,
		*ua.CreateSessionRequest, *ua.ActivateSessionRequest, *ua.CloseSessionRequest,
		*ua.ReadRequest, *ua.BrowseRequest, *ua.BrowseNextRequest,
		*ua.CreateSubscriptionRequest, *ua.CreateMonitoredItemsRequest,
		*ua.PublishRequest:
		return true
	case *ua.CallRequest:
		return !slices.ContainsFunc(r.MethodsToCall, func(m *ua.CallMethodRequest) bool { return !isConditionRefresh(m) })
	default:
		return false
	}
}

func isConditionRefresh(m *ua.CallMethodRequest) bool {
	return isStandard(m.MethodID, id.ConditionType_ConditionRefresh) && isStandard(m.ObjectID, id.ConditionType)
}

// isStandard reports whether a node is the one of that number in namespace 0.
func isStandard(n *ua.NodeID, number uint32) bool {
	return n != nil && n.Namespace() == 0 && n.StringID() == "" && n.IntID() == number
}

// requestName is the service's name, for errors: Read, CreateSession.
func requestName(req ua.Request) string {
	return strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%T", req), "*ua."), "Request")
}

// caller sends one request and returns its answer: a [channel], or a test's.
type caller interface {
	call(ctx context.Context, req ua.Request, token *ua.NodeID) (ua.Response, error)
}

// client is one session. Its methods may be used by several goroutines. Each
// but publish takes no longer than the configured timeout for each message it
// sends; answers of another type or count than asked for are errors.
type client struct {
	ch      caller
	token   *ua.NodeID // of the session
	timeout time.Duration
	ns      []string
	caps    limits

	security string        // as negotiated
	forgets  time.Duration // how long the server keeps a session that asks nothing
	end      func()
	dead     <-chan struct{}
	why      func() error
}

// limits returns what the server takes in one message.
func (c *client) limits() limits { return c.caps }

// done is closed when the connection has ended, whoever ended it; err says why.
func (c *client) done() <-chan struct{} { return c.dead }

// err returns why the connection ended; nil while it stands.
func (c *client) err() error { return c.why() }

// call sends a request of the session and returns an answer of type R.
func call[R ua.Response](ctx context.Context, c *client, req ua.Request) (R, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	return answer[R](ctx, c, req)
}

// answer is call without a timeout of its own.
func answer[R ua.Response](ctx context.Context, c *client, req ua.Request) (R, error) {
	var none R
	res, err := c.ch.call(ctx, req, c.token)
	if err != nil {
		return none, fmt.Errorf("%s: %w", requestName(req), err)
	}
	typed, ok := res.(R)
	if !ok {
		return none, fmt.Errorf("%s: %w: answered with %T", requestName(req), plc.ErrSilent, res)
	}
	return typed, nil
}

// inBatches asks for items at most n at a time and returns all results, as many
// as there are items.
func inBatches[I, R any](items []I, n int, ask func([]I) ([]R, error)) ([]R, error) {
	out := make([]R, 0, len(items))
	for batch := range slices.Chunk(items, max(n, 1)) {
		results, err := ask(batch)
		if err != nil {
			return out, err
		}
		if len(results) != len(batch) {
			return out, fmt.Errorf("%w: %d results for %d items", plc.ErrSilent, len(results), len(batch))
		}
		out = append(out, results...)
	}
	return out, nil
}

// read reads attributes, in as many requests as the server's limit needs. Each
// result has its own status; none is nil.
func (c *client) read(ctx context.Context, nodes []*ua.ReadValueID) ([]*ua.DataValue, error) {
	return inBatches(nodes, c.caps.read, func(batch []*ua.ReadValueID) ([]*ua.DataValue, error) {
		for _, n := range batch {
			if n.DataEncoding == nil {
				n.DataEncoding = &ua.QualifiedName{}
			}
		}
		res, err := call[*ua.ReadResponse](ctx, c, &ua.ReadRequest{TimestampsToReturn: ua.TimestampsToReturnBoth, NodesToRead: batch})
		if err != nil {
			return nil, err
		}
		return res.Results, nil
	})
}

// browse returns the references of nodes, all of one direction and kind as the
// descriptions say. More may be had with browseNext.
func (c *client) browse(ctx context.Context, nodes []*ua.BrowseDescription, perNode uint32) ([]*ua.BrowseResult, error) {
	return inBatches(nodes, c.caps.browse, func(batch []*ua.BrowseDescription) ([]*ua.BrowseResult, error) {
		res, err := call[*ua.BrowseResponse](ctx, c, &ua.BrowseRequest{
			View:                          &ua.ViewDescription{ViewID: ua.NewTwoByteNodeID(0)},
			RequestedMaxReferencesPerNode: perNode, NodesToBrowse: batch,
		})
		if err != nil {
			return nil, err
		}
		return res.Results, nil
	})
}

// browseNext follows one continuation point, or releases it.
func (c *client) browseNext(ctx context.Context, point []byte, release bool) (*ua.BrowseResult, error) {
	res, err := call[*ua.BrowseNextResponse](ctx, c, &ua.BrowseNextRequest{ReleaseContinuationPoints: release, ContinuationPoints: [][]byte{point}})
	if err != nil {
		return nil, err
	}
	if len(res.Results) != 1 {
		return nil, fmt.Errorf("browse on: %w: %d results for one continuation point", plc.ErrSilent, len(res.Results))
	}
	return res.Results[0], nil
}

// createSubscription makes a subscription; its notifications come by publish.
func (c *client) createSubscription(ctx context.Context, req *ua.CreateSubscriptionRequest) (*ua.CreateSubscriptionResponse, error) {
	res, err := call[*ua.CreateSubscriptionResponse](ctx, c, req)
	if err != nil {
		return nil, err
	}
	if res.SubscriptionID == 0 {
		return nil, fmt.Errorf("create subscription: %w: the server gave it the number 0", plc.ErrSilent)
	}
	return res, nil
}

// createMonitoredItems adds items to a subscription. Each result has its own
// status, which the caller must look at.
func (c *client) createMonitoredItems(ctx context.Context, subscription uint32, items []*ua.MonitoredItemCreateRequest) ([]*ua.MonitoredItemCreateResult, error) {
	return inBatches(items, c.caps.monitor, func(batch []*ua.MonitoredItemCreateRequest) ([]*ua.MonitoredItemCreateResult, error) {
		res, err := call[*ua.CreateMonitoredItemsResponse](ctx, c, &ua.CreateMonitoredItemsRequest{
			SubscriptionID: subscription, TimestampsToReturn: ua.TimestampsToReturnBoth, ItemsToCreate: batch,
		})
		if err != nil {
			return nil, err
		}
		return res.Results, nil
	})
}

// publish asks for the next notification of any subscription and waits for it
// until ctx ends: a keep-alive comes at the latest after the subscription's
// keep-alive count. Several may wait at a time.
func (c *client) publish(ctx context.Context, acks []*ua.SubscriptionAcknowledgement) (*ua.PublishResponse, error) {
	if acks == nil {
		acks = []*ua.SubscriptionAcknowledgement{}
	}
	return answer[*ua.PublishResponse](ctx, c, &ua.PublishRequest{SubscriptionAcknowledgements: acks})
}

// conditionRefresh makes the server tell all retained conditions again, between
// a RefreshStart and a RefreshEnd event.
func (c *client) conditionRefresh(ctx context.Context, subscription uint32) error {
	res, err := call[*ua.CallResponse](ctx, c, &ua.CallRequest{MethodsToCall: []*ua.CallMethodRequest{{
		ObjectID:       ua.NewNumericNodeID(0, id.ConditionType),
		MethodID:       ua.NewNumericNodeID(0, id.ConditionType_ConditionRefresh),
		InputArguments: []*ua.Variant{ua.MustVariant(subscription)},
	}}})
	if err != nil {
		return err
	}
	if len(res.Results) != 1 {
		return fmt.Errorf("refresh conditions: %w: %d results for one call", plc.ErrSilent, len(res.Results))
	}
	if status := res.Results[0].StatusCode; status != ua.StatusOK {
		return fmt.Errorf("refresh conditions: %w", status)
	}
	return nil
}
