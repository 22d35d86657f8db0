package page

import (
	"fmt"
	"io"
	"reflect"
	"slices"
	"text/template/parse"
)

// maxDepth bounds templates that call each other.
const maxDepth = 100

// execution draws one page. The first error ends it.
type execution struct {
	page  *Page
	out   io.Writer
	vars  []variable
	depth int
	err   error
}

type variable struct {
	name  string
	value reflect.Value
}

// valueOf is the value within an interface; the zero Value is nothing.
func valueOf(v any) reflect.Value { return inside(reflect.ValueOf(v)) }

func inside(v reflect.Value) reflect.Value {
	for v.Kind() == reflect.Interface {
		v = v.Elem()
	}
	return v
}

func (e *execution) fail(n parse.Node, format string, args ...any) reflect.Value {
	if e.err == nil {
		e.err = fmt.Errorf("draw %s: %w", n, fmt.Errorf(format, args...))
	}
	return reflect.Value{}
}

// call draws a template by its name.
func (e *execution) call(name string, dot reflect.Value, line int) {
	t := e.page.templates[name]
	if t == nil || e.depth >= maxDepth {
		e.err = fmt.Errorf("draw template %s of line %d: it is not defined, or calls itself without end", name, line)
		return
	}
	vars := e.vars
	e.vars = []variable{{"$", dot}}
	e.depth++
	e.walk(t.Root, dot)
	e.depth--
	e.vars = vars
}

func (e *execution) walk(n parse.Node, dot reflect.Value) {
	if e.err != nil {
		return
	}
	switch n := n.(type) {
	case *parse.ListNode:
		if n == nil {
			return
		}
		for _, child := range n.Nodes {
			e.walk(child, dot)
		}
	case *parse.TextNode:
		_, e.err = e.out.Write(n.Text)
	case *parse.ActionNode:
		v := e.pipe(n.Pipe, dot)
		if escape := e.page.escapers[n]; escape != nil && e.err == nil {
			_, e.err = io.WriteString(e.out, escape(v))
		}
	case *parse.IfNode:
		e.branch(&n.BranchNode, dot, func(reflect.Value) { e.walk(n.List, dot) })
	case *parse.WithNode:
		e.branch(&n.BranchNode, dot, func(v reflect.Value) { e.walk(n.List, v) })
	case *parse.RangeNode:
		e.branch(&n.BranchNode, dot, func(v reflect.Value) { e.each(n, v) })
	case *parse.TemplateNode:
		e.call(n.Name, e.pipe(n.Pipe, dot), n.Line)
	}
}

// branch takes the first list if the pipe says something, else the second. The
// variables of the pipe end with it.
func (e *execution) branch(n *parse.BranchNode, dot reflect.Value, first func(reflect.Value)) {
	mark := len(e.vars)
	if v := e.pipe(n.Pipe, dot); e.err == nil && says(v) {
		first(v)
	} else {
		e.walk(n.ElseList, dot)
	}
	e.vars = e.vars[:mark]
}

// each draws a list for every element; with variables they are its index and
// itself, or itself alone.
func (e *execution) each(n *parse.RangeNode, list reflect.Value) {
	if list.Kind() == reflect.Pointer {
		list = list.Elem()
	}
	if k := list.Kind(); k != reflect.Slice && k != reflect.Array {
		e.fail(n.Pipe, "range over %s; only lists can be", k)
		return
	}
	mark := len(e.vars)
	for i := range list.Len() {
		element := inside(list.Index(i))
		for k, d := range n.Pipe.Decl {
			v := element
			if k == 0 && len(n.Pipe.Decl) == 2 {
				v = reflect.ValueOf(i)
			}
			e.vars = append(e.vars, variable{d.Ident[0], v})
		}
		e.walk(n.List, element)
		e.vars = e.vars[:mark]
	}
}

// pipe evaluates one command, and keeps its value in the variable that it
// declares. A range declares by itself.
func (e *execution) pipe(p *parse.PipeNode, dot reflect.Value) reflect.Value {
	if p == nil {
		return reflect.Value{}
	}
	if len(p.Cmds) != 1 || p.IsAssign {
		return e.fail(p, "pipes and assignments are not for pages; call the function with its arguments")
	}
	v := e.command(p.Cmds[0], dot)
	if len(p.Decl) == 1 {
		e.vars = append(e.vars, variable{p.Decl[0].Ident[0], v})
	}
	return v
}

func (e *execution) command(c *parse.CommandNode, dot reflect.Value) reflect.Value {
	if id, ok := c.Args[0].(*parse.IdentifierNode); ok {
		return e.function(id, c.Args[1:], dot)
	}
	if len(c.Args) > 1 {
		return e.fail(c, "%s takes no arguments", c.Args[0])
	}
	return e.value(c.Args[0], dot)
}

func (e *execution) value(n parse.Node, dot reflect.Value) reflect.Value {
	if e.err != nil {
		return reflect.Value{}
	}
	switch n := n.(type) {
	case *parse.DotNode:
		return dot
	case *parse.FieldNode:
		return e.fields(n, dot, n.Ident)
	case *parse.VariableNode:
		for _, v := range slices.Backward(e.vars) {
			if v.name == n.Ident[0] {
				return e.fields(n, v.value, n.Ident[1:])
			}
		}
		return e.fail(n, "no such variable")
	case *parse.ChainNode:
		return e.fields(n, e.value(n.Node, dot), n.Field)
	case *parse.PipeNode:
		return e.pipe(n, dot)
	case *parse.IdentifierNode:
		return e.function(n, nil, dot)
	case *parse.StringNode:
		return reflect.ValueOf(n.Text)
	case *parse.BoolNode:
		return reflect.ValueOf(n.True)
	case *parse.NumberNode:
		if n.IsInt {
			return reflect.ValueOf(int(n.Int64))
		}
		return reflect.ValueOf(n.Float64)
	default:
		return e.fail(n, "this is not for pages")
	}
}

// fields goes from a value to what its fields, methods and keys hold.
func (e *execution) fields(n parse.Node, v reflect.Value, names []string) reflect.Value {
	for _, name := range names {
		if e.err != nil {
			return reflect.Value{}
		}
		v = e.field(n, v, name)
	}
	return v
}

func (e *execution) field(n parse.Node, v reflect.Value, name string) reflect.Value {
	if !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		return e.fail(n, "%s of nothing", name)
	}
	if method := e.page.options.Methods[name]; method != nil {
		if result, has := method(v.Interface()); has {
			return valueOf(result)
		}
	}
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	switch v.Kind() {
	case reflect.Struct:
		field, ok := v.Type().FieldByName(name)
		if !ok || !field.IsExported() {
			return e.fail(n, "%s has no field or method %s", v.Type(), name)
		}
		found, err := v.FieldByIndexErr(field.Index)
		if err != nil {
			return e.fail(n, "%s: %w", name, err)
		}
		return inside(found)
	case reflect.Map:
		return inside(v.MapIndex(reflect.ValueOf(name)))
	default:
		return e.fail(n, "%s has no field or method %s", v.Type(), name)
	}
}
