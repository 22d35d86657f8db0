package config

import (
	"fmt"
	"math"
	"regexp"
	"strings"
)

// vars fill the placeholders of a template for one device.
type vars struct {
	texts map[string]string
	used  map[string]bool // shared by the rows of a list
	names []string
	from  value // how numbers are written in the list
}

func (v *vars) set(name, text string) {
	if _, twice := v.texts[name]; !twice {
		v.names = append(v.names, name)
	}
	v.texts[name] = text
}

var (
	braces           = regexp.MustCompile(`\{\{|\}\}|\{[^{}]*\}|[{}]`)
	wholePlaceholder = regexp.MustCompile(`^\{[^{}]*\}$`)
	operand          = regexp.MustCompile(`^\s*([+-]?)\s*([A-Za-z0-9_]+)`)
)

// filled returns a text with its placeholders filled in; {{ and }} are braces.
func (v *vars) filled(text string) (string, error) {
	var fault error
	out := braces.ReplaceAllStringFunc(text, func(m string) string {
		switch m {
		case "{{":
			return "{"
		case "}}":
			return "}"
		case "{", "}":
			fault = fmt.Errorf("a lone %s stands in %s; write it twice when it is no placeholder", m, quote(text))
			return m
		}
		s, err := v.placeholder(m)
		if err != nil {
			fault = err
		}
		return s
	})
	return out, fault
}

// placeholder returns what {base}, {base+12} or {base+step-1} stands for.
func (v *vars) placeholder(m string) (string, error) {
	body := strings.TrimSpace(m[1 : len(m)-1])
	if columnName.MatchString(body) {
		return v.lookup(m, body)
	}
	var sum int64
	for rest, first := body, true; rest != ""; first = false {
		op := operand.FindStringSubmatch(rest)
		if op == nil || !first && op[1] == "" {
			return "", fmt.Errorf("%s is no placeholder; want {column}, or a sum such as {base+12}", quote(m))
		}
		n, err := v.number(m, op[2])
		if err != nil {
			return "", err
		}
		if op[1] == "-" {
			n = -n
		}
		if sum += n; sum > math.MaxInt32 || sum < math.MinInt32 {
			return "", fmt.Errorf("%s is larger than any address", quote(m))
		}
		rest = strings.TrimSpace(rest[len(op[0]):])
	}
	if body == "" {
		return "", fmt.Errorf("%s names no column; write {{}} for braces", quote(m))
	}
	return fmt.Sprint(sum), nil
}

func (v *vars) lookup(m, name string) (string, error) {
	text, known := v.texts[name]
	if !known {
		return "", fmt.Errorf("nothing is called %s; known are %s%s", quote(m), strings.Join(v.names, " "), didYouMean(name, v.names))
	}
	v.used[name] = true
	if text == "" {
		return "", fmt.Errorf("%s is empty; fill the column in", quote(m))
	}
	return text, nil
}

// number returns a term of a sum.
func (v *vars) number(m, term string) (int64, error) {
	if term[0] >= '0' && term[0] <= '9' {
		if n, err := parseWhole(term); err == nil && n <= math.MaxInt32 {
			return n, nil
		}
		return 0, fmt.Errorf("%s in %s is no whole number", quote(term), quote(m))
	}
	text, err := v.lookup(m, term)
	if err != nil {
		return 0, err
	}
	n, err := parseWhole(text)
	if err != nil || n > math.MaxInt32 || n < math.MinInt32 {
		return 0, fmt.Errorf("%s in %s is %s and no whole number", quote(term), quote(m), quote(text))
	}
	return n, nil
}
