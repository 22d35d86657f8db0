package upsync

import (
	"testing"

	"edgeagent"
)

// impossible names the pairs that cannot meet: down is left only by an answer
// that is no failure to answer, a pause starts the count anew, and while it is up
// a heartbeat is not asked what became of the events.
var impossible = map[[2]string]bool{
	{"down", "no_answer"}: true, {"down", "busy"}: true, {"paused", "lost"}: true, {"up", "halfway"}: true,
}

func TestMachineAnswersEveryEventOnce(t *testing.T) {
	rows := map[[2]string]int{}
	for _, s := range Machine() {
		rows[[2]string{s.From, s.Event}]++
		if s.Action == "" || s.To == "" {
			t.Errorf("row %+v is not whole", s)
		}
	}
	states := []edgeagent.UpstreamState{edgeagent.UpstreamUp, edgeagent.UpstreamProbing, edgeagent.UpstreamDown, edgeagent.UpstreamPaused}
	for _, state := range states {
		for _, on := range []event{accepted, halfway, noAnswer, busy, lost, unfit, refused} {
			pair := [2]string{string(state), string(on)}
			if want := map[bool]int{false: 1}[impossible[pair]]; rows[pair] != want {
				t.Errorf("%v has %d rows, want %d", pair, rows[pair], want)
			}
			delete(rows, pair)
		}
	}
	if len(rows) > 0 {
		t.Errorf("rows of unknown states or events: %v", rows)
	}
}

func TestOnlyAnAnswerThatIsAcceptedOrJudgedLeadsUp(t *testing.T) {
	for _, s := range Machine() {
		judged := s.Event == string(accepted) || s.Event == string(unfit) || s.From == "up" && s.Event == string(busy)
		if (s.To == "up") != judged {
			t.Errorf("row %+v", s)
		}
	}
}
