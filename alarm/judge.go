package alarm

import (
	"fmt"
	"slices"

	"edgeagent"
)

// kind is the type of a part of an expression, in words for its error.
type kind string

const (
	number  kind = "a number"
	truth   kind = "true or false"
	text    kind = "a text"
	anyKind kind = ""
)

// functions says what each function takes, in words for its error.
var functions = map[string]string{
	"abs": "one number", "min": "two numbers or more", "max": "two numbers or more",
	rateName: "the name of one tag, as in rate(level)",
}

// rateName is the one function that takes a tag, not a number.
const rateName = "rate"

const allowed = "allowed are comparison, + - * /, and, or, not, parentheses, rate(tag), abs(x), min(…) and max(…)"

// judge gives every part of a tree its kind, and refuses what fits no other.
type judge struct {
	tags *scope
	used names
}

// names are the tags that an expression uses.
type names struct {
	tags  []string // in the order of their first use
	rates []string // those within rate()
}

func (j *judge) whole(n *node) error {
	k, err := j.judge(n)
	switch {
	case err != nil:
		return err
	case k != truth:
		return fmt.Errorf("the expression is %s, not true or false; compare it, as in level > 80", k)
	case len(j.used.tags) == 0:
		return fmt.Errorf("the expression uses no tag, so that it never changes; name one of %s", j.tags.list())
	default:
		return nil
	}
}

func (j *judge) judge(n *node) (kind, error) {
	var err error
	switch n.form {
	case formTag:
		n.kind, err = j.tag(n)
	case formPrefix:
		n.kind = prefixes[n.name].takes
		err = j.must(n.args[0], n.kind, n.name)
	case formInfix:
		n.kind, err = infixes[n.name].gives, j.infix(n)
	case formFunction:
		n.kind, err = number, j.function(n)
	case formLiteral: // says its kind itself
	}
	return n.kind, err
}

func (j *judge) tag(n *node) (kind, error) {
	tag, ok := j.tags.find(n.name)
	if !ok {
		return "", at(n, j.tags.unknown(n.name))
	}
	if !slices.Contains(j.used.tags, n.name) {
		j.used.tags = append(j.used.tags, n.name)
	}
	return kindOf(tag), nil
}

func kindOf(t edgeagent.Tag) kind {
	switch t.Type {
	case edgeagent.TypeBool:
		return truth
	case edgeagent.TypeString:
		return text
	default:
		return number
	}
}

func (j *judge) infix(n *node) error {
	takes := infixes[n.name].takes
	if takes == anyKind {
		return j.equality(n)
	}
	if err := j.must(n.args[0], takes, n.name); err != nil {
		return err
	}
	return j.must(n.args[1], takes, n.name)
}

func (j *judge) equality(n *node) error {
	left, err := j.judge(n.args[0])
	if err != nil {
		return err
	}
	right, err := j.judge(n.args[1])
	switch {
	case err != nil || left == right:
		return err
	case left == truth || right == truth:
		return at(n, fmt.Sprintf("%s compares %s with %s; a tag that is true or false stands alone: running, not running", n.name, left, right))
	default:
		return at(n, fmt.Sprintf("%s compares %s with %s; both sides must be of one kind", n.name, left, right))
	}
}

func (j *judge) must(n *node, want kind, operator string) error {
	got, err := j.judge(n)
	if err != nil {
		return err
	}
	if got != want {
		return at(n, fmt.Sprintf("this is %s, but %s takes %s", got, operator, want))
	}
	return nil
}

func (j *judge) function(n *node) error {
	fits := len(n.args) >= 2
	switch n.name {
	case "abs":
		fits = len(n.args) == 1
	case rateName:
		fits = len(n.args) == 1 && n.args[0].form == formTag
	}
	if !fits {
		return at(n, n.name+" takes "+functions[n.name])
	}
	for _, a := range n.args {
		if err := j.must(a, number, n.name); err != nil {
			return err
		}
	}
	if n.name == rateName && !slices.Contains(j.used.rates, n.args[0].name) {
		j.used.rates = append(j.used.rates, n.args[0].name)
	}
	return nil
}

func at(n *node, message string) error {
	return fmt.Errorf("column %d: %s", n.column, message)
}
