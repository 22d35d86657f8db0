package opcua

import (
	"testing"
	"time"

	"github.com/gopcua/opcua/id"

	"edgeagent"
)

// Without a ConditionRefresh nothing closes a gap but the next event.
func TestAnotherTransitionTimeAfterAGapIsAnotherActivation(t *testing.T) {
	c := newConditions(testEvents(), time.Minute)
	c.reconnected(plantSpaces)
	c.begin(noon)
	c.fail() // refused
	tell := func(differ told) edgeagent.Condition {
		t.Helper()
		sets, _ := c.told(eventOf(differ), noon.Add(time.Hour))
		if len(sets) != 1 || len(sets[0].Conditions) != 1 {
			t.Fatalf("told %+v", sets)
		}
		return sets[0].Conditions[0]
	}
	first := tell(told{})
	worse := tell(told{fieldTime: noon.Add(time.Second), fieldActiveSince: noon.Add(time.Second)})
	if !worse.ActiveSince.Equal(first.ActiveSince) {
		t.Errorf("grown worse it is since %v, want %v", worse.ActiveSince, first.ActiveSince)
	}
	for name, gap := range map[string]func(){
		"reconnect": func() { c.reconnected(plantSpaces); c.begin(noon); c.fail() },
		"loss":      func() { c.lost(); c.begin(noon); c.fail() },
	} {
		same := tell(told{fieldTime: noon.Add(2 * time.Second), fieldActiveSince: noon.Add(time.Second)})
		gap()
		again := tell(told{fieldTime: noon.Add(3 * time.Second), fieldActiveSince: noon.Add(time.Second)})
		if !again.ActiveSince.Equal(same.ActiveSince) {
			t.Errorf("%s: the same is since %v, want %v", name, again.ActiveSince, same.ActiveSince)
		}
		gap()
		next := noon.Add(10 * time.Second)
		if another := tell(told{fieldTime: next, fieldActiveSince: next}); !another.ActiveSince.Equal(next) {
			t.Errorf("%s: another one is since %v, want %v", name, another.ActiveSince, next)
		}
		tell(told{fieldTime: next, fieldActive: false})
		tell(told{fieldTime: noon.Add(time.Second), fieldActiveSince: noon.Add(time.Second)})
	}
}

// A server that tells no TransitionTime does not say since when, however often
// it tells a condition.
func TestWithoutATransitionTimeNobodyKnowsSinceWhen(t *testing.T) {
	c := newConditions(testEvents(), time.Minute)
	c.reconnected(plantSpaces)
	c.begin(noon)
	c.told(system(id.RefreshStartEventType), noon)
	for range 2 { // live, then told again
		c.told(eventOf(told{fieldActiveSince: nil}), noon)
	}
	sets, _ := c.told(system(id.RefreshEndEventType), noon)
	if len(sets) != 1 || len(sets[0].Conditions) != 1 || !sets[0].Conditions[0].Undated {
		t.Errorf("told %+v", sets)
	}
}
