package edgeagent_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"edgeagent"
)

func TestOneLine(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"plain", "cleaned the lens", "cleaned the lens"},
		{"german", "Düse größer gestellt", "Düse größer gestellt"},
		{"lines and tabs", " a\r\n\tb  c ", "a b c"},
		{"control", "a\x00\x1b[31mb", "a [31mb"},
		{"bidirectional", "ok\u202egnp.exe", "okgnp.exe"},
		{"zero width", "by\u200bpass\ufeff", "bypass"},
		{"tags", "a\U000e0041\U000e0042b", "ab"},
		{"not utf-8", "a\xff\xfeb", "ab"},
		{"selectors and fillers", "l\ufe0fe\U000e0100v\u180bel\u3164\uffa0\u2800\u115f\u034f\u17b4", "level"},
		{"no characters", "le\ufffevel\U0001ffff\ufff9", "level"},
		{"piled marks", "a" + strings.Repeat("\u0301", 50) + "b", "a\u0301\u0301\u0301b"},
		{"marks on nothing", "\u0301\u0301level \u0301", "level"},
		{"Thai stays", "ที่ผิดปกติ", "ที่ผิดปกติ"},
		{"private use", "a\ue000b", "ab"},
		{"nothing that is seen", "\u200b\u202e\n", ""},
		{"cut", strings.Repeat("ä", 30), strings.Repeat("ä", 19) + "…"},
		{"cut at a space", "aaaaaaaaaaaaaaaaaaaa b", "aaaaaaaaaaaaaaaaaaa…"},
		{"just fits", strings.Repeat("ä", 20), strings.Repeat("ä", 20)},
		{"a megabyte", strings.Repeat("x ", 1<<19), "x x x x x x x x x x…"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := edgeagent.OneLine(tt.in, 20); got != tt.want {
				t.Errorf("OneLine = %q, want %q", got, tt.want)
			}
		})
	}
}

func FuzzOneLine(f *testing.F) {
	f.Add("a\u202eb", 3)
	f.Add("\xff\n", 1)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit = 1 + (limit&0x7fffffff)%600
		got := edgeagent.OneLine(s, limit)
		if !utf8.ValidString(got) || utf8.RuneCountInString(got) > limit || strings.ContainsFunc(got, edgeagent.Unseen) ||
			strings.ContainsAny(got, "\r\n\t\x00") || edgeagent.OneLine(got, limit) != got {
			t.Errorf("OneLine(%q, %d) = %q", s, limit, got)
		}
	})
}
