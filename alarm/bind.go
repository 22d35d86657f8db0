package alarm

import "math"

// binder turns a judged tree into closures over the signals of a scope. What
// they need is settled here, so that an evaluation allocates nothing and looks
// nothing up.
type binder struct {
	scope     *scope
	undefined *bool // see [condition]
}

func (b binder) truth(n *node) func() bool {
	switch n.form {
	case formTag:
		s := b.scope.signal(n.name)
		return func() bool { return s.truth }
	case formPrefix:
		of := b.truth(n.args[0])
		return func() bool { return !of() }
	case formInfix:
		return b.decide(n)
	default:
		literal := n.truth
		return func() bool { return literal }
	}
}

// decide binds an operator that gives true or false.
func (b binder) decide(n *node) func() bool {
	switch n.args[0].kind {
	case truth:
		return logic(n.name, b.truth(n.args[0]), b.truth(n.args[1]))
	case text:
		x, y, equal := b.text(n.args[0]), b.text(n.args[1]), n.name == "=="
		return func() bool { return (x() == y()) == equal }
	default:
		return compare(n.name, b.number(n.args[0]), b.number(n.args[1]))
	}
}

// logic does not ask the second side where the first has decided.
func logic(operator string, x, y func() bool) func() bool {
	switch operator {
	case "and", "&&":
		return func() bool { return x() && y() }
	case "or", "||":
		return func() bool { return x() || y() }
	case "==":
		return func() bool { return x() == y() }
	default: // !=
		return func() bool { return x() != y() }
	}
}

func compare(operator string, x, y func() float64) func() bool {
	switch operator {
	case "<":
		return func() bool { return x() < y() }
	case "<=":
		return func() bool { return x() <= y() }
	case ">":
		return func() bool { return x() > y() }
	case ">=":
		return func() bool { return x() >= y() }
	case "==":
		return func() bool { return x() == y() }
	default: // !=
		return func() bool { return x() != y() }
	}
}

func (b binder) text(n *node) func() string {
	if n.form == formTag {
		s := b.scope.signal(n.name)
		return func() string { return s.text }
	}
	literal := n.name
	return func() string { return literal }
}

func (b binder) number(n *node) func() float64 {
	switch n.form {
	case formTag:
		s := b.scope.signal(n.name)
		return func() float64 { return s.float }
	case formPrefix:
		return sign(n.name, b.number(n.args[0]))
	case formInfix:
		return b.arithmetic(n.name, b.number(n.args[0]), b.number(n.args[1]))
	case formFunction:
		return b.function(n)
	default:
		literal := n.number
		return func() float64 { return literal }
	}
}

func sign(operator string, x func() float64) func() float64 {
	if operator == "-" {
		return func() float64 { return -x() }
	}
	return x
}

func (b binder) arithmetic(operator string, x, y func() float64) func() float64 {
	switch operator {
	case "+":
		return func() float64 { return x() + y() }
	case "-":
		return func() float64 { return x() - y() }
	case "*":
		return func() float64 { return x() * y() }
	default: // /
		return func() float64 { return b.divide(x(), y()) }
	}
}

// divide refuses to divide by zero: infinity and NaN would compare somehow.
func (b binder) divide(x, y float64) float64 {
	q := x / y
	if math.IsInf(q, 0) || math.IsNaN(q) {
		*b.undefined = true
	}
	return q
}

func (b binder) function(n *node) func() float64 {
	if n.name == rateName {
		s := b.scope.signal(n.args[0].name)
		return func() float64 { return s.rate }
	}
	args := make([]func() float64, len(n.args))
	for i, a := range n.args {
		args[i] = b.number(a)
	}
	switch n.name {
	case "abs":
		return func() float64 { return math.Abs(args[0]()) }
	case "min":
		return extreme(args, func(x, best float64) bool { return x < best })
	default: // max
		return extreme(args, func(x, best float64) bool { return x > best })
	}
}

func extreme(of []func() float64, better func(x, best float64) bool) func() float64 {
	return func() float64 {
		best := of[0]()
		for _, f := range of[1:] {
			if x := f(); better(x, best) {
				best = x
			}
		}
		return best
	}
}
