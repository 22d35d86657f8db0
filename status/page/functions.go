package page

import (
	"reflect"
	"text/template/parse"
)

// builtins names the functions of text/template that pages use.
var builtins = map[string]any{
	"and": true, "or": true, "not": true, "eq": true, "ne": true, "gt": true, "len": true, "index": true, "slice": true,
}

func (e *execution) function(n *parse.IdentifierNode, args []parse.Node, dot reflect.Value) reflect.Value {
	if n.Ident == "and" || n.Ident == "or" {
		return e.decide(n, args, dot)
	}
	values := make([]reflect.Value, len(args))
	for i, a := range args {
		values[i] = e.value(a, dot)
	}
	if e.err != nil {
		return reflect.Value{}
	}
	if f, ok := e.page.options.Funcs[n.Ident]; ok {
		return e.apply(n, reflect.ValueOf(f), values)
	}
	takes := 2
	if n.Ident == "not" || n.Ident == "len" {
		takes = 1
	}
	if len(values) != takes {
		return e.fail(n, "it takes %d arguments", takes)
	}
	return e.builtin(n, values)
}

// decide is the first argument that says nothing (and), or something (or); the
// last if none does.
func (e *execution) decide(n *parse.IdentifierNode, args []parse.Node, dot reflect.Value) reflect.Value {
	var v reflect.Value
	for _, a := range args {
		if v = e.value(a, dot); e.err != nil || says(v) == (n.Ident == "or") {
			break
		}
	}
	return v
}

func (e *execution) builtin(n *parse.IdentifierNode, v []reflect.Value) reflect.Value {
	switch n.Ident {
	case "not":
		return reflect.ValueOf(!says(v[0]))
	case "eq", "ne":
		same, ok := equal(v[0], v[1])
		if !ok {
			return e.fail(n, "values of two kinds, or of one that cannot be compared")
		}
		return reflect.ValueOf(same == (n.Ident == "eq"))
	case "gt":
		if !v[0].CanInt() || !v[1].CanInt() {
			return e.fail(n, "gt compares whole numbers")
		}
		return reflect.ValueOf(v[0].Int() > v[1].Int())
	case "len":
		if !hasLength(v[0]) {
			return e.fail(n, "len of what has none")
		}
		return reflect.ValueOf(v[0].Len())
	default:
		return e.part(n, v[0], v[1])
	}
}

// part is an element of a list (index), or all from there (slice).
func (e *execution) part(n *parse.IdentifierNode, list, at reflect.Value) reflect.Value {
	if list.Kind() != reflect.Slice || !at.CanInt() || at.Int() < 0 || at.Int() > int64(list.Len()) {
		return e.fail(n, "no such part of the list")
	}
	if n.Ident == "slice" {
		return list.Slice(int(at.Int()), list.Len())
	}
	if at.Int() == int64(list.Len()) {
		return e.fail(n, "no such part of the list")
	}
	return inside(list.Index(int(at.Int())))
}

// apply calls a function of the options.
func (e *execution) apply(n *parse.IdentifierNode, f reflect.Value, args []reflect.Value) reflect.Value {
	t := f.Type()
	if len(args) != t.NumIn() && (!t.IsVariadic() || len(args) < t.NumIn()-1) {
		return e.fail(n, "it takes %d arguments", t.NumIn())
	}
	for i, a := range args {
		want := t.In(min(i, t.NumIn()-1))
		if t.IsVariadic() && i >= t.NumIn()-1 {
			want = want.Elem()
		}
		switch {
		case !a.IsValid():
			args[i] = reflect.Zero(want)
		case a.Kind() == reflect.Pointer && !a.Type().AssignableTo(want) && !a.IsNil() && a.Elem().Type().AssignableTo(want):
			args[i] = a.Elem()
		case !a.Type().AssignableTo(want):
			return e.fail(n, "argument %d is %s, want %s", i+1, a.Type(), want)
		}
	}
	return inside(f.Call(args)[0])
}

// says reports whether a value says something: not zero, not empty.
func says(v reflect.Value) bool {
	switch {
	case !v.IsValid():
		return false
	case hasLength(v):
		return v.Len() > 0
	case v.Kind() == reflect.Struct:
		return true
	default:
		return !v.IsZero()
	}
}

func hasLength(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Slice, reflect.Array, reflect.Map, reflect.String:
		return true
	default:
		return false
	}
}

// equal compares two values of one kind, whatever their types are called.
func equal(a, b reflect.Value) (same, ok bool) {
	switch {
	case !a.IsValid() || !b.IsValid():
		return false, false
	case a.CanInt() && b.CanInt():
		return a.Int() == b.Int(), true
	case a.Kind() == reflect.String && b.Kind() == reflect.String:
		return a.String() == b.String(), true
	case a.Kind() == reflect.Bool && b.Kind() == reflect.Bool:
		return a.Bool() == b.Bool(), true
	default:
		return false, false
	}
}
