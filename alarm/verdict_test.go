package alarm

import (
	"bufio"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"

	"edgeagent"
)

// verdictValues are what the tags of machineTags hold, in their order; the rate
// of a tag is half its value.
var verdictValues = [][]edgeagent.Value{
	{
		edgeagent.Float(82.5), edgeagent.Float(-4), edgeagent.Uint(6), edgeagent.Bool(true), edgeagent.String("PILS"),
		edgeagent.Uint(1 << 40), edgeagent.Int(-3), edgeagent.Int(2), edgeagent.Int(1), edgeagent.Bool(false),
	},
	{
		edgeagent.Float(0), edgeagent.Float(math.Copysign(0, -1)), edgeagent.Uint(0), edgeagent.Bool(false), edgeagent.String(""),
		edgeagent.Uint(0), edgeagent.Int(0), edgeagent.Int(0), edgeagent.Int(0), edgeagent.Bool(false),
	},
	{
		edgeagent.Float(1e308), edgeagent.Float(-1e-300), edgeagent.Uint(65535), edgeagent.Bool(true), edgeagent.String("A"),
		edgeagent.Uint(1<<32 - 1), edgeagent.Int(-32768), edgeagent.Int(-1), edgeagent.Int(80), edgeagent.Bool(true),
	},
}

// TestVerdicts holds the language to what it was when an expression library of
// everybody's spoke it: testdata/verdicts.tsv has 600 random expressions, and
// what github.com/expr-lang/expr v1.17.8, its optimiser off, said of each over
// the three sets of values: true, false, undefined, or refused altogether.
func TestVerdicts(t *testing.T) {
	f, err := os.Open("testdata/verdicts.tsv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows := 0
	for lines := bufio.NewScanner(f); lines.Scan(); rows++ {
		quoted, want, _ := strings.Cut(lines.Text(), "\t")
		expression, err := strconv.Unquote(quoted)
		if err != nil {
			t.Fatalf("row %d: %v", rows+1, err)
		}
		if got := verdict(expression); got != want {
			t.Errorf("%s: %s, want %s", quoted, got, want)
		}
	}
	if rows != 600 {
		t.Errorf("%d rows", rows)
	}
}

func verdict(expression string) string {
	c, err := newScope(machineTags).compile(expression)
	if err != nil {
		return "refused"
	}
	var out []string
	for _, values := range verdictValues {
		for _, s := range c.signals {
			for i, t := range machineTags {
				if t.Name == s.tag.Name {
					s.set(values[i])
					s.rate = s.float / 2
				}
			}
		}
		holds, known := c.holds()
		out = append(out, map[bool]string{true: strconv.FormatBool(holds), false: "undefined"}[known])
	}
	return strings.Join(out, " ")
}
