package exports

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// deepest is how many folders may stand in each other.
const deepest = 64

// node is one object of the export: a folder, a UDT or a tag.
type ignitionNode struct {
	line     int
	fields   map[string]json.RawMessage
	children []ignitionNode
}

// ignitionJSON walks the tree of folders. The line of each object is kept, for
// what will be said of it.
func (in *reading) ignitionJSON(text []byte) ([]source, error) {
	w := &walker{text: text, dec: json.NewDecoder(bytes.NewReader(text)), line: 1}
	first, err := w.dec.Token()
	if err != nil {
		return nil, fmt.Errorf("it is no JSON: %w", err)
	}
	var roots []ignitionNode
	if first == json.Delim('[') {
		roots, err = w.list(0)
	} else {
		var root ignitionNode
		root, err = w.object(0)
		roots = []ignitionNode{root}
	}
	if err != nil {
		return nil, err
	}
	var out []source
	for i := range roots {
		in.flatten(&roots[i], "", &out)
	}
	return out, nil
}

// walker reads tokens and counts lines.
type walker struct {
	text    []byte
	dec     *json.Decoder
	line    int
	counted int // bytes whose lines are counted
}

func (w *walker) lineHere() int {
	at := int(w.dec.InputOffset())
	w.line += bytes.Count(w.text[w.counted:at], []byte{'\n'})
	w.counted = at
	return w.line
}

func (w *walker) errorf(err error) error { return fmt.Errorf("line %d: %w", w.lineHere(), err) }

// object reads the rest of an object whose { has been read.
func (w *walker) object(depth int) (ignitionNode, error) {
	n := ignitionNode{line: w.lineHere(), fields: map[string]json.RawMessage{}}
	if depth > deepest {
		return n, fmt.Errorf("line %d: folders stand more than %d deep in each other", n.line, deepest)
	}
	for w.dec.More() {
		key, err := w.dec.Token()
		if err != nil {
			return n, w.errorf(err)
		}
		name, _ := key.(string)
		if name == "tags" {
			if n.children, err = w.children(depth); err != nil {
				return n, err
			}
			continue
		}
		var value json.RawMessage
		if err := w.dec.Decode(&value); err != nil {
			return n, w.errorf(err)
		}
		n.fields[name] = value
	}
	if _, err := w.dec.Token(); err != nil {
		return n, w.errorf(err)
	}
	return n, nil
}

func (w *walker) children(depth int) ([]ignitionNode, error) {
	open, err := w.dec.Token()
	switch {
	case err != nil:
		return nil, w.errorf(err)
	case open == nil:
		return nil, nil
	case open != json.Delim('['):
		return nil, fmt.Errorf("line %d: tags is no list", w.lineHere())
	}
	return w.list(depth + 1)
}

// list reads the rest of a list of objects whose [ has been read.
func (w *walker) list(depth int) ([]ignitionNode, error) {
	var out []ignitionNode
	for w.dec.More() {
		open, err := w.dec.Token()
		if err != nil {
			return nil, w.errorf(err)
		}
		if open != json.Delim('{') {
			return nil, fmt.Errorf("line %d: a tag is no object", w.lineHere())
		}
		child, err := w.object(depth)
		if err != nil {
			return nil, err
		}
		out = append(out, child)
	}
	if _, err := w.dec.Token(); err != nil {
		return nil, w.errorf(err)
	}
	return out, nil
}

func (n *ignitionNode) text(name string) string {
	var s string
	if json.Unmarshal(n.fields[name], &s) != nil {
		return ""
	}
	return s
}

// flatten lists the tags below a node by their paths. The tags within a UDT are
// not listed: without its parameters they have no address.
func (in *reading) flatten(n *ignitionNode, folder string, out *[]source) {
	path, tagType := n.text("name"), n.text("tagType")
	if folder != "" && path != "" {
		path = folder + "/" + path
	}
	switch {
	case tagType == "UdtType" || tagType == "UdtInstance":
		in.skip(n.line, path, "it is a UDT (%s) of %d members: its addresses come from parameters; make plain tags of what is needed", tagType, len(n.children))
		return
	case len(n.children) == 0 && (tagType == "" || tagType == "AtomicTag" || tagType == "OpcTag" || tagType == "OPC"):
		if tagType == "" && n.fields["opcItemPath"] == nil && n.fields["valueSource"] == nil {
			return // an empty folder or provider
		}
		*out = append(*out, n.source(path))
	}
	if tagType == "Provider" {
		path = "" // its name stands before every path and says nothing
	}
	for i := range n.children {
		in.flatten(&n.children[i], path, out)
	}
}

func (n *ignitionNode) source(path string) source {
	s := source{
		line: n.line, path: path, dataType: n.text("dataType"), item: n.text("opcItemPath"), server: n.text("opcServer"),
		unit: n.text("engUnit"), documentation: n.text("documentation"), scaleMode: n.text("scaleMode"), clampMode: n.text("clampMode"),
		rawLow: finite(n.fields["rawLow"]), rawHigh: finite(n.fields["rawHigh"]),
		scaledLow: finite(n.fields["scaledLow"]), scaledHigh: finite(n.fields["scaledHigh"]),
		valueSource: n.text("valueSource"), tagType: n.text("tagType"),
	}
	if raw := n.fields["opcItemPath"]; len(raw) > 0 && raw[0] == '{' {
		s.bind = "its OPC item path is bound to a parameter"
	}
	if raw := n.fields["alarms"]; raw != nil && json.Unmarshal(raw, &s.alarms) != nil {
		s.alarms = nil
	}
	if s.documentation == "" {
		s.documentation = n.text("tooltip")
	}
	return s
}
