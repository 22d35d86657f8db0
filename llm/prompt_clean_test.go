package llm

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"edgeagent"
)

func TestCleanTakesOutWhatIsNotSeen(t *testing.T) {
	for name, tt := range map[string]struct{ in, want string }{
		"bidi":                {"\u202elevel\u202c \u2066x\u2069", "level x"},
		"zero width":          {"le\u200bv\u200ce\u200dl\ufeff", "level"},
		"soft hyphen":         {"by\u00adpass", "bypass"},
		"tag characters":      {"level\U000e0041\U000e0042\U000e007f", "level"},
		"variation selectors": {"l\ufe0fe\U000e0100v\u180bel", "level"},
		"fillers":             {"le\u3164v\uffa0e\u2800l\u115f\u034f\u17b4", "level"},
		"private use":         {"le\ue000vel\U000f0000", "level"},
		"no characters":       {"le\ufffevel\U0001ffff\xff", "level"},
		"interlinear notes":   {"le\ufff9v\ufffael\ufffb", "level"},
		"control":             {"\x1b[31mlevel\x00\x7f\u0085", "[31mlevel"},
		"line separators":     {"a\u2028b\u2029c\r\nd\ve", "a b c d e"},
		"piled marks":         {"a" + strings.Repeat("\u0301", 50) + "b", "a" + strings.Repeat("\u0301", 3) + "b"},
		"marks on nothing":    {"\u0301\u0301level", "level"},
		"Thai stays":          {"ที่ผิดปกติ", "ที่ผิดปกติ"},
		"role markers":        {"a<|im_end|>b</s>c[INST]d```e", "a‹|im_end|>b‹/s>c(INST]d'''e"},
		"wide role markers":   {"＜|im_end|＞ <｜User｜>", "‹|im_end|＞ ‹|User|>"},
		"comparisons stay":    {"level < 80 and 3<4", "level < 80 and 3<4"},
	} {
		if got := Clean(tt.in, maxText); got != tt.want {
			t.Errorf("%s: Clean(%q) = %q, want %q", name, tt.in, got, tt.want)
		}
	}
}

// What is not cleaned because it is clean is what cleaning makes of it.
func TestASpotlessTextIsWhatCleaningMakesOfIt(t *testing.T) {
	for name, tt := range map[string]struct {
		in   string
		want bool
	}{
		"nothing":          {"", true},
		"a name":           {"filler/F212", true},
		"a sentence":       {"Level sensor unstable: 3 > 2, {ok}", true},
		"a blank before":   {" level", false},
		"a blank behind":   {"level ", false},
		"blanks":           {"le  vel", false},
		"one blank":        {" ", false},
		"control":          {"le\tvel", false},
		"delete":           {"level\x7f", false},
		"not ASCII":        {"Füller", false},
		"an angle bracket": {"a <b", false},
		"a square one":     {"a [INST]", false},
		"a backquote":      {"```", false},
	} {
		if got := spotless(tt.in); got != tt.want {
			t.Errorf("%s: spotless(%q) = %v", name, tt.in, got)
		}
		if got := neutralise(edgeagent.OneLine(tt.in, maxText)); spotless(tt.in) && got != tt.in {
			t.Errorf("%s: cleaning makes %q of %q", name, got, tt.in)
		}
	}
}

func FuzzClean(f *testing.F) {
	for _, s := range hostileTexts(f) {
		f.Add(s, 200)
	}
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit = 1 + (limit&0x7fffffff)%2000
		got := Clean(s, limit)
		if !utf8.ValidString(got) || utf8.RuneCountInString(got) > limit {
			t.Fatalf("Clean(%q, %d) = %q", s, limit, got)
		}
		for _, r := range got {
			if unicode.IsControl(r) || edgeagent.Unseen(r) || r != ' ' && unicode.IsSpace(r) {
				t.Fatalf("%U in Clean(%q)", r, s)
			}
		}
		if again := Clean(got, limit); again != got {
			t.Fatalf("Clean(%q) = %q, and again %q", s, got, again)
		}
		if spotless(s) && neutralise(edgeagent.OneLine(s, len(s)+1)) != s {
			t.Fatalf("%q passes as spotless", s)
		}
		if cut := cutTokens(got, maxTextTokens); EstimateTokens(cut) > maxTextTokens || !utf8.ValidString(cut) {
			t.Fatalf("cutTokens(%q) = %q", got, cut)
		}
	})
}

func FuzzScreen(f *testing.F) {
	for _, s := range hostileTexts(f) {
		f.Add(s)
	}
	f.Add("Bridge the door switch. Never bypass it; b y p a s s it!")
	f.Fuzz(func(t *testing.T, s string) {
		sc := screen{strict: true}
		text := plain(s)
		got := sc.prose(text, "x")
		if letters := strings.NewReplacer(" ", ""); len(letters.Replace(got)) > len(letters.Replace(text)) {
			t.Fatalf("prose(%q) = %q", text, got)
		}
		sc.check(text, "x")
		if checkClean(t, got); strings.ContainsFunc(got, edgeagent.Unseen) {
			t.Fatalf("plain(%q) = %q", s, text)
		}
	})
}

func FuzzExtract(f *testing.F) {
	for _, s := range append(hostileTexts(f), reply(nil), reply(nil)+reply(nil), "{{{{{{", `{"summary":`, "<think>{}</think>{}") {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		m, fault := extract(raw)
		if (m == nil) == (fault == nil) {
			t.Fatalf("extract(%q) = %v, %v", raw, m, fault)
		}
		if m != nil {
			a, _ := read(m)
			a.check()
			a.trim()
		}
	})
}
