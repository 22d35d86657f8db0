package config

import (
	"errors"
	"flag"
	"strings"
	"testing"

	"edgeagent"
)

var update = flag.Bool("update", false, "write the golden files anew")

// errExpr is what the stand-in compiler of the tests says.
var errExpr = errors.New("unexpected end of expression")

// checks stand in for the alarm engine: an expression that ends in an operator
// does not compile, one that names no tag neither.
var checks = Checks{Expr: func(expr string, tags []edgeagent.Tag) error {
	if strings.HasSuffix(strings.TrimSpace(expr), ">") {
		return errExpr
	}
	for _, word := range identifiers.FindAllString(expr, -1) {
		if !known(word, tags) {
			return errors.New(`unknown tag "` + word + `"`)
		}
	}
	return nil
}, Mode: func(expr string, _ []edgeagent.Tag) error {
	if strings.HasSuffix(strings.TrimSpace(expr), ">") {
		return errExpr
	}
	return nil
}}

func known(word string, tags []edgeagent.Tag) bool {
	for _, t := range tags {
		if t.Name == word {
			return true
		}
	}
	return word == "and" || word == "or" || word == "not" || word == "rate"
}

// minimal is the shortest configuration that is accepted.
const minimal = "[agent]\nid = \"gw\"\nsite = \"plant\"\n"

// mustParse parses a configuration that has to be accepted.
func mustParse(t *testing.T, text string) *Config {
	t.Helper()
	c, err := Parse("config.toml", []byte(text), checks)
	if err != nil {
		t.Fatalf("refused:\n%v", err)
	}
	return c
}
