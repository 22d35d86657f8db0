package opcua

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/gopcua/opcua/id"
	"github.com/gopcua/opcua/ua"

	"edgeagent"
)

// Node is one variable of a server. Texts are the server's own, without control
// characters.
type Node struct {
	Path        string             `json:"path"`                // browse names from the root, joined by /
	ID          string             `json:"id"`                  // the address to configure, with nsu=
	DataType    string             `json:"data_type"`           // the server's: Double, or the name of a type of its own
	Type        edgeagent.DataType `json:"type,omitempty"`      // ours; empty for a structure and what else is no value
	Array       bool               `json:"array"`               // needs an index
	Dimensions  []uint32           `json:"dimensions,omitzero"` // 0 where a dimension has no fixed length
	Readable    bool               `json:"readable"`            // by the user that was configured
	Access      string             `json:"access"`              // read, write, history, for this user
	Description string             `json:"description,omitempty"`
}

// Endpoint is one way into a server.
type Endpoint struct {
	URL         string             `json:"url"` // as the server calls itself; the configured one is dialled
	Security    string             `json:"security"`
	Mode        string             `json:"mode"`
	Level       uint8              `json:"level"`  // the server's own ranking
	Usable      bool               `json:"usable"` // by this agent
	Logins      []Login            `json:"logins"`
	Application string             `json:"application"` // the server's name and URI
	URI         string             `json:"uri"`
	Certificate *ServerCertificate `json:"certificate"` // nil if it shows none, or no valid one
}

// Login is a way to say who is reading: anonymous, user, certificate or token.
type Login struct {
	Kind     string `json:"kind"`
	Security string `json:"security"` // what a password is encrypted with; empty: as the channel
}

// ServerCertificate is what a person compares before trusting it.
type ServerCertificate struct {
	DER       []byte    `json:"-"` // the leaf
	SHA256    string    `json:"sha256"`
	Subject   string    `json:"subject"`
	Issuer    string    `json:"issuer"`
	URIs      []string  `json:"uris"`
	Hosts     []string  `json:"hosts"`
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
	KeyBits   int       `json:"key_bits"`
	Signature string    `json:"signature"`
	Problem   string    `json:"problem,omitempty"` // why it would be refused even when trusted
}

func describeEndpoint(e *ua.EndpointDescription, o *Options, now time.Time) Endpoint {
	out := Endpoint{
		URL: text(e.EndpointURL, maxShown), Security: text(policyName(e.SecurityPolicyURI), maxShown), Mode: modeName(e.SecurityMode),
		Level: e.SecurityLevel, Application: text(e.Server.ApplicationName.Text, maxShown), URI: text(e.Server.ApplicationURI, maxShown),
	}
	_, known := policies[policyName(e.SecurityPolicyURI)]
	out.Usable = spoken(e) && known
	for _, t := range e.UserIdentityTokens {
		l := Login{Kind: loginKinds[t.TokenType]}
		if t.SecurityPolicyURI != "" {
			l.Security = text(policyName(t.SecurityPolicyURI), maxShown)
		}
		if l.Kind != "" && !slices.Contains(out.Logins, l) {
			out.Logins = append(out.Logins, l)
		}
	}
	if c, err := parseCertificate(e.ServerCertificate); err == nil {
		out.Certificate = describeCertificate(c, o, now)
	}
	return out
}

var loginKinds = map[ua.UserTokenType]string{
	ua.UserTokenTypeAnonymous:   "anonymous",
	ua.UserTokenTypeUserName:    "user",
	ua.UserTokenTypeCertificate: "certificate",
	ua.UserTokenTypeIssuedToken: "token",
}

func describeCertificate(c *certificate, o *Options, now time.Time) *ServerCertificate {
	out := &ServerCertificate{
		DER: c.leaf.Raw, SHA256: sum(c.leaf.Raw), Subject: text(c.leaf.Subject.String(), maxShown), Issuer: text(c.leaf.Issuer.String(), maxShown),
		NotBefore: c.leaf.NotBefore, NotAfter: c.leaf.NotAfter, KeyBits: c.key.N.BitLen(), Signature: c.leaf.SignatureAlgorithm.String(),
	}
	for _, u := range c.leaf.URIs {
		out.URIs = append(out.URIs, text(u.String(), maxShown))
	}
	for _, h := range c.leaf.DNSNames {
		out.Hosts = append(out.Hosts, text(h, maxShown))
	}
	for _, ip := range c.leaf.IPAddresses {
		out.Hosts = append(out.Hosts, ip.String())
	}
	if err := checkCertificate(c.leaf, o, now); err != nil {
		out.Problem = err.Error()
	}
	return out
}

// describeVariable puts together what the attributes say, in their order.
func describeVariable(p place, got []*ua.DataValue, namespaces []string) Node {
	n := Node{Path: p.path, ID: nodeName(p.node, namespaces)}
	if rank, ok := plain[int32](got[1]); ok {
		n.Array = rank >= 0
	}
	if dims, ok := plain[[]uint32](got[2]); ok && len(dims) <= maxDimensions {
		n.Dimensions = dims
		n.Array = n.Array || len(dims) > 0
	}
	level, ok := plain[uint8](got[3])
	if !ok {
		level, ok = plain[uint8](got[6]) // a server that knows no users
	}
	if ok {
		n.Access = accessName(ua.AccessLevelType(level))
		n.Readable = ua.AccessLevelType(level)&ua.AccessLevelTypeCurrentRead != 0
	}
	if d, ok := plain[*ua.LocalizedText](got[4]); ok && d != nil {
		n.Description = text(d.Text, maxShown)
	}
	return n
}

// learnFrom takes from a value what the attributes did not say.
func (n *Node) learnFrom(v *ua.Variant) {
	if n.Access == "" {
		n.Access, n.Readable = "read", true
	}
	if t, ok := builtin[uint32(v.Type())]; ok && n.Type == "" {
		n.DataType, n.Type = t.name, t.typ
		n.Array = n.Array || v.Has(ua.VariantArrayValues)
	}
}

// noValue reports whether a type is known to be none that a tag can have.
func noValue(name string) bool {
	for _, t := range builtin {
		if t.name == name && t.typ == "" && name != "BaseDataType" {
			return true
		}
	}
	return false
}

func accessName(level ua.AccessLevelType) string {
	var words []string
	for _, w := range []struct {
		bit  ua.AccessLevelType
		name string
	}{
		{ua.AccessLevelTypeCurrentRead, "read"}, {ua.AccessLevelTypeCurrentWrite, "write"}, {ua.AccessLevelTypeHistoryRead, "history"},
	} {
		if level&w.bit != 0 {
			words = append(words, w.name)
		}
	}
	return strings.Join(words, " ")
}

// dataType is a type of the server and ours that holds its values.
type dataType struct {
	name string
	typ  edgeagent.DataType
}

// builtin are the types that every other derives from, and Enumeration, whose
// values are Int32. Number, Integer and UInteger may be any of theirs: the
// widest holds them.
var builtin = map[uint32]dataType{
	id.Boolean: {"Boolean", edgeagent.TypeBool}, id.SByte: {"SByte", edgeagent.TypeInt16}, id.Byte: {"Byte", edgeagent.TypeUint16},
	id.Int16: {"Int16", edgeagent.TypeInt16}, id.UInt16: {"UInt16", edgeagent.TypeUint16},
	id.Int32: {"Int32", edgeagent.TypeInt32}, id.UInt32: {"UInt32", edgeagent.TypeUint32},
	id.Int64: {"Int64", edgeagent.TypeInt64}, id.UInt64: {"UInt64", edgeagent.TypeUint64},
	id.Float: {"Float", edgeagent.TypeFloat32}, id.Double: {"Double", edgeagent.TypeFloat64},
	id.String: {"String", edgeagent.TypeString}, id.DateTime: {"DateTime", edgeagent.TypeString}, id.GUID: {"Guid", edgeagent.TypeString},
	id.LocalizedText: {"LocalizedText", edgeagent.TypeString}, id.QualifiedName: {"QualifiedName", edgeagent.TypeString},
	id.Enumeration: {"Enumeration", edgeagent.TypeInt32}, id.Number: {"Number", edgeagent.TypeFloat64},
	id.Integer: {"Integer", edgeagent.TypeInt64}, id.UInteger: {"UInteger", edgeagent.TypeUint64},
	id.ByteString: {"ByteString", ""}, id.XMLElement: {"XmlElement", ""}, id.NodeID: {"NodeId", ""}, id.ExpandedNodeID: {"ExpandedNodeId", ""},
	id.StatusCode: {"StatusCode", ""}, id.Structure: {"Structure", ""}, id.DataValue: {"DataValue", ""}, id.BaseDataType: {"BaseDataType", ""},
	id.DiagnosticInfo: {"DiagnosticInfo", ""},
}

// maxSupertypes is how far a type may be from a built-in one.
const maxSupertypes = 16

// dataType climbs from a type to the built-in one it derives from: Duration is
// a Double, a machine's own enumeration an Int32.
func (w *walk) dataType(ctx context.Context, typ *ua.NodeID) (dataType, error) {
	if t, known := w.types[typ.String()]; known {
		return t, nil
	}
	t := dataType{name: nodeName(typ, w.c.ns)}
	at := typ
	for range maxSupertypes {
		if base, ok := builtin[at.IntID()]; ok && isStandard(at, at.IntID()) {
			t.typ = base.typ
			if at == typ {
				t.name = base.name
			}
			break
		}
		up, err := w.c.references(ctx, &ua.BrowseDescription{
			NodeID: at, BrowseDirection: ua.BrowseDirectionInverse, ReferenceTypeID: ua.NewNumericNodeID(0, id.HasSubtype),
			IncludeSubtypes: true, ResultMask: uint32(ua.BrowseResultMaskAll),
		})
		if err != nil {
			return t, err
		}
		if len(up) == 0 {
			break
		}
		if at = local(up[0].NodeID, w.c.ns); at == nil {
			break
		}
	}
	w.types[typ.String()] = t
	return t, nil
}
