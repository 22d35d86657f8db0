package alarm

import (
	"fmt"
	"slices"

	"github.com/expr-lang/expr/ast"

	"edgeagent"
)

// kind is the type of a part of an expression, in words for its error.
type kind string

const (
	number kind = "a number"
	truth  kind = "true or false"
	text   kind = "a text"
)

// operators says what each binary operator takes and gives. Equality is apart:
// it takes any two of one kind.
var operators = map[string]struct{ takes, gives kind }{
	"+": {number, number}, "-": {number, number}, "*": {number, number}, "/": {number, number},
	"<": {number, truth}, "<=": {number, truth}, ">": {number, truth}, ">=": {number, truth},
	"and": {truth, truth}, "&&": {truth, truth}, "or": {truth, truth}, "||": {truth, truth},
}

var unary = map[string]kind{"-": number, "+": number, "not": truth, "!": truth}

const allowed = "allowed are comparison, + - * /, and, or, not, parentheses, rate(tag), abs(x), min(…) and max(…)"

// judge walks a tree and refuses what is not in the subset. The language
// behind it can do much more; what alarms may do is decided here alone.
type judge struct {
	tags *scope
	used names
}

func (j *judge) whole(n ast.Node) error {
	k, err := j.kind(n)
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

func (j *judge) kind(n ast.Node) (kind, error) {
	switch n := n.(type) {
	case *ast.IntegerNode, *ast.FloatNode:
		return number, nil
	case *ast.BoolNode:
		return truth, nil
	case *ast.StringNode:
		return text, nil
	case *ast.IdentifierNode:
		return j.tag(n)
	case *ast.UnaryNode:
		return j.unary(n)
	case *ast.BinaryNode:
		return j.binary(n)
	case *ast.BuiltinNode:
		return j.function(n, n.Name, n.Arguments)
	case *ast.CallNode:
		return j.call(n)
	case *ast.MemberNode:
		return "", at(n, "a point or bracket reaches into a value; name a tag of this device alone, without the device")
	default:
		return "", at(n, "this is no part of a condition; "+allowed)
	}
}

func (j *judge) tag(n *ast.IdentifierNode) (kind, error) {
	tag, ok := j.tags.find(n.Value)
	if !ok {
		return "", at(n, j.tags.unknown(n.Value))
	}
	if !slices.Contains(j.used.tags, n.Value) {
		j.used.tags = append(j.used.tags, n.Value)
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

func (j *judge) unary(n *ast.UnaryNode) (kind, error) {
	k, known := unary[n.Operator]
	if !known {
		return "", at(n, fmt.Sprintf("operator %s is not for conditions; %s", n.Operator, allowed))
	}
	return k, j.must(n.Node, k, n.Operator)
}

func (j *judge) binary(n *ast.BinaryNode) (kind, error) {
	if n.Operator == "==" || n.Operator == "!=" {
		return truth, j.equality(n)
	}
	op, known := operators[n.Operator]
	if !known {
		return "", at(n, fmt.Sprintf("operator %s is not for conditions; %s", n.Operator, allowed))
	}
	if err := j.must(n.Left, op.takes, n.Operator); err != nil {
		return "", err
	}
	return op.gives, j.must(n.Right, op.takes, n.Operator)
}

func (j *judge) equality(n *ast.BinaryNode) error {
	left, err := j.kind(n.Left)
	if err != nil {
		return err
	}
	right, err := j.kind(n.Right)
	if err != nil {
		return err
	}
	if left == right {
		return nil
	}
	if left == truth || right == truth {
		return at(n, fmt.Sprintf("%s compares %s with %s; a tag that is true or false stands alone: running, not running", n.Operator, left, right))
	}
	return at(n, fmt.Sprintf("%s compares %s with %s; both sides must be of one kind", n.Operator, left, right))
}

func (j *judge) must(n ast.Node, want kind, operator string) error {
	got, err := j.kind(n)
	if err != nil {
		return err
	}
	if got != want {
		return at(n, fmt.Sprintf("this is %s, but %s takes %s", got, operator, want))
	}
	return nil
}

func (j *judge) call(n *ast.CallNode) (kind, error) {
	callee, ok := n.Callee.(*ast.IdentifierNode)
	if !ok {
		return "", at(n, "this cannot be called; "+allowed)
	}
	if callee.Value != "rate" {
		return j.function(n, callee.Value, n.Arguments)
	}
	tag, ok := rateOf(n)
	if !ok {
		return "", at(n, "rate takes the name of one tag, as in rate(level)")
	}
	if err := j.must(n.Arguments[0], number, "rate"); err != nil {
		return "", err
	}
	if !slices.Contains(j.used.rates, tag) {
		j.used.rates = append(j.used.rates, tag)
	}
	return number, nil
}

func (j *judge) function(n ast.Node, name string, args []ast.Node) (kind, error) {
	switch {
	case name != "abs" && name != "min" && name != "max":
		return "", at(n, fmt.Sprintf("function %s is not for conditions; %s", name, allowed))
	case name == "abs" && len(args) != 1:
		return "", at(n, "abs takes one number")
	case name != "abs" && len(args) < 2:
		return "", at(n, name+" takes two numbers or more")
	}
	for _, a := range args {
		if err := j.must(a, number, name); err != nil {
			return "", err
		}
	}
	return number, nil
}

// environment is what the compiler types the translated names with.
func (j *judge) environment() map[string]any {
	env := map[string]any{}
	for _, name := range j.used.tags {
		tag, _ := j.tags.find(name)
		env[valueName+name] = zero(tag)
	}
	for _, name := range j.used.rates {
		env[rateName+name] = 0.0
	}
	return env
}

func zero(t edgeagent.Tag) any {
	switch kindOf(t) {
	case truth:
		return false
	case text:
		return ""
	default:
		return 0.0
	}
}

func at(n ast.Node, message string) error {
	return fmt.Errorf("column %d: %s", n.Location().From+1, message)
}
