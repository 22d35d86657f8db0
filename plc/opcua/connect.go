package opcua

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/gopcua/opcua/id"
	"github.com/gopcua/opcua/ua"

	"edgeagent/plc"
)

const (
	closeTimeout  = 2 * time.Second
	maxNamespaces = 4096
)

// connect opens a session: endpoint, trust, channel, login, namespaces, limits.
// It takes no longer than two timeouts. An error wraps plc.ErrRefused when only
// a person can change it, plc.ErrUnreachable when there was no connection and
// plc.ErrSilent when there was one but no sane answer.
func connect(ctx context.Context, o *Options) (*client, error) {
	c, err := dialSession(ctx, o)
	if err != nil {
		return nil, broken("connect to "+o.Endpoint, err)
	}
	return c, nil
}

func dialSession(ctx context.Context, o *Options) (*client, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*o.timeout())
	defer cancel()
	t, err := loadTrust(o, time.Now())
	if err != nil {
		return nil, err
	}
	offered, err := endpoints(ctx, o)
	if err != nil {
		return nil, err
	}
	endpoint, err := choose(offered, t, o)
	if err != nil {
		return nil, err
	}
	t.discovered = endpoint.UserIdentityTokens
	ch, err := openChannel(ctx, o, t.policy, t.mode, t.own, t.serverFor())
	if err != nil {
		return nil, classify(err)
	}
	c, err := newClient(ctx, ch, t, o)
	if err != nil {
		ch.close()
		return nil, classify(err)
	}
	return c, nil
}

// serverFor is the certificate that the channel must end at; none without security.
func (t *trust) serverFor() *certificate {
	if t.mode == ua.MessageSecurityModeNone {
		return nil
	}
	return t.server
}

// endpoints asks a server what it offers, over a channel of its own without
// security; nothing but GetEndpoints is sent.
func endpoints(ctx context.Context, o *Options) ([]*ua.EndpointDescription, error) {
	ch, err := openChannel(ctx, o, ua.SecurityPolicyURINone, ua.MessageSecurityModeNone, nil, nil)
	if err != nil {
		return nil, classify(err)
	}
	defer ch.close()
	res, err := ch.call(ctx, &ua.GetEndpointsRequest{EndpointURL: o.Endpoint}, nil)
	if err != nil {
		return nil, fmt.Errorf("ask for endpoints: %w", classify(err))
	}
	list, ok := res.(*ua.GetEndpointsResponse)
	if !ok {
		return nil, fmt.Errorf("ask for endpoints: %w: answered with %T", plc.ErrSilent, res)
	}
	return list.Endpoints, nil
}

// newClient logs in over a channel and learns what the server is like.
func newClient(ctx context.Context, ch *channel, t *trust, o *Options) (*client, error) {
	session, err := createSession(ctx, ch, t, o)
	if err != nil {
		return nil, err
	}
	c := &client{
		ch: ch, token: session.AuthenticationToken, timeout: o.timeout(), caps: ownLimits, security: securityName(t.policy, t.mode),
		dead: ch.dead, why: ch.err, forgets: revised(session.RevisedSessionTimeout, sessionTimeout),
	}
	c.end = sync.OnceFunc(func() { go c.hangUp(ch) })
	if err := c.learn(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

// close ends the session. It does not wait for the server: a frozen one would
// keep the caller. The connection is gone after two seconds at the latest.
func (c *client) close() { c.end() }

// goodbye is how long a server has to end a session when it is left in peace.
const goodbye = 500 * time.Millisecond

// leave is close for who may be the last to do anything in this process: a
// server that is not told keeps the session and its subscriptions for a while,
// and may have few.
func (c *client) leave() {
	c.close()
	select {
	case <-c.done():
	case <-time.After(goodbye):
	}
}

func (c *client) hangUp(ch *channel) {
	defer ch.close()
	ctx, cancel := context.WithTimeout(context.Background(), min(closeTimeout, c.timeout))
	defer cancel()
	if ch.err() == nil {
		// Nobody is left to tell what becomes of it; the server forgets the session after a minute anyway.
		_, _ = ch.call(ctx, &ua.CloseSessionRequest{DeleteSubscriptions: true}, c.token)
	}
}

// operationLimits are what is asked of a server, in the order of learn.
var operationLimits = []uint32{
	id.Server_ServerCapabilities_OperationLimits_MaxNodesPerRead,
	id.Server_ServerCapabilities_OperationLimits_MaxNodesPerBrowse,
	id.Server_ServerCapabilities_OperationLimits_MaxMonitoredItemsPerCall,
}

// learn reads the namespaces and the limits. Limits come one by one: that of
// reading is not known yet. Many servers have none.
func (c *client) learn(ctx context.Context) error {
	values, err := c.read(ctx, []*ua.ReadValueID{valueOf(id.Server_NamespaceArray)})
	if err != nil {
		return fmt.Errorf("read the namespaces: %w", err)
	}
	if c.ns, err = namespaces(values[0]); err != nil {
		return err
	}
	c.caps.read = len(operationLimits)
	for i, to := range []*int{&c.caps.read, &c.caps.browse, &c.caps.monitor} {
		own := *to
		if i == 0 {
			own = ownLimits.read
		}
		values, err := c.read(ctx, []*ua.ReadValueID{valueOf(operationLimits[i])})
		if err != nil && !isStatus(err) {
			return fmt.Errorf("read the operation limits: %w", err)
		}
		*to = own
		if err == nil {
			*to = limitOf(values[0], own)
		}
	}
	return nil
}

func valueOf(number uint32) *ua.ReadValueID {
	return &ua.ReadValueID{NodeID: ua.NewNumericNodeID(0, number), AttributeID: ua.AttributeIDValue, DataEncoding: &ua.QualifiedName{}}
}

func isStatus(err error) bool {
	var status ua.StatusCode
	return errors.As(err, &status)
}

// limitOf returns the server's limit, at most our own; 0 and anything that is no
// number is none.
func limitOf(v *ua.DataValue, own int) int {
	if v == nil || v.Value == nil || v.Status != ua.StatusOK {
		return own
	}
	if n, ok := v.Value.Value().(uint32); ok && n > 0 {
		return int(min(n, uint32(own)))
	}
	return own
}

// namespaces reads the NamespaceArray; without it no address can be resolved.
func namespaces(v *ua.DataValue) ([]string, error) {
	if v == nil || v.Value == nil || isBad(v.Status) {
		return nil, fmt.Errorf("read the namespaces: %w: the server has none", plc.ErrSilent)
	}
	list, ok := v.Value.Value().([]string)
	if !ok {
		return nil, fmt.Errorf("read the namespaces: %w: they are %T, not texts", plc.ErrSilent, v.Value.Value())
	}
	if len(list) > maxNamespaces {
		return nil, fmt.Errorf("read the namespaces: %w: %d of them", plc.ErrSilent, len(list))
	}
	return list, nil
}
