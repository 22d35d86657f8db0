package page

import (
	"errors"
	"fmt"
	"strings"
	"text/template/parse"
)

// state is where in HTML something stands.
type state uint8

const (
	inText  state = iota
	inTag         // between attributes
	inValue       // of an attribute, quoted
	inRaw         // of a script or style element
)

// place is where in HTML a template is after some of its text.
type place struct {
	state   state
	element string  // of the tag, lower case
	attr    string  // being read, or of the value
	quote   byte    // that ends the value
	url     urlPart // of an address
}

// addresses are the attributes that hold one.
var addresses = map[string]bool{"href": true, "src": true, "action": true, "formaction": true, "poster": true, "cite": true}

// plain are the attributes that hold words or numbers. Those that are not here
// take no value: some are programs (on…, style, srcdoc).
var plain = map[string]bool{
	"class": true, "id": true, "title": true, "datetime": true, "value": true, "alt": true, "lang": true, "dir": true,
	"colspan": true, "rowspan": true, "width": true, "height": true, "x": true, "y": true, "x1": true, "x2": true, "y1": true, "y2": true,
	"viewbox": true, "points": true, "cx": true, "cy": true, "r": true,
}

func isPlain(attr string) bool {
	return plain[attr] || strings.HasPrefix(attr, "aria-") || strings.HasPrefix(attr, "data-") && !strings.HasPrefix(attr, "data-on")
}

// place finds the escaper of every value of a template, which begins and ends
// in text.
func (p *Page) place(t *parse.Tree) error {
	end, err := p.walk(t.Root, place{})
	if err == nil && end != (place{}) {
		err = errors.New("it ends within a tag, a script or a style")
	}
	if err != nil {
		return fmt.Errorf("template %s of %s: %w", t.Name, t.ParseName, err)
	}
	return nil
}

func (p *Page) walk(n parse.Node, at place) (place, error) {
	switch n := n.(type) {
	case *parse.ListNode:
		if n == nil {
			return at, nil
		}
		var err error
		for _, child := range n.Nodes {
			if at, err = p.walk(child, at); err != nil {
				return at, err
			}
		}
		return at, nil
	case *parse.TextNode:
		return at.after(string(n.Text))
	case *parse.ActionNode:
		return p.value(n, at)
	case *parse.IfNode:
		return p.branches(&n.BranchNode, at)
	case *parse.WithNode:
		return p.branches(&n.BranchNode, at)
	case *parse.RangeNode:
		return p.branches(&n.BranchNode, at)
	case *parse.TemplateNode:
		if at.state != inText {
			return at, fmt.Errorf("line %d: a template is called within a tag; call it between tags", n.Line)
		}
		return at, nil
	case *parse.CommentNode:
		return at, nil
	default:
		return at, fmt.Errorf("%s is not for pages", n)
	}
}

// branches must end where they began: whichever is taken, what follows is
// escaped alike.
func (p *Page) branches(n *parse.BranchNode, at place) (place, error) {
	for _, list := range []*parse.ListNode{n.List, n.ElseList} {
		end, err := p.walk(list, at)
		if err != nil {
			return at, err
		}
		if end != at {
			return at, fmt.Errorf("line %d: a branch ends elsewhere in a tag than it began; close in it what it opens", n.Line)
		}
	}
	return at, nil
}

func (p *Page) value(n *parse.ActionNode, at place) (place, error) {
	if len(n.Pipe.Decl) > 0 { // $x := … writes nothing
		return at, nil
	}
	switch {
	case at.state == inText:
		p.escapers[n] = escapeText
	case at.state == inValue && addresses[at.attr]:
		p.escapers[n] = at.url.escaper() // the start stays one: the value may be empty
	case at.state == inValue && isPlain(at.attr):
		p.escapers[n] = escapeText
	default:
		return at, fmt.Errorf("line %d: %s stands where no value may stand; write it as text, or in a quoted attribute that holds words or an address", n.Line, n)
	}
	return at, nil
}

// after returns the place behind a text.
func (at place) after(text string) (place, error) {
	for text != "" {
		var err error
		switch at.state {
		case inText:
			at, text, err = at.text(text)
		case inTag:
			at, text, err = at.tag(text)
		case inValue:
			at, text = at.inValue(text)
		case inRaw:
			at, text = at.raw(text)
		}
		if err != nil {
			return at, err
		}
	}
	return at, nil
}

func (at place) text(s string) (place, string, error) {
	i := strings.IndexByte(s, '<')
	if i < 0 {
		return at, "", nil
	}
	s = s[i+1:]
	if strings.HasPrefix(s, "!--") {
		return at, "", errors.New("an HTML comment; write {{/* */}}")
	}
	rest := strings.TrimLeftFunc(s, func(r rune) bool { return isName(r) || r == '/' || r == '!' })
	if len(rest) == len(s) {
		return at, "", errors.New("a < opens no tag; write &lt;")
	}
	return place{state: inTag, element: strings.ToLower(s[:len(s)-len(rest)])}, rest, nil
}

// tag goes on to the next value, or to the end of the tag.
func (at place) tag(s string) (place, string, error) {
	switch c := s[0]; {
	case c == '>' && (at.element == "script" || at.element == "style"):
		return place{state: inRaw, element: at.element}, s[1:], nil
	case c == '>':
		return place{}, s[1:], nil
	case c == '"' || c == '\'':
		if !strings.HasSuffix(at.attr, "=") {
			return at, "", errors.New("a quote that follows no attribute")
		}
		return place{state: inValue, element: at.element, attr: strings.TrimSuffix(at.attr, "="), quote: c}, s[1:], nil
	case c == '=':
		at.attr += "="
	case isName(rune(c)):
		if attr, open := strings.CutSuffix(at.attr, "="); open {
			return at, "", fmt.Errorf("attribute %s without quotes; quote its value", attr)
		}
		at.attr += strings.ToLower(string(c))
	case strings.IndexByte(" \t\n/", c) >= 0: // ends a name that has no value
		at.attr = ""
	default:
		return at, "", fmt.Errorf("%q within a tag", c)
	}
	return at, s[1:], nil
}

func (at place) inValue(s string) (place, string) {
	value, rest, ends := strings.Cut(s, string(at.quote))
	if ends {
		return place{state: inTag, element: at.element}, rest
	}
	if addresses[at.attr] {
		at.url = at.url.after(value)
	}
	return at, ""
}

func (at place) raw(s string) (place, string) {
	i := strings.Index(strings.ToLower(s), "</"+at.element)
	if i < 0 {
		return at, ""
	}
	return place{state: inTag, element: "/" + at.element}, s[i+2+len(at.element):]
}

func isName(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == ':'
}
