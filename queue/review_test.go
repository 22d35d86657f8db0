package queue_test

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
	"edgeagent/queue"
)

func begin(t *testing.T, db *queue.DB, job edgeagent.ID) edgeagent.Case {
	t.Helper()
	c, err := db.BeginReview(t.Context(), job, "cloud", true)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// outsideOptions let every line leave the site.
func outsideOptions(path string) queue.Options {
	o := options(path)
	o.Outside = func(string) bool { return true }
	return o
}

// second is the answer of a review, with what it cost.
func second(usd float64) edgeagent.Outcome {
	o := by("cloud", "gpt", "worn valve")
	o.Calls = []edgeagent.Call{{Provider: "cloud", Outcome: edgeagent.CallOK, CostUSD: usd}}
	o.Prompt, o.Raw = "again?", "{}"
	return o
}

func TestAReviewSupersedesAndBothStay(t *testing.T) {
	path := dataFile(t)
	db := open(t, outsideOptions(path))
	a := answered(t, db, "A1", by("local", "qwen", "dirty lens"))
	c := begin(t, db, a.Job)
	if c.Job != a.Job || !c.Outside || len(c.Alarms) != 1 || c.Alarms[0].Evidence == nil || c.Alarms[0].Alarm.Hint == nil {
		t.Errorf("case = %+v, want that of the first answer, whole", c)
	}
	if err := db.Review(t.Context(), a.Job, second(0.03)); err != nil {
		t.Fatal(err)
	}
	check := func(db *queue.DB) {
		t.Helper()
		j := job(t, db, a.Job)
		if j.State != edgeagent.JobCompleted || j.Diagnosis.By.Provider != "local" || len(j.Reviews) != 1 || j.Reviews[0].By.Provider != "cloud" ||
			len(j.Calls) != 1 || j.Latest() != &j.Reviews[0] || j.Attempts != 1 {
			t.Errorf("job = %+v, want both answers and the call", j)
		}
		if got := db.Spend().TodayUSD; math.Abs(got-0.03) > 1e-9 {
			t.Errorf("spent %v, want 0.03", got)
		}
		if left, err := db.Reviewable(); err != nil || len(left) != 0 {
			t.Errorf("reviewable = %v, %v, want none", left, err)
		}
	}
	check(db)
	events := wholeStream(t, db, edgeagent.StreamDiagnosis)
	last := events[len(events)-1]
	j := jobOf(t, last)
	if len(events) != 2 || last.Type != edgeagent.EventDiagnosisSuperseded || j.Diagnosis.By.Provider != "local" ||
		len(j.Reviews) != 1 || j.Reviews[0].Causes[0].Cause != "worn valve" || last.ID == events[0].ID || !strings.Contains(string(last.Body), `"raw":"{}"`) {
		t.Errorf("event = %s, want the superseded one with the whole new diagnosis", last.Body)
	}
	if !json.Valid(last.Body) {
		t.Error("the event is no JSON")
	}
	if err := db.Review(t.Context(), a.Job, second(1)); !errors.Is(err, edgeagent.ErrLeaseLost) {
		t.Errorf("a second end = %v, want ErrLeaseLost", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	check(open(t, outsideOptions(path)))
}

func TestTheNextLastTimeIsTheReviewsCause(t *testing.T) {
	db := open(t, outsideOptions(dataFile(t)))
	a := answered(t, db, "A1", by("local", "qwen", "dirty lens"))
	begin(t, db, a.Job)
	if err := db.Review(t.Context(), a.Job, second(0)); err != nil {
		t.Fatal(err)
	}
	if o := record(t, db, raise("L", "A1", 2))[0].LastTime; o == nil || o.Cause != "worn valve" {
		t.Errorf("last time = %+v, want the newer answer's cause", o)
	}
	says(t, db, a.Job, edgeagent.Feedback{Verdict: "right", By: "ann"})
	says(t, db, a.Job, edgeagent.Feedback{Verdict: "wrong", By: "ann", Provider: "local"})
	if got := judged(db.Accuracy()); got != "local qwen 0/0/1" {
		t.Errorf("accuracy = %s, want the word moved to the first answer", got)
	}
}

func TestWhatIsNotReviewed(t *testing.T) {
	for _, tt := range []struct {
		name string
		to   func(t *testing.T, db *queue.DB, a edgeagent.Alarm)
		why  string
	}{
		{"an alarm that is over", over, "its alarm is over"},
		{"an alarm of yesterday", func(*testing.T, *queue.DB, edgeagent.Alarm) { time.Sleep(24 * time.Hour) }, "older than a day"},
		{"an answer that a person has judged", func(t *testing.T, db *queue.DB, a edgeagent.Alarm) {
			says(t, db, a.Job, edgeagent.Feedback{Verdict: "right", By: "ann"})
		}, "a person has judged"},
		{"one that was tried twice", func(t *testing.T, db *queue.DB, a edgeagent.Alarm) {
			for range 2 {
				begin(t, db, a.Job)
				if err := db.ReviewFailed(t.Context(), a.Job, edgeagent.Outcome{Calls: second(0).Calls}, "its answer\nwas \u202eunusable"); err != nil {
					t.Fatal(err)
				}
			}
		}, "tried 2 times"},
		{"one that was reviewed", func(t *testing.T, db *queue.DB, a edgeagent.Alarm) {
			begin(t, db, a.Job)
			if err := db.Review(t.Context(), a.Job, second(0)); err != nil {
				t.Fatal(err)
			}
		}, "it was reviewed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := dataFile(t)
			synctest.Test(t, func(t *testing.T) {
				db := open(t, outsideOptions(path))
				a := answered(t, db, "A1", by("local", "qwen", "dirty lens"))
				if all, err := db.Reviewable(); err != nil || len(all) != 1 || all[0].ID != a.Job {
					t.Fatalf("reviewable before = %v, %v", all, err)
				}
				tt.to(t, db, a)
				if all, err := db.Reviewable(); err != nil || len(all) != 0 {
					t.Errorf("reviewable = %v, %v, want none", all, err)
				}
				if _, err := db.BeginReview(t.Context(), a.Job, "cloud", true); !errors.Is(err, edgeagent.ErrConflict) || !strings.Contains(err.Error(), tt.why) {
					t.Errorf("begin = %v, want a conflict: %s", err, tt.why)
				}
			})
		})
	}
}

func TestAReviewThatAskedNobodyIsNoTry(t *testing.T) {
	db := open(t, outsideOptions(dataFile(t)))
	a := answered(t, db, "A1", by("local", "qwen", "dirty lens"))
	for range 5 {
		begin(t, db, a.Job)
		if err := db.ReviewFailed(t.Context(), a.Job, edgeagent.Outcome{}, "cloud: breaker open"); err != nil {
			t.Fatal(err)
		}
	}
	if all, err := db.Reviewable(); err != nil || len(all) != 1 {
		t.Errorf("reviewable = %v, %v, want the job still", all, err)
	}
}

func TestReviewsGoByPriorityThenAge(t *testing.T) {
	path := dataFile(t)
	synctest.Test(t, func(t *testing.T) {
		db := open(t, outsideOptions(path))
		var want []string
		codes := map[edgeagent.ID]string{}
		for _, r := range []struct {
			code     string
			priority int
		}{{"c", 3}, {"a", 1}, {"d", 3}, {"b", 2}} {
			time.Sleep(time.Second)
			a := record(t, db, raise("L-"+r.code, r.code, r.priority))[0]
			codes[a.Job] = r.code
			if err := db.Complete(t.Context(), lease(t, db), by("local", "qwen", "x")); err != nil {
				t.Fatal(err)
			}
		}
		all, err := db.Reviewable()
		for _, j := range all {
			want = append(want, codes[j.ID])
		}
		if got := strings.Join(want, ""); err != nil || got != "abcd" {
			t.Errorf("order = %s, %v", got, err)
		}
	})
}

// A job that nobody can read any more must not hold up the reviews of others.
func TestAReviewOfAJobThatIsGoneEnds(t *testing.T) {
	path := dataFile(t)
	synctest.Test(t, func(t *testing.T) {
		db := open(t, outsideOptions(path))
		gone, other := answered(t, db, "A1", by("local", "qwen", "x")), answered(t, db, "A2", by("local", "qwen", "x"))
		begin(t, db, gone.Job)
		for range 5 { // far longer than any review takes
			time.Sleep(10 * 24 * time.Hour)
			other = answered(t, db, "A2", by("local", "qwen", "x"))
		}
		if _, err := db.Job(gone.Job); !errors.Is(err, edgeagent.ErrNotFound) {
			t.Fatalf("the job is still there: %v", err)
		}
		if err := db.Review(t.Context(), gone.Job, second(0.03)); err != nil {
			t.Errorf("end = %v", err)
		}
		if got := db.Spend().TodayUSD; math.Abs(got-0.03) > 1e-9 {
			t.Errorf("spent %v, want the call", got)
		}
		begin(t, db, other.Job)
	})
}

func TestAPersonsWordWhileTheProviderThinksStands(t *testing.T) {
	db := open(t, outsideOptions(dataFile(t)))
	a := answered(t, db, "A1", by("local", "qwen", "dirty lens"))
	begin(t, db, a.Job)
	says(t, db, a.Job, edgeagent.Feedback{Verdict: "right", By: "ann"})
	if err := db.Review(t.Context(), a.Job, second(0.03)); err != nil {
		t.Fatal(err)
	}
	j := job(t, db, a.Job)
	if len(j.Reviews) != 0 || len(j.Calls) != 1 || db.Spend().TodayUSD < 0.03 {
		t.Errorf("job = %+v, want the call paid and no second answer", j)
	}
	for _, e := range wholeStream(t, db, edgeagent.StreamDiagnosis) {
		if e.Type == edgeagent.EventDiagnosisSuperseded {
			t.Error("a judged answer was superseded")
		}
	}
}

func TestALineThatMustNotLeaveIsNotReviewedOutside(t *testing.T) {
	o := outsideOptions(dataFile(t))
	db := open(t, o)
	a := answered(t, db, "A1", by("local", "qwen", "dirty lens"))
	o.Outside = func(string) bool { return false } // a person has forbidden it since
	db.Configure(o)
	if _, err := db.BeginReview(t.Context(), a.Job, "cloud", true); !errors.Is(err, edgeagent.ErrConflict) || !strings.Contains(err.Error(), "outside") {
		t.Errorf("begin = %v, want a conflict", err)
	}
	c, err := db.BeginReview(t.Context(), a.Job, "cell", false) // a provider of the site
	if err != nil || c.Outside {
		t.Errorf("begin inside = %+v, %v", c, err)
	}
}

func TestReviewsCostATenthOfTheDayAtMost(t *testing.T) {
	path := dataFile(t)
	synctest.Test(t, func(t *testing.T) {
		o := outsideOptions(path)
		o.DailyCapUSD = 1
		time.Sleep(12 * time.Hour) // the bubble begins at midnight
		db := open(t, o)
		one := answered(t, db, "A1", by("local", "qwen", "x"))
		two := answered(t, db, "A2", by("local", "qwen", "x"))
		begin(t, db, one.Job)
		if err := db.Reserve(one.Job, 0.11); !errors.Is(err, queue.ErrCap) {
			t.Errorf("reserve above the tenth = %v, want ErrCap", err)
		}
		for _, usd := range []float64{0.05, 0.04} { // a call and its repair
			if err := db.Reserve(one.Job, usd); err != nil {
				t.Fatal(err)
			}
			db.Settle(one.Job, usd, usd)
		}
		if err := db.Reserve(one.Job, 0.02); !errors.Is(err, queue.ErrCap) {
			t.Errorf("reserve beyond the tenth = %v, want ErrCap", err)
		}
		if err := db.Review(t.Context(), one.Job, second(0.09)); err != nil {
			t.Fatal(err)
		}
		begin(t, db, two.Job)
		if err := db.Reserve(two.Job, 0.02); !errors.Is(err, queue.ErrCap) {
			t.Errorf("reserve = %v, want ErrCap: 0.01 is left", err)
		}
		if err := db.ReviewFailed(t.Context(), two.Job, edgeagent.Outcome{Calls: second(0.01).Calls}, "x"); err != nil {
			t.Fatal(err)
		}
		if _, err := db.BeginReview(t.Context(), two.Job, "cloud", true); !errors.Is(err, queue.ErrCap) {
			t.Errorf("begin = %v, want ErrCap", err)
		}
		if err := db.Reserve(two.Job, 0.5); err != nil {
			t.Errorf("reserve for an alarm = %v: the rest of the day is theirs", err)
		}
		db.Settle(two.Job, 0.5, 0)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		db = open(t, o)
		if _, err := db.BeginReview(t.Context(), two.Job, "cloud", true); !errors.Is(err, queue.ErrCap) {
			t.Errorf("begin after a restart = %v, want ErrCap", err)
		}
		time.Sleep(13 * time.Hour)
		begin(t, db, two.Job) // another day
	})
}

func TestOneReviewAtATimeAndOneThatACutEndedIsPaidAtTheWorst(t *testing.T) {
	path := dataFile(t)
	o := outsideOptions(path)
	o.CrashCostUSD, o.DailyCapUSD = 0.04, 10
	db := open(t, o)
	a, other := answered(t, db, "A1", by("local", "qwen", "x")), answered(t, db, "A2", by("local", "qwen", "x"))
	for n, want := range []float64{0.04, 0.08} {
		begin(t, db, a.Job)
		if _, err := db.BeginReview(t.Context(), other.Job, "cloud", true); !errors.Is(err, edgeagent.ErrConflict) {
			t.Errorf("a second review at a time = %v, want a conflict", err)
		}
		if err := db.Close(); err != nil { // the process ends in the middle of it
			t.Fatal(err)
		}
		db = open(t, o)
		if got := db.Spend().TodayUSD; math.Abs(got-want) > 1e-9 {
			t.Errorf("life %d: spent %v, want %v", n, got, want)
		}
		j := job(t, db, a.Job)
		if j.State != edgeagent.JobCompleted || j.Diagnosis == nil || !j.Timeline[len(j.Timeline)-1].Detail.Is("interrupted") {
			t.Errorf("life %d: job = %+v", n, j)
		}
	}
	if _, err := db.BeginReview(t.Context(), a.Job, "cloud", true); !errors.Is(err, edgeagent.ErrConflict) {
		t.Errorf("a third try = %v, want a conflict", err)
	}
	begin(t, db, other.Job)
}
