package config

import "strings"

// syntaxRemedies turn what the parser says into what to do. The first whose
// words are in the message counts; a message that none fits stands as it is.
var syntaxRemedies = []struct{ words, text string }{
	{"unexpected character U+0027", "a quote stands where a value should begin"},
	{"at start of value", "a text must stand in double quotes"},
	{"strings must be quoted", "a text must stand in double quotes"},
	{"expected keyword", `a text must stand in double quotes; without them only true and false are known`},
	{"expected '=' after key", "expected = and a value after the key"},
	{"expected key but reached end", "the file ends in the middle of a key"},
	{"expected value, not end of input", "the file ends where a value should stand"},
	{"basic strings cannot have new lines", "the text does not end in this line; close it with a double quote"},
	{"literal strings cannot have new lines", "the text does not end in this line; close it with a single quote"},
	{"multiline basic string not terminated", `the text that begins with """ never ends; close it with """`},
	{"multiline literal string not terminated", "the text that begins with ''' never ends; close it with '''"},
	{"unterminated basic string", "the text does not end; close it with a double quote"},
	{"unterminated literal string", "the text does not end; close it with a single quote"},
	{"control characters", "a control character stands in the text; remove it, or write it as \\u0007"},
	{"array is incomplete", "the list never ends; close it with ]"},
	{"inline table is incomplete", "the table never ends; close it with }"},
	{"expected ',' or ']'", "expected a comma or ] after the value in the list"},
	{"expected ',' or '}'", "expected a comma or } after the value in the table"},
	{"to close table name", "the header does not end; close it with ]"},
	{"to close array table name", "the header does not end; close it with ]]"},
	{"expected newline but got", "something stands behind the value; begin a new line, or write a comment with #"},
	{"invalid character at start of key", "a line is KEY = VALUE, [table] or # comment; a key is letters, digits, - and _"},
	{"leading zero", "a number cannot begin with 0; write hexadecimal as 0x1F, or the text in double quotes"},
	{"invalid escape character", `a backslash begins an escape; write it as \\, or use single quotes`},
	{"carriage return", "a lone carriage return stands in the file; save it with line ends LF or CRLF"},
	{"nested more than", "lists or tables are nested too deep"},
}

// syntaxText says in our words what the TOML parser found at an offset.
func syntaxText(data []byte, message string, at int) string {
	message = strings.TrimPrefix(message, "toml: ")
	if strings.Contains(message, "expected newline but got") && at > 0 && isWord(data[at-1]) && isWord(data[at]) {
		message = "strings must be quoted" // info begins like inf, the number
	}
	for _, r := range syntaxRemedies {
		if strings.Contains(message, r.words) {
			return "not valid TOML: " + r.text
		}
	}
	return "not valid TOML: " + message
}

// isWord reports whether c can stand in the middle of a word.
func isWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c >= 0x80
}
