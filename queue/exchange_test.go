package queue_test

import (
	"errors"
	"strings"
	"testing"

	"edgeagent"
)

// The cap of a job outlives its leases: what it has cost comes with each, after
// a retry, a restart and a process that ended midway.
func TestALeaseSaysWhatTheJobHasCost(t *testing.T) {
	o := options(dataFile(t))
	o.CrashCostUSD = 0.07
	db := open(t, o)
	record(t, db, raise("L", "A1", 2))
	l := lease(t, db)
	if l.Case.SpentUSD != 0 {
		t.Fatalf("a new job has cost %v", l.Case.SpentUSD)
	}
	calls := edgeagent.Outcome{Calls: append(answer("").Calls, answer("").Calls...)}
	if err := db.Retry(t.Context(), l, calls, offline, 0); err != nil {
		t.Fatal(err)
	}
	if l = lease(t, db); !near(l.Case.SpentUSD, 0.02) {
		t.Errorf("after two calls = %v", l.Case.SpentUSD)
	}
	if err := db.Release(t.Context(), l, edgeagent.Outcome{Calls: answer("").Calls}); err != nil {
		t.Fatal(err)
	}
	if l = lease(t, db); !near(l.Case.SpentUSD, 0.03) {
		t.Errorf("after three calls = %v", l.Case.SpentUSD)
	}
	if err := db.Close(); err != nil { // the lease is left running
		t.Fatal(err)
	}
	db = open(t, o)
	if l = lease(t, db); !near(l.Case.SpentUSD, 0.10) {
		t.Errorf("after the process ended midway = %v, want the worst case of a call more", l.Case.SpentUSD)
	}
}

// A record of calls that cannot be read costs what a call costs at worst, for
// itself: the others count as they are, and the alarm still gets its answer.
func TestALostRecordOfCallsCostsACallAtWorst(t *testing.T) {
	for name, tt := range map[string]struct {
		lost []uint16
		want float64
	}{
		"none":       {nil, 0.04},
		"the first":  {[]uint16{0}, 0.02 + 0.07},
		"the last":   {[]uint16{2}, 0.03 + 0.07},
		"all but it": {[]uint16{0, 1}, 0.01 + 0.14},
		"all":        {[]uint16{0, 1, 2}, 0.21},
	} {
		t.Run(name, func(t *testing.T) {
			o := options(dataFile(t))
			o.CrashCostUSD = 0.07
			db := open(t, o)
			job := record(t, db, raise("L", "A1", 2))[0].Job
			for _, calls := range []int{2, 1, 1} { // 0.02, 0.01 and 0.01 USD
				var out edgeagent.Outcome
				for range calls {
					out.Calls = append(out.Calls, answer("").Calls...)
				}
				if err := db.Release(t.Context(), lease(t, db), out); err != nil {
					t.Fatal(err)
				}
			}
			for _, n := range tt.lost {
				if err := db.DamageCalls(t.Context(), job, n); err != nil {
					t.Fatal(err)
				}
			}
			if l := lease(t, db); !near(l.Case.SpentUSD, tt.want) {
				t.Errorf("the job has cost %v USD, want %v", l.Case.SpentUSD, tt.want)
			}
		})
	}
}

// What a model said and was not taken is kept for who wants to know why.
func TestFaultyAnswersAreKept(t *testing.T) {
	db := open(t, options(dataFile(t)))
	up := record(t, db, raise("L", "A1", 2))
	faulty := []edgeagent.FaultyAnswer{{Call: 0, Fault: edgeagent.NewNote("ungrounded", "cites filler.ghost"), Raw: "the first answer"}}
	if err := db.Retry(t.Context(), lease(t, db), edgeagent.Outcome{Calls: answer("").Calls, Faulty: faulty}, offline, 0); err != nil {
		t.Fatal(err)
	}
	last := answer("x")
	last.Calls, last.Faulty = append(last.Calls, last.Calls...), faulty
	if err := db.Complete(t.Context(), lease(t, db), last); err != nil {
		t.Fatal(err)
	}
	got, err := db.Exchanges(up[0].Job)
	if err != nil || len(got) != 2 {
		t.Fatalf("%d exchanges, %v, want one an attempt", len(got), err)
	}
	if f := got[0].Faulty; len(f) != 1 || f[0].Raw != "the first answer" || !f[0].Fault.Is("ungrounded") || f[0].Call != 0 || got[0].Raw != "" {
		t.Errorf("first = %+v", got[0])
	}
	if f := got[1].Faulty; got[1].Prompt != last.Prompt || got[1].Raw != last.Raw || len(f) != 1 || f[0].Call != 1 {
		t.Errorf("second = %+v, want the faulty answer beside the second call of the job", got[1])
	}
	if _, err := db.Exchanges("01ZZZZZZZZZZZZZZZZZZZZZZZZ"); !errors.Is(err, edgeagent.ErrNotFound) {
		t.Errorf("of no job: %v", err)
	}
	for _, e := range wholeStream(t, db, edgeagent.StreamDiagnosis) {
		if strings.Contains(string(e.Body), "the first answer") {
			t.Errorf("an answer of no use is sent upstream: %s", e.Body)
		}
	}
}
