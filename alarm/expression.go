package alarm

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"unicode/utf8"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/vm"

	"edgeagent"
)

// maxExpression bounds the recursion of the parser; a condition that a person
// can check is far shorter.
const maxExpression = 1000

// Names in a compiled program. No tag begins with a capital, so that a tag may
// be called like a word of the language.
const (
	valueName = "T" // + tag
	rateName  = "R" // + tag
	divideBy  = "Divide"
)

// errDivision ends an evaluation that has no answer.
var errDivision = errors.New("division by zero")

// Check compiles an expression over the tags of one device. It allows
// comparison, arithmetic (+ - * /), and, or, not, parentheses, and the functions
// rate(tag) per second, abs, min and max; the result must be true or false. The
// error says where and what to do.
func Check(expression string, tags []edgeagent.Tag) error {
	_, _, err := compile(expression, newScope(tags))
	return err
}

// names are the tags that an expression uses.
type names struct {
	tags  []string // in the order of their first use
	rates []string // those within rate()
}

func compile(expression string, tags *scope) (*vm.Program, names, error) {
	if utf8.RuneCountInString(expression) > maxExpression {
		return nil, names{}, tooLong(expression)
	}
	tree, err := parser.Parse(expression)
	if err != nil {
		return nil, names{}, syntax(err)
	}
	j := judge{tags: tags}
	if err := j.whole(tree.Node); err != nil {
		return nil, names{}, err
	}
	program, err := expr.Compile(expression, expr.Env(j.environment()), expr.AsBool(), expr.Patch(translate{}),
		expr.Function(divideBy, divide, new(func(float64, float64) float64)))
	if err != nil {
		return nil, names{}, syntax(err)
	}
	return program, j.used, nil
}

// syntax says where the text stops being an expression, on one line.
func syntax(err error) error {
	var at *file.Error
	if !errors.As(err, &at) {
		return fmt.Errorf("not an expression: %w", err)
	}
	return fmt.Errorf("column %d: %s; write a comparison such as level > 80", at.Column+1, at.Message)
}

// divide refuses to divide by zero: infinity and NaN would compare somehow, and
// an alarm must not rest on a number that is none.
func divide(args ...any) (any, error) {
	x, _ := args[0].(float64)
	y, _ := args[1].(float64)
	if q := x / y; !math.IsInf(q, 0) && !math.IsNaN(q) {
		return q, nil
	}
	return nil, errDivision
}

// translate turns a judged tree into what the engine feeds: numbers are
// floats, tags have their names in the environment.
type translate struct{}

// Visit implements [ast.Visitor]. A node of "1 < x < 3" is visited twice.
func (translate) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.IntegerNode:
		ast.Patch(node, &ast.FloatNode{Value: float64(n.Value)})
	case *ast.IdentifierNode:
		if first := n.Value[0]; first < 'A' || first > 'Z' {
			ast.Patch(node, &ast.IdentifierNode{Value: valueName + n.Value})
		}
	case *ast.CallNode:
		if tag, ok := rateOf(n); ok {
			ast.Patch(node, &ast.IdentifierNode{Value: rateName + tag[len(valueName):]})
		}
	case *ast.BinaryNode:
		if n.Operator == "/" {
			ast.Patch(node, &ast.CallNode{Callee: &ast.IdentifierNode{Value: divideBy}, Arguments: []ast.Node{n.Left, n.Right}})
		}
	}
}

// rateOf returns the argument of rate(tag).
func rateOf(n *ast.CallNode) (string, bool) {
	callee, ok := n.Callee.(*ast.IdentifierNode)
	if !ok || callee.Value != "rate" && callee.Value != valueName+"rate" || len(n.Arguments) != 1 {
		return "", false
	}
	arg, ok := n.Arguments[0].(*ast.IdentifierNode)
	if !ok {
		return "", false
	}
	return arg.Value, true
}

// condition is a compiled expression bound to the signals of its device.
type condition struct {
	program *vm.Program
	signals []*signal
	rates   []*signal
	env     map[string]any // of the scope
}

// holds evaluates the condition over what its signals hold.
func (c *condition) holds(m *vm.VM) (bool, error) {
	out, err := m.Run(c.program, c.env)
	if err != nil {
		return false, fmt.Errorf("evaluate: %w", err)
	}
	b, _ := out.(bool)
	return b, nil
}

// rated reports whether every rate that the condition asks for, if there is
// one, has been measured.
func (c *condition) rated() bool {
	return c == nil || !slices.ContainsFunc(c.rates, func(s *signal) bool { return !s.rateKnown })
}

func tooLong(expression string) error {
	return fmt.Errorf("the expression has %d characters; at most %d can be checked by a person", utf8.RuneCountInString(expression), maxExpression)
}
