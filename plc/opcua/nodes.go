package opcua

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/gopcua/opcua/ua"
)

const (
	maxIdentifier = 4096 // bytes of an identifier, as the standard has it
	namespaceZero = "http://opcfoundation.org/UA/"
)

// resolve returns the node of a configured address: "i=2258", "ns=2;s=Filler",
// "nsu=urn:filler;s=Filler". An nsu is looked up in the namespaces that the
// server has told after this connect: their numbers may change with a restart.
func (c *client) resolve(node string) (*ua.NodeID, error) { return parseNode(node, c.ns) }

// CheckNode reports what is wrong with a configured address, as far as that can
// be said without the server.
func CheckNode(node string) error {
	uri, _, err := splitNode(node)
	if err == nil {
		_, err = parseNode(node, []string{namespaceZero, uri})
	}
	return err
}

// splitNode returns the namespace's URI if the address names one, and the rest.
func splitNode(node string) (uri, rest string, err error) {
	after, named := strings.CutPrefix(node, "nsu=")
	if !named {
		return "", node, nil
	}
	// A URI may hold semicolons, an identifier too: the identifier begins at the
	// first "X=" behind one.
	for i := 0; i+2 < len(after); i++ {
		if after[i] == ';' && strings.IndexByte("isgb", after[i+1]) >= 0 && after[i+2] == '=' {
			if i == 0 {
				break
			}
			return unescape(after[:i]), after[i+1:], nil
		}
	}
	return "", "", fmt.Errorf("node %q: want nsu=URI;s=NAME (or i=, g=, b=)", cut(node))
}

func parseNode(node string, namespaces []string) (*ua.NodeID, error) {
	if len(node) > maxIdentifier {
		return nil, fmt.Errorf("node of %d bytes: at most %d", len(node), maxIdentifier)
	}
	uri, rest, err := splitNode(node)
	if err != nil {
		return nil, err
	}
	number := 0
	if uri != "" {
		if number = slices.Index(namespaces, uri); number < 0 {
			return nil, fmt.Errorf("node %q: the server has no namespace %q, it has %s", cut(node), cut(uri), someOf(namespaces))
		}
	} else if after, numbered := strings.CutPrefix(rest, "ns="); numbered {
		text, identifier, found := strings.Cut(after, ";")
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil || !found {
			return nil, fmt.Errorf("node %q: want ns=NUMBER;s=NAME (or i=, g=, b=)", cut(node))
		}
		number, rest = int(n), identifier
	}
	return identified(node, uint16(number), rest)
}

// identified parses i=, s=, g= and b=.
func identified(node string, ns uint16, rest string) (*ua.NodeID, error) {
	kind, identifier, found := strings.Cut(rest, "=")
	if !found || identifier == "" {
		return nil, fmt.Errorf("node %q: want i=NUMBER, s=NAME, g=GUID or b=BASE64", cut(node))
	}
	switch kind {
	case "i":
		n, err := strconv.ParseUint(identifier, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("node %q: %q is no number up to 4294967295", cut(node), cut(identifier))
		}
		return ua.NewNumericNodeID(ns, uint32(n)), nil
	case "s":
		return ua.NewStringNodeID(ns, identifier), nil
	case "g", "b":
		parsed, err := ua.ParseNodeID(kind + "=" + identifier)
		if err != nil {
			return nil, fmt.Errorf("node %q: %w", cut(node), err)
		}
		if err := parsed.SetNamespace(ns); err != nil {
			return nil, fmt.Errorf("node %q: %w", cut(node), err)
		}
		return parsed, nil
	default:
		return nil, fmt.Errorf("node %q: want i=NUMBER, s=NAME, g=GUID or b=BASE64", cut(node))
	}
}

// nodeName writes a node so that it means the same after a restart of the
// server: with its namespace's URI. Namespace 0 is the standard's own.
func nodeName(n *ua.NodeID, namespaces []string) string {
	if n == nil {
		return ""
	}
	ns := int(n.Namespace())
	identifier := identifierOf(n)
	switch {
	case ns == 0:
		return identifier
	case ns < len(namespaces) && namespaces[ns] != "":
		return "nsu=" + escape(namespaces[ns]) + ";" + identifier
	default:
		return "ns=" + strconv.Itoa(ns) + ";" + identifier
	}
}

func identifierOf(n *ua.NodeID) string {
	switch n.Type() {
	case ua.NodeIDTypeString:
		return "s=" + n.StringID()
	case ua.NodeIDTypeGUID:
		return "g=" + n.StringID()
	case ua.NodeIDTypeByteString:
		return "b=" + n.StringID()
	default:
		return "i=" + strconv.FormatUint(uint64(n.IntID()), 10)
	}
}

// escape and unescape write the two characters that an nsu cannot hold as the
// standard does (Part 6, 5.3.1.11).
func escape(uri string) string {
	return strings.NewReplacer("%", "%25", ";", "%3B").Replace(uri)
}

func unescape(uri string) string {
	return strings.NewReplacer("%25", "%", "%3B", ";", "%3b", ";").Replace(uri)
}

// someOf lists what a server has, as far as a person reads on.
func someOf(list []string) string {
	const most = 8
	quoted := make([]string, 0, most+1)
	for i, s := range list {
		if i == most {
			quoted = append(quoted, fmt.Sprintf("and %d more", len(list)-most))
			break
		}
		quoted = append(quoted, strconv.Quote(cut(s)))
	}
	if len(quoted) == 0 {
		return "none"
	}
	return strings.Join(quoted, ", ")
}
