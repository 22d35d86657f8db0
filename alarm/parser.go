package alarm

import "fmt"

// form is what a part of an expression is.
type form uint8

const (
	formLiteral form = iota // number, text or truth, by kind
	formTag
	formPrefix
	formInfix
	formFunction
)

// node is a part of an expression.
type node struct {
	form   form
	name   string // of the operator, function or tag; of a text what it says
	column int    // in characters, from 1
	args   []*node
	number float64
	truth  bool
	kind   kind // of literals; of all others once they are judged
}

// How tightly operators bind. "not" binds tighter than a comparison, as in the
// language that conditions were first written in: not level > 80 is refused,
// because level is not true or false.
const (
	bindNot  = 50
	bindSign = 90
)

var prefixes = map[string]struct {
	binds int
	takes kind
}{"not": {bindNot, truth}, "!": {bindNot, truth}, "-": {bindSign, number}, "+": {bindSign, number}}

// infixes says how tightly each operator between two values binds, and what it
// takes and gives. Equality takes any two of one kind.
var infixes = map[string]struct {
	binds       int
	takes       kind
	gives       kind
	comparisons bool // a < b < c is a < b and b < c
}{
	"or": {10, truth, truth, false}, "||": {10, truth, truth, false},
	"and": {15, truth, truth, false}, "&&": {15, truth, truth, false},
	"==": {20, anyKind, truth, false}, "!=": {20, anyKind, truth, false},
	"<": {20, number, truth, true}, "<=": {20, number, truth, true},
	">": {20, number, truth, true}, ">=": {20, number, truth, true},
	"+": {30, number, number, false}, "-": {30, number, number, false},
	"*": {60, number, number, false}, "/": {60, number, number, false},
}

// parser makes a tree of words by the binding power of operators (Pratt). Its
// depth is bounded by the length of an expression.
type parser struct {
	tokens []token // never empty: the end stays
}

func parse(expression string) (*node, error) {
	tokens, err := lex(expression)
	if err != nil {
		return nil, err
	}
	p := parser{tokens}
	n, err := p.expression(0)
	if err != nil {
		return nil, err
	}
	if t := p.now(); t.kind != tokenEnd {
		return nil, misplaced(t)
	}
	return n, nil
}

func (p *parser) now() token { return p.tokens[0] }

func (p *parser) take() token {
	t := p.tokens[0]
	if t.kind != tokenEnd {
		p.tokens = p.tokens[1:]
	}
	return t
}

// expression reads a value and all operators behind it that bind at least so
// tightly.
func (p *parser) expression(least int) (*node, error) {
	left, err := p.value()
	for err == nil {
		t := p.now()
		op, known := infixes[t.text]
		switch {
		case t.kind != tokenOperator || !known:
			return left, refuse(t)
		case op.binds < least:
			return left, nil
		case op.comparisons:
			left, err = p.chain(left)
		default:
			left, err = p.infix(left, p.take())
		}
	}
	return nil, err
}

func (p *parser) infix(left *node, op token) (*node, error) {
	right, err := p.expression(infixes[op.text].binds + 1)
	return &node{form: formInfix, name: op.text, column: op.column, args: []*node{left, right}}, err
}

// chain reads a comparison; 1 < x < 3 is 1 < x and x < 3.
func (p *parser) chain(left *node) (*node, error) {
	var whole *node
	for p.now().kind == tokenOperator && infixes[p.now().text].comparisons {
		next, err := p.infix(left, p.take())
		if err != nil {
			return nil, err
		}
		left = next.args[1]
		if whole != nil {
			next = &node{form: formInfix, name: "and", column: next.column, args: []*node{whole, next}}
		}
		whole = next
	}
	return whole, nil
}

func (p *parser) value() (*node, error) {
	t := p.take()
	switch t.kind {
	case tokenNumber:
		return &node{form: formLiteral, column: t.column, kind: number, number: t.number}, nil
	case tokenText:
		return &node{form: formLiteral, column: t.column, kind: text, name: t.text}, nil
	case tokenName:
		return p.name(t)
	case tokenOperator:
		return p.operator(t)
	default:
		return nil, t.fault("the expression ends where a value should stand; write a comparison such as level > 80")
	}
}

func (p *parser) name(t token) (*node, error) {
	switch {
	case t.text == "true" || t.text == "false":
		return &node{form: formLiteral, column: t.column, kind: truth, truth: t.text == "true"}, nil
	case t.text == "nil":
		return nil, t.fault("this is no part of a condition; " + allowed)
	case p.now().is("("):
		return p.call(t)
	default:
		return &node{form: formTag, name: t.text, column: t.column}, nil
	}
}

func (p *parser) operator(t token) (*node, error) {
	if t.text == "(" {
		inner, err := p.expression(0)
		if err != nil {
			return nil, err
		}
		return inner, p.closed(t)
	}
	if op, known := prefixes[t.text]; known {
		operand, err := p.expression(op.binds)
		return &node{form: formPrefix, name: t.text, column: t.column, args: []*node{operand}}, err
	}
	if _, known := infixes[t.text]; known || t.text == ")" || t.text == "," {
		return nil, t.fault(fmt.Sprintf("%s stands where a value should; write a comparison such as level > 80", t.text))
	}
	return nil, t.fault("this is no part of a condition; " + allowed)
}

// call reads the arguments of a function. A comma may follow the last.
func (p *parser) call(name token) (*node, error) {
	if _, known := functions[name.text]; !known {
		return nil, name.fault(fmt.Sprintf("function %s is not for conditions; %s", name.text, allowed))
	}
	n := &node{form: formFunction, name: name.text, column: name.column}
	open := p.take()
	for !p.now().is(")") {
		arg, err := p.expression(0)
		if err != nil {
			return nil, err
		}
		n.args = append(n.args, arg)
		if !p.now().is(",") {
			break
		}
		p.take()
	}
	return n, p.closed(open)
}

// closed takes the parenthesis that closes one.
func (p *parser) closed(open token) error {
	switch t := p.take(); {
	case t.is(")"):
		return nil
	case t.kind == tokenEnd:
		return open.fault("this parenthesis is not closed; write ) where it ends")
	default:
		return misplaced(t)
	}
}

// refuse says what is wrong with an operator that no condition has; what ends
// a value is left to who began it.
func refuse(t token) error {
	if t.kind != tokenOperator {
		return nil
	}
	switch t.text {
	case ")", ",":
		return nil
	case ".", "?.", "[":
		return t.fault("a point or bracket reaches into a value; name a tag of this device alone, without the device")
	case "=":
		return t.fault("operator = is not for conditions; write == to compare")
	case "(", "!", "not", "?", ":", ";", "]", "{", "}", "let", "if", "else", "#":
		return t.fault("this is no part of a condition; " + allowed)
	default:
		return t.fault(fmt.Sprintf("operator %s is not for conditions; %s", t.text, allowed))
	}
}

// misplaced says what is wrong with a word behind a value.
func misplaced(t token) error {
	switch {
	case t.is(")"):
		return t.fault(") closes nothing; remove it")
	case t.is(","):
		return t.fault("a comma stands between the values of a function alone; remove it")
	default:
		return t.fault("a value stands behind another; put an operator between them, such as and")
	}
}

func (t token) fault(message string) error {
	return fmt.Errorf("column %d: %s", t.column, message)
}
