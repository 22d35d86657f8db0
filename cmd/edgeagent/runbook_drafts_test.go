package main

import (
	"errors"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"edgeagent"
)

// What was said outlives its job: drafts are made of both, and of each word once.
func TestDraftsAreMadeOfWhatIsRememberedToo(t *testing.T) {
	kept := edgeagent.Alarm{ID: "01KAQ000000000000000000001", Device: "filler", Code: "F212", FirstOut: true}
	memory := edgeagent.Memory{Device: "filler", Code: "F212", Before: []edgeagent.Precedent{
		{Alarm: kept.ID, Cause: "Foam", ByPerson: true},
		{Alarm: "01K0Q000000000000000000001", Cause: "Probe cable", ByPerson: true, At: time.Date(2025, 1, 2, 3, 4, 5, 0, time.UTC)},
	}}
	src := &saidSource{
		jobs: func(edgeagent.ID) ([]edgeagent.Job, edgeagent.ID, error) {
			return []edgeagent.Job{{ID: "01KAQ000000000000000000002", Alarms: []edgeagent.ID{kept.ID}, Feedback: &edgeagent.Feedback{Cause: "Foam"}}}, "", nil
		},
		alarm:      func(edgeagent.ID) (edgeagent.Alarm, error) { return kept, nil },
		remembered: func() ([]edgeagent.Memory, error) { return []edgeagent.Memory{memory}, nil },
	}
	said, err := whatPeopleSaid(&cobra.Command{}, src)
	if err != nil || len(said) != 2 || said[0].Job == "" || said[1].Job != "" || said[1].Feedback.Cause != "Probe cable" {
		t.Errorf("said %+v, %v", said, err)
	}
	src.remembered = func() ([]edgeagent.Memory, error) { return nil, errors.New("damaged") }
	if said, err := whatPeopleSaid(&cobra.Command{}, src); err == nil {
		t.Errorf("half of what was said passes for all of it: %+v", said)
	}
}
