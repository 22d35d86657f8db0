package e2e

import (
	"bytes"
	"fmt"
	"os"
	"testing"
	"time"
)

// The process is killed between the commit of an answer and whatever would come
// next, at every commit of a job's life. An answer that is in the file is never
// paid again; a question whose answer is not there is asked again, once for each
// time that it was cut off.
func TestAPaidAnswerIsNeverPaidAgain(t *testing.T) {
	armed := failpointAgent(t)
	cloud := newOpenAI(t, listenLoopback(t))
	a := newAgent(t, plan{cloud: cloud.url}.toml(t))
	afterAnswer, kills := 0, 0
	for n := 0; n < sized(4, 16) || afterAnswer == 0 && n < 40; n++ { // what goes into one commit is chance
		t.Setenv("EDGEAGENT_FAILPOINT", fmt.Sprintf("commit.answer=kill@%d", n%4+1))
		a.launchBinary(armed, "run", "-c", a.config())
		var d alarmDoc
		a.eventually(20*time.Second, "it is answered or killed", func() bool {
			if d.ID == "" {
				d, _ = a.raise("line-1", fmt.Sprintf("P%d", n), "to be paid", fmt.Sprintf("key-%d", n))
			}
			var s statusDoc
			return !a.running() || a.get("/api/v1/status", &s) == nil && s.Jobs.Completed > n
		})
		killed := !a.running()
		if killed {
			kills++
		}
		a.kill()
		t.Setenv("EDGEAGENT_FAILPOINT", "")
		paid := len(cloud.questions())
		a.start()
		d, err := a.raise("line-1", fmt.Sprintf("P%d", n), "to be paid", fmt.Sprintf("key-%d", n)) // with its key: at most once
		if err != nil {
			t.Fatal(err)
		}
		j := a.finished(d.ID, 60*time.Second)
		answeredBy(t, j, "cloud")
		asked := 0
		for _, q := range cloud.questions() {
			if q.job == j.ID {
				asked++
			}
		}
		if asked > 1+j.Interrupts {
			t.Errorf("kill %d: job %s was asked %d times and cut off %d times", n+1, j.ID, asked, j.Interrupts)
		}
		if killed && asked == 1 && paid > 0 && cloud.questions()[paid-1].job == j.ID && j.Interrupts == 0 {
			afterAnswer++ // paid before the kill, and never since
		}
		if err := a.stop(); err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d kills, %d of them behind the commit of an answer", kills, afterAnswer)
	if kills == 0 || afterAnswer == 0 {
		t.Errorf("%d kills, %d behind the commit of an answer: this proves nothing", kills, afterAnswer)
	}
}

// running reports whether the process still lives; one that has killed itself is
// a zombie until somebody asks for it.
func (a *agent) running() bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", a.pid()))
	return err == nil && !bytes.HasPrefix(stat[bytes.LastIndexByte(stat, ')')+1:], []byte(" Z"))
}
