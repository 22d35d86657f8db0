// Package page draws HTML from the templates of Go, with every value escaped
// for where it stands.
//
// It is html/template without two things. It calls no method by a name that is
// known only at run time: one such call anywhere makes the linker keep every
// exported method of every type, 2 MB of them in this binary. And it knows the
// few places of HTML where a page of ours may put a value (text, quoted
// attributes, addresses); a template that puts one elsewhere is refused when it
// is parsed, not escaped by rules that nobody here has tested. What it draws is
// byte for byte what html/template draws.
package page

import (
	"fmt"
	"io"
	"io/fs"
	"text/template/parse"
)

// Method reads what a template writes like a field, and is a method. It reports
// false for a value that has none of that name.
type Method func(v any) (any, bool)

// Options are what templates may use besides their data.
type Options struct {
	// Funcs are functions of one result. Those of text/template that work: and,
	// or, not, eq, ne, gt, len, index and slice.
	Funcs map[string]any
	// Methods by name.
	Methods map[string]Method
}

// URL is an address that the program made itself: its scheme is not asked.
type URL string

// Page is a set of parsed templates. It is safe for concurrent use.
type Page struct {
	options   Options
	templates map[string]*parse.Tree
	escapers  map[parse.Node]escaper
}

// Parse reads the templates of files. It refuses values in places for which
// there is no escaping, and branches that do not end where they began. The
// error names the template and the line.
func Parse(files fs.FS, o Options, names ...string) (*Page, error) {
	p := &Page{options: o, templates: map[string]*parse.Tree{}, escapers: map[parse.Node]escaper{}}
	for _, name := range names {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, fmt.Errorf("read template: %w", err)
		}
		if _, err := parse.New(name).Parse(string(text), "", "", p.templates, builtins, o.Funcs); err != nil {
			return nil, fmt.Errorf("parse template: %w", err)
		}
	}
	for _, t := range p.templates {
		if err := p.place(t); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// Must is for templates that are part of the program.
func Must(p *Page, err error) *Page {
	if err != nil {
		panic(err)
	}
	return p
}

// Execute draws a template. After an error a part of it may have been written.
func (p *Page) Execute(w io.Writer, name string, data any) error {
	e := &execution{page: p, out: w}
	e.call(name, valueOf(data), 0)
	return e.err
}
