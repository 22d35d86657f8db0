package alarm

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// tokenKind is what a word of an expression is.
type tokenKind uint8

const (
	tokenEnd tokenKind = iota
	tokenNumber
	tokenText
	tokenName
	tokenOperator // brackets and commas too
)

// token is one word of an expression.
type token struct {
	kind   tokenKind
	text   string // as written; of a text what it says
	number float64
	column int // in characters, from 1
}

func (t token) is(operator string) bool { return t.kind == tokenOperator && t.text == operator }

// wordOperators are names that no tag can have in an expression. Those that
// conditions do not know are words of other languages, and refused as such.
var wordOperators = []string{"and", "or", "not", "in", "matches", "contains", "startsWith", "endsWith", "let", "if", "else"}

// longOperators have two characters; what conditions do not know of them is
// read so that it can be refused by its name.
var longOperators = []string{"==", "!=", "<=", ">=", "&&", "||", "**", "??", "?.", "..", "::"}

const shortOperators = "+-*/<>!(),|&%^=?:;.[]{}#"

// lexer takes an expression apart.
type lexer struct {
	text []rune
	at   int // the next character
	from int // the first of the token
}

// lex returns the words of an expression, of which the last is its end.
func lex(expression string) ([]token, error) {
	l := lexer{text: []rune(expression)}
	var out []token
	for {
		t, err := l.next()
		if err != nil {
			return nil, fmt.Errorf("column %d: %w", l.from+1, err)
		}
		t.column = l.from + 1
		out = append(out, t)
		if t.kind == tokenEnd {
			return out, nil
		}
	}
}

func (l *lexer) next() (token, error) {
	if err := l.blank(); err != nil {
		return token{}, err
	}
	switch r := l.peek(0); {
	case l.at == len(l.text):
		return token{kind: tokenEnd}, nil
	case isDigit(r) || r == '.' && isDigit(l.peek(1)):
		return l.number()
	case r == '"' || r == '\'':
		return l.quoted(byte(r))
	case r == '`':
		return l.raw()
	case isLetter(r):
		return l.name(), nil
	default:
		return l.operator()
	}
}

// blank goes over spaces and comments.
func (l *lexer) blank() error {
	for {
		l.from = l.at
		switch {
		case unicode.IsSpace(l.peek(0)):
			l.run(unicode.IsSpace)
		case l.peek(0) == '/' && l.peek(1) == '/':
			l.run(func(r rune) bool { return r != '\n' })
		case l.peek(0) == '/' && l.peek(1) == '*':
			end := strings.Index(string(l.text[l.at+2:]), "*/")
			if end < 0 {
				return errors.New("this comment has no end; close it with */")
			}
			l.at += 2 + len([]rune(string(l.text[l.at+2:])[:end])) + 2
		default:
			return nil
		}
	}
}

// peek returns a character ahead, 0 behind the end.
func (l *lexer) peek(ahead int) rune {
	if l.at+ahead >= len(l.text) {
		return 0
	}
	return l.text[l.at+ahead]
}

// run goes over all characters that belong.
func (l *lexer) run(belongs func(rune) bool) {
	for l.at < len(l.text) && belongs(l.text[l.at]) {
		l.at++
	}
}

func (l *lexer) word() string { return string(l.text[l.from:l.at]) }

func (l *lexer) name() token {
	l.run(isWord)
	if word := l.word(); slices.Contains(wordOperators, word) {
		return token{kind: tokenOperator, text: word}
	}
	return token{kind: tokenName, text: l.word()}
}

func (l *lexer) operator() (token, error) {
	if two := string([]rune{l.peek(0), l.peek(1)}); slices.Contains(longOperators, two) {
		l.at += 2
		return token{kind: tokenOperator, text: two}, nil
	}
	if !strings.ContainsRune(shortOperators, l.peek(0)) {
		return token{}, fmt.Errorf("character %q is not for conditions; %s", l.peek(0), allowed)
	}
	l.at++
	return token{kind: tokenOperator, text: l.word()}, nil
}

// number reads 80, 0.5, .5, 1e3, 1_000, 0x50, 0o17 and 0b101. Letters that
// follow at once belong to it: 80C is no number, and not 80 of something.
func (l *lexer) number() (token, error) {
	l.run(isWord)
	if l.peek(0) == '.' && l.peek(1) != '.' {
		l.at++
		l.run(isWord)
	}
	if sign := l.peek(0); (sign == '+' || sign == '-') && l.exponent() {
		l.at++
		l.run(isWord)
	}
	value, err := parseNumber(l.word())
	if err != nil {
		return token{}, fmt.Errorf("%s is no number; write it as 80, 0.5, 1e3 or 0x50", l.word())
	}
	return token{kind: tokenNumber, text: l.word(), number: value}, nil
}

// exponent reports whether what has been read ends with the e of a power of ten.
func (l *lexer) exponent() bool {
	word := strings.ToLower(l.word())
	return strings.HasSuffix(word, "e") && !based(word)
}

// based reports whether a number says its base.
func based(word string) bool {
	return len(word) > 1 && word[0] == '0' && strings.ContainsRune("xXoObB", rune(word[1]))
}

func parseNumber(word string) (float64, error) {
	digits := strings.ReplaceAll(word, "_", "")
	if !based(word) && strings.ContainsAny(word, ".eE") {
		return strconv.ParseFloat(digits, 64)
	}
	base := 10
	if based(word) {
		base = 0
	}
	n, err := strconv.ParseInt(digits, base, 64)
	return float64(n), err
}

// quoted reads a text with the escapes of Go.
func (l *lexer) quoted(quote byte) (token, error) {
	var text strings.Builder
	l.at++
	rest := string(l.text[l.at:])
	for rest != "" && rest[0] != quote && rest[0] != '\n' {
		r, wide, tail, err := strconv.UnquoteChar(rest, quote)
		if err != nil {
			return token{}, errors.New("this text has an escape that means nothing; write \\\\ for a backslash")
		}
		if wide {
			text.WriteRune(r)
		} else {
			text.WriteByte(byte(r))
		}
		l.at += len([]rune(rest)) - len([]rune(tail))
		rest = tail
	}
	if rest == "" || rest[0] != quote {
		return token{}, fmt.Errorf("this text has no end; close it with %c", quote)
	}
	l.at++
	return token{kind: tokenText, text: text.String()}, nil
}

// raw reads a text in backticks, in which only a doubled backtick is special.
func (l *lexer) raw() (token, error) {
	for l.at++; l.at < len(l.text); l.at++ {
		if l.peek(0) != '`' {
			continue
		}
		if l.peek(1) != '`' {
			l.at++
			return token{kind: tokenText, text: strings.ReplaceAll(string(l.text[l.from+1:l.at-1]), "``", "`")}, nil
		}
		l.at++
	}
	return token{}, errors.New("this text has no end; close it with a backtick")
}

func isDigit(r rune) bool  { return '0' <= r && r <= '9' }
func isLetter(r rune) bool { return r == '_' || r == '$' || unicode.IsLetter(r) }
func isWord(r rune) bool   { return isLetter(r) || unicode.IsDigit(r) }
