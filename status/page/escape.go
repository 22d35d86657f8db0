package page

import (
	"fmt"
	"reflect"
	"strings"
)

// escaper writes a value for one place of HTML.
type escaper func(v reflect.Value) string

// characters that could end the text or the attribute that they stand in.
var characters = strings.NewReplacer("\x00", "\uFFFD", `"`, "&#34;", "&", "&amp;", "'", "&#39;", "+", "&#43;", "<", "&lt;", ">", "&gt;")

func escapeText(v reflect.Value) string { return characters.Replace(words(v)) }

// urlPart is the part of an address.
type urlPart uint8

const (
	urlStart urlPart = iota // where the scheme may be
	urlPath
	urlQuery // or fragment
)

func (u urlPart) after(text string) urlPart {
	switch {
	case u == urlQuery || strings.ContainsAny(text, "?#"):
		return urlQuery
	case strings.TrimSpace(text) != "":
		return urlPath
	default:
		return u
	}
}

func (u urlPart) escaper() escaper {
	switch u {
	case urlStart:
		return func(v reflect.Value) string {
			s := words(v)
			if v.IsValid() && v.Type() != reflect.TypeFor[URL]() && !safeScheme(s) {
				s = unsafe
			}
			return characters.Replace(percent(s, true))
		}
	case urlPath:
		return func(v reflect.Value) string { return characters.Replace(percent(words(v), true)) }
	default:
		return func(v reflect.Value) string { return characters.Replace(percent(words(v), false)) }
	}
}

// unsafe stands for an address that could be a program, as in html/template.
const unsafe = "#ZgotmplZ"

func safeScheme(address string) bool {
	scheme, _, found := strings.Cut(address, ":")
	if !found || strings.Contains(scheme, "/") {
		return true
	}
	return strings.EqualFold(scheme, "http") || strings.EqualFold(scheme, "https") || strings.EqualFold(scheme, "mailto")
}

// percent encodes what cannot stand in an address; in a whole one its own marks
// and what is encoded already stay.
func percent(s string, whole bool) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		switch {
		case isLetterOrDigit(c) || strings.IndexByte("-._~", c) >= 0,
			whole && strings.IndexByte("!#$&*+,/:;=?@[]", c) >= 0,
			whole && c == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02x", c)
		}
	}
	return b.String()
}

func isLetterOrDigit(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// words is a value as a person reads it; nothing is nothing.
func words(v reflect.Value) string {
	for v.IsValid() {
		i := v.Interface()
		_, stringer := i.(fmt.Stringer)
		_, failure := i.(error)
		if v.Kind() != reflect.Pointer || v.IsNil() || stringer || failure {
			return fmt.Sprint(i)
		}
		v = v.Elem()
	}
	return ""
}
