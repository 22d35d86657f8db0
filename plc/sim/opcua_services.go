package sim

import (
	"crypto/rand"
	"fmt"
	"slices"
	"strings"

	"github.com/gopcua/opcua/id"
	"github.com/gopcua/opcua/ua"
)

// uaSession is what a client has made on its connection.
type uaSession struct {
	token         *ua.NodeID
	active        bool
	publishes     []uaPublish // requests that wait for something to tell
	subscriptions []*uaSubscription
}

func fault(status ua.StatusCode) ua.Response {
	return &ua.ServiceFault{ResponseHeader: &ua.ResponseHeader{ServiceResult: status}}
}

// answer returns the answer to a request, nil for one that is answered later.
// The caller holds the channel's lock.
func (c *uaChannel) answer(number uint32, req ua.Request) ua.Response {
	c.server.count(req)
	switch r := req.(type) {
	case *ua.GetEndpointsRequest:
		return &ua.GetEndpointsResponse{Endpoints: c.server.endpoints()}
	case *ua.FindServersRequest:
		return &ua.FindServersResponse{Servers: []*ua.ApplicationDescription{c.server.application()}}
	case *ua.CreateSessionRequest:
		return c.createSession(r)
	}
	if c.session == nil || req.Header().AuthenticationToken.String() != c.session.token.String() {
		return fault(ua.StatusBadSessionIDInvalid)
	}
	switch r := req.(type) {
	case *ua.ActivateSessionRequest:
		c.session.active = true
		return &ua.ActivateSessionResponse{ServerNonce: nonce()}
	case *ua.CloseSessionRequest:
		c.session = nil
		return &ua.CloseSessionResponse{}
	default:
		if !c.session.active {
			return fault(ua.StatusBadSessionNotActivated)
		}
		return c.serveSession(number, r)
	}
}

// serveSession answers what needs a session that is activated.
func (c *uaChannel) serveSession(number uint32, req ua.Request) ua.Response {
	switch r := req.(type) {
	case *ua.ReadRequest:
		return c.read(r)
	case *ua.WriteRequest:
		return c.refuseWrite(r)
	case *ua.BrowseRequest:
		return c.browse(r)
	case *ua.TranslateBrowsePathsToNodeIDsRequest:
		return c.translate(r)
	case *ua.CreateSubscriptionRequest:
		return c.subscribe(r)
	case *ua.CreateMonitoredItemsRequest:
		return c.monitor(r)
	case *ua.DeleteMonitoredItemsRequest:
		return c.unmonitor(r)
	case *ua.DeleteSubscriptionsRequest:
		return c.unsubscribe(r)
	case *ua.PublishRequest:
		return c.enqueue(number, r)
	case *ua.RepublishRequest:
		return fault(ua.StatusBadMessageNotAvailable) // what was sent is not kept
	default:
		return fault(ua.StatusBadServiceUnsupported)
	}
}

func (s *OPCUAServer) application() *ua.ApplicationDescription {
	return &ua.ApplicationDescription{
		ApplicationURI: OPCUANamespace, ProductURI: OPCUANamespace, ApplicationName: ua.NewLocalizedText("edgeagent simulated plant"),
		ApplicationType: ua.ApplicationTypeServer, DiscoveryURLs: []string{s.URL()},
	}
}

func (s *OPCUAServer) endpoints() []*ua.EndpointDescription {
	return []*ua.EndpointDescription{{
		EndpointURL: s.URL(), Server: s.application(), SecurityMode: ua.MessageSecurityModeNone, SecurityPolicyURI: ua.SecurityPolicyURINone,
		UserIdentityTokens:  []*ua.UserTokenPolicy{{PolicyID: "anonymous", TokenType: ua.UserTokenTypeAnonymous}},
		TransportProfileURI: "http://opcfoundation.org/UA-Profile/Transport/uatcp-uasc-uabinary",
	}}
}

// serviceName is the name of a request's message: ReadRequest.
func serviceName(req ua.Request) string { return strings.TrimPrefix(fmt.Sprintf("%T", req), "*ua.") }

func nonce() []byte {
	n := make([]byte, 32)
	_, _ = rand.Read(n) // never fails
	return n
}

func (c *uaChannel) createSession(req *ua.CreateSessionRequest) ua.Response {
	number := c.server.number()
	c.session = &uaSession{token: ua.NewByteStringNodeID(0, nonce())}
	return &ua.CreateSessionResponse{
		SessionID: ua.NewNumericNodeID(1, number), AuthenticationToken: c.session.token,
		RevisedSessionTimeout: min(max(req.RequestedSessionTimeout, 10_000), 3_600_000), ServerNonce: nonce(),
		ServerEndpoints: c.server.endpoints(), ServerSignature: &ua.SignatureData{},
	}
}

func (c *uaChannel) read(req *ua.ReadRequest) ua.Response {
	if status := countOf(len(req.NodesToRead)); status != ua.StatusOK {
		return fault(status)
	}
	res := &ua.ReadResponse{}
	for _, n := range req.NodesToRead {
		res.Results = append(res.Results, c.server.space.read(n.NodeID, n.AttributeID))
	}
	return res
}

// countOf refuses what names nothing, or more than the limit.
func countOf(n int) ua.StatusCode {
	switch {
	case n == 0:
		return ua.StatusBadNothingToDo
	case n > operationLimit:
		return ua.StatusBadTooManyOperations
	default:
		return ua.StatusOK
	}
}

func (c *uaChannel) refuseWrite(req *ua.WriteRequest) ua.Response {
	c.server.mu.Lock()
	c.server.writes += len(req.NodesToWrite)
	c.server.mu.Unlock()
	return &ua.WriteResponse{Results: slices.Repeat([]ua.StatusCode{ua.StatusBadNotWritable}, len(req.NodesToWrite))}
}

func (c *uaChannel) browse(req *ua.BrowseRequest) ua.Response {
	if status := countOf(len(req.NodesToBrowse)); status != ua.StatusOK {
		return fault(status)
	}
	res := &ua.BrowseResponse{}
	for _, d := range req.NodesToBrowse {
		res.Results = append(res.Results, c.server.space.browse(d))
	}
	return res
}

// browse lists the neighbours of a node: one answer holds them all, there are
// no continuation points.
func (s *uaSpace) browse(d *ua.BrowseDescription) *ua.BrowseResult {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.node(d.NodeID)
	if n == nil {
		return &ua.BrowseResult{StatusCode: ua.StatusBadNodeIDUnknown}
	}
	res := &ua.BrowseResult{}
	add := func(reference uint32, to *uaNode, forward bool) {
		if follows(d, reference) && (d.NodeClassMask == 0 || d.NodeClassMask&uint32(to.class) != 0) {
			res.References = append(res.References, to.reference(reference, forward))
		}
	}
	if d.BrowseDirection != ua.BrowseDirectionInverse {
		for _, child := range n.children {
			add(child.heldBy(), child, true)
		}
	}
	if d.BrowseDirection != ua.BrowseDirectionForward && n.parent != nil {
		add(n.heldBy(), n.parent, false)
	}
	return res
}

// heldBy is the reference that leads to a node.
func (n *uaNode) heldBy() uint32 {
	if n.class == ua.NodeClassVariable {
		return id.HasComponent
	}
	return id.Organizes
}

// follows reports whether a browse asks for a reference: for that, or for one
// that it is a kind of.
func follows(d *ua.BrowseDescription, reference uint32) bool {
	asked := uint32(0)
	if d.ReferenceTypeID != nil && d.ReferenceTypeID.Namespace() == 0 {
		asked = d.ReferenceTypeID.IntID()
	}
	if asked == 0 || asked == reference {
		return true
	}
	kinds := []uint32{id.References, id.HierarchicalReferences, id.HasChild, id.Aggregates}
	if reference == id.Organizes {
		kinds = kinds[:2]
	}
	return d.IncludeSubtypes && slices.Contains(kinds, asked)
}

func (n *uaNode) reference(typ uint32, forward bool) *ua.ReferenceDescription {
	return &ua.ReferenceDescription{
		ReferenceTypeID: ua.NewNumericNodeID(0, typ), IsForward: forward, NodeID: &ua.ExpandedNodeID{NodeID: n.id},
		BrowseName: n.browseName(), DisplayName: ua.NewLocalizedText(n.name), NodeClass: n.class,
		TypeDefinition: ua.NewNumericExpandedNodeID(0, n.typ),
	}
}

func (c *uaChannel) translate(req *ua.TranslateBrowsePathsToNodeIDsRequest) ua.Response {
	if status := countOf(len(req.BrowsePaths)); status != ua.StatusOK {
		return fault(status)
	}
	res := &ua.TranslateBrowsePathsToNodeIDsResponse{}
	for _, p := range req.BrowsePaths {
		res.Results = append(res.Results, c.server.space.walk(p))
	}
	return res
}

// walk follows a path of names down from a node.
func (s *uaSpace) walk(p *ua.BrowsePath) *ua.BrowsePathResult {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.node(p.StartingNode)
	if n == nil || p.RelativePath == nil || len(p.RelativePath.Elements) == 0 {
		return &ua.BrowsePathResult{StatusCode: ua.StatusBadNodeIDUnknown}
	}
	for _, e := range p.RelativePath.Elements {
		i := slices.IndexFunc(n.children, func(c *uaNode) bool { return e.TargetName != nil && *c.browseName() == *e.TargetName })
		if i < 0 || e.IsInverse {
			return &ua.BrowsePathResult{StatusCode: ua.StatusBadNoMatch}
		}
		n = n.children[i]
	}
	return &ua.BrowsePathResult{Targets: []*ua.BrowsePathTarget{{TargetID: &ua.ExpandedNodeID{NodeID: n.id}, RemainingPathIndex: 1<<32 - 1}}}
}
