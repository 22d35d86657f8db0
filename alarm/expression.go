package alarm

import (
	"fmt"
	"slices"
	"unicode/utf8"

	"edgeagent"
)

// maxExpression bounds the recursion of the parser; a condition that a person
// can check is far shorter.
const maxExpression = 1000

// Check compiles an expression over the tags of one device. It allows
// comparison, arithmetic (+ - * /), and, or, not, parentheses, and the functions
// rate(tag) per second, abs, min and max; the result must be true or false. The
// error says where and what to do.
func Check(expression string, tags []edgeagent.Tag) error {
	_, err := newScope(tags).compile(expression)
	return err
}

// read returns the tree of an expression, and the tags that it uses.
func read(expression string, tags *scope) (*node, names, error) {
	if utf8.RuneCountInString(expression) > maxExpression {
		return nil, names{}, tooLong(expression)
	}
	tree, err := parse(expression)
	if err != nil {
		return nil, names{}, err
	}
	j := judge{tags: tags}
	err = j.whole(tree)
	return tree, j.used, err
}

func tooLong(expression string) error {
	return fmt.Errorf("the expression has %d characters; at most %d can be checked by a person", utf8.RuneCountInString(expression), maxExpression)
}

// condition is an expression bound to the signals of its device.
type condition struct {
	when      func() bool
	undefined *bool // set by a division that has no answer
	signals   []*signal
	rates     []*signal
}

// holds evaluates the condition over what its signals hold. It is not known
// where something was divided by zero: an alarm must not rest on a number that
// is none.
func (c *condition) holds() (holds, known bool) {
	*c.undefined = false
	holds = c.when()
	return holds && !*c.undefined, !*c.undefined
}

// unread reports whether a value that the condition rests on, or a rate, is
// missing only because nothing has been read since the start.
func (c *condition) unread() bool {
	return !c.rated() || slices.ContainsFunc(c.signals, func(s *signal) bool { return s.unread })
}

// rated reports whether every rate that the condition asks for, if there is
// one, has been measured.
func (c *condition) rated() bool {
	return c == nil || !slices.ContainsFunc(c.rates, func(s *signal) bool { return !s.rateKnown })
}
