package alarm

import (
	"fmt"
	"slices"
	"strings"

	"edgeagent"
	"edgeagent/internal/spelling"
)

// scope is the tags that an expression may name, and what the engine feeds it
// with.
type scope struct {
	tags    []edgeagent.Tag
	names   []string       // of the tags, as expressions write them; nil: their own
	index   map[string]int // of names; nil: a single look goes through them all
	whose   string         // for errors; empty: tags are named DEVICE.TAG
	signals map[string]*signal
}

// newScope is the scope of one device, for one expression: it is made for every
// alarm of thousands of tags, and copies none of them.
func newScope(tags []edgeagent.Tag) *scope {
	return &scope{tags: tags, whose: "this device", signals: map[string]*signal{}}
}

func emptyScope(whose string) *scope {
	return &scope{index: map[string]int{}, whose: whose, signals: map[string]*signal{}}
}

func (s *scope) add(name string, t edgeagent.Tag) {
	if _, twice := s.index[name]; !twice {
		s.index[name] = len(s.tags)
	}
	s.tags, s.names = append(s.tags, t), append(s.names, name)
}

func (s *scope) find(name string) (edgeagent.Tag, bool) {
	i, ok := s.index[name]
	if s.index == nil {
		i = slices.IndexFunc(s.tags, func(t edgeagent.Tag) bool { return t.Name == name })
		ok = i >= 0
	}
	if !ok {
		return edgeagent.Tag{}, false
	}
	return s.tags[i], true
}

// known returns the names that an expression may use.
func (s *scope) known() []string {
	if s.names != nil {
		return s.names
	}
	out := make([]string, len(s.tags))
	for i, t := range s.tags {
		out[i] = t.Name
	}
	return out
}

// compile binds an expression to the signals of the scope.
func (s *scope) compile(expression string) (*condition, error) {
	tree, used, err := read(expression, s)
	if err != nil {
		return nil, err
	}
	c := &condition{undefined: new(bool)}
	c.when = binder{s, c.undefined}.truth(tree)
	for _, name := range used.tags {
		c.signals = append(c.signals, s.signal(name))
	}
	for _, name := range used.rates {
		x := s.signal(name)
		x.rateAsked = true
		c.rates = append(c.rates, x)
	}
	return c, nil
}

// signal returns the signal of a tag that is in the scope.
func (s *scope) signal(name string) *signal {
	if x := s.signals[name]; x != nil {
		return x
	}
	tag, _ := s.find(name)
	x := &signal{tag: tag}
	s.signals[name] = x
	return x
}

func (s *scope) unknown(name string) string {
	if best := spelling.Nearest(name, s.known()); best != "" {
		return fmt.Sprintf("unknown tag %q; did you mean %q?", name, best)
	}
	if s.whose == "" {
		return fmt.Sprintf("unknown tag %q; write %s", name, s.list())
	}
	return fmt.Sprintf("unknown tag %q; %s has %s", name, s.whose, s.list())
}

// list names up to eight tags.
func (s *scope) list() string {
	switch {
	case s.whose == "":
		return "DEVICE.TAG, such as filler.state"
	case len(s.tags) == 0:
		return "no tags"
	}
	names := s.known()
	out := strings.Join(names[:min(len(names), 8)], ", ")
	if len(names) > 8 {
		out += ", …"
	}
	return out
}

// signals holds the scope of every device.
type signals struct{ scopes map[string]*scope }

func newSignals(tags []edgeagent.Tag) *signals {
	p := &signals{scopes: map[string]*scope{}}
	for _, t := range tags {
		p.device(t.Device).add(t.Name, t)
	}
	return p
}

func (p *signals) device(name string) *scope {
	if p.scopes[name] == nil {
		p.scopes[name] = emptyScope("this device")
	}
	return p.scopes[name]
}

// compile binds an expression to the signals of a device.
func (p *signals) compile(device, expression string) (*condition, error) {
	c, err := p.device(device).compile(expression)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", expression, err)
	}
	return c, nil
}
