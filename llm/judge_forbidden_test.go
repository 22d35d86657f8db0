package llm

import (
	"regexp"
	"testing"
)

// TestSiteForbidsMore: what a site adds to the lists holds as the lists do,
// in disguise and negated too; nothing of it changes what nobody asked for.
func TestSiteForbidsMore(t *testing.T) {
	site := NewForbidden([]*regexp.Regexp{regexp.MustCompile(`pull .*fuse F12`), regexp.MustCompile(`Sicherung F12 (ziehen|entfernen)`), regexp.MustCompile(`§4`)}, []string{"Zelle 4", "PSS-4000", "  "})
	for text, want := range map[string][2]bool{ // shown without the site's lists, and with
		"Pull the old fuse F12 and wait.":             {true, false},
		"PULL THE FUSE F12.":                          {true, false},
		"pull the f\u200buse F12":                     {true, false},
		"Never pull the fuse F12.":                    {true, true},
		"Sicherung F12 ziehen.":                       {true, false},
		"Sicherung F12 niemals ziehen.":               {true, true},
		"Work as §4 says.":                            {true, false},
		"Swap the relay of Zelle 4.":                  {true, false},
		"Bridge the input of the PSS 4000.":           {true, false},
		"Check the LED of the PSS-4000.":              {true, true},
		"Check the fuse F11.":                         {true, true},
		"Check the level probe.":                      {true, true},
		"Bypass the interlock.":                       {false, false},
		"Clean the window at Zelle 4 with a cloth.":   {true, true},
		"Compare the temperature of zone 4 with 3's.": {true, true},
	} {
		for i, f := range []*Forbidden{nil, site} {
			sc := screen{strict: true, site: f}
			if got := sc.check(plain(text), "check 1"); got != want[i] {
				t.Errorf("%q with the site's lists %v: shown %v, want %v %q", text, f != nil, got, want[i], sc.removed)
			}
		}
	}
}

func TestSiteListsReachTheJudge(t *testing.T) {
	site := NewForbidden([]*regexp.Regexp{regexp.MustCompile(`kick the filler`)}, nil)
	raw := with("checks", []any{"Kick the filler.", "Wipe the probe."})
	if d, fault := site.Judge(fillerCase(), fillerPassages(), raw, "en"); fault != nil || len(d.Checks) != 1 || len(d.Filtered) != 1 {
		t.Errorf("%+v %+v", d, fault)
	}
	if d, ok := site.Drop(fillerCase(), fillerPassages(), raw, "en"); !ok || len(d.Checks) != 1 {
		t.Errorf("%+v", d)
	}
}
