package config

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Cells of a CSV file and what placeholders stand for are texts. Which type they
// have is said by who asks for them.

// Words for true and false as spreadsheets write them, in English and German.
var (
	positives = []string{"true", "1", "yes", "wahr", "ja"}
	negatives = []string{"false", "0", "no", "falsch", "nein"}
)

func negative(text string) bool { return slices.Contains(negatives, strings.ToLower(text)) }

// as returns the cell as a value of another type, nil when it is none.
func (v *value) as(want kind) *value {
	out := &value{kind: want, pos: v.pos, text: v.text}
	switch want {
	case kindInt:
		n, err := parseWhole(v.text)
		if err != nil {
			return nil
		}
		out.text = strconv.FormatInt(n, 10)
	case kindBool:
		out.text = strconv.FormatBool(!negative(v.text))
		if !negative(v.text) && !slices.Contains(positives, strings.ToLower(v.text)) {
			return nil
		}
	case kindArray:
		for part := range strings.SplitSeq(v.text, partSeparator) {
			if part = strings.TrimSpace(part); part != "" {
				out.items = append(out.items, &value{kind: kindString, pos: v.pos, text: part})
			}
		}
	default:
		return nil
	}
	return out
}

// errGrouped is the error of a number that is a thousand times another one,
// depending on who reads it.
var errGrouped = errors.New("a point may group thousands here, as other numbers of the file have a decimal comma")

var (
	withComma = regexp.MustCompile(`^[+-]?\d+,\d+$`)
	grouped   = regexp.MustCompile(`^[+-]?[1-9]\d{0,2}(\.\d{3})+$`)
)

// float reads the number of a cell; with ; between the cells, a comma within one
// is a decimal comma.
func (v *value) float() (float64, error) {
	text := v.text
	if !v.cell {
		return 0, fmt.Errorf("%s is no number", kindWords[v.kind])
	}
	if v.points && grouped.MatchString(text) {
		return 0, errGrouped
	}
	if v.comma && strings.Count(text, ",") == 1 && !strings.Contains(text, ".") {
		text = strings.Replace(text, ",", ".", 1)
	}
	if n, err := parseWhole(text); err == nil {
		return float64(n), nil
	}
	return strconv.ParseFloat(text, 64)
}
