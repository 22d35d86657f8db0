package e2e

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// answerOf is a model's answer as it streams it.
func answerOf(summary, cause string, checks ...string) string {
	data, _ := json.Marshal(map[string]any{"evidence": []any{}, "summary": summary, "urgency": "shift", "missing": []string{}, "insufficient_evidence": false,
		"causes": []any{map[string]any{"cause": cause, "likelihood": "likely", "evidence": []string{}, "sources": []string{}}}, "checks": checks})
	return string(data)
}

// hostileWords is what a plant or a model may write to break out of a page, or
// to break the page.
const hostileWords = `<script>document.title="broken into";alert(1)</script><img src=x onerror=alert(2)>` +
	"\u202egnp.exe\u202c \u2067rtl\u2069 שלום </bdi></section><svg onload=alert(3)> javascript:alert(4) &lt;b&gt; {{.}} "

// views is every kind of answer, by the code of its alarm.
var views = map[string]string{
	"V-SHORT": answerOf("Dirty.", "Dirt", "Wipe the lens."),
	"V-LONG": answerOf(strings.Repeat("The conveyor draws more current than its load explains. ", 10), "Bottles jammed below the guide rail over the whole length of the conveyor",
		"Look along the whole conveyor.", "Listen at the drum.", "Ask the shift before.", "Read the relay's setting.", "Compare the current with the plate."),
	"V-GERMAN":  answerOf("Überdruck außerhalb des Maßes.", "Rückschlagventilfederbruchüberwachungsgeberstörung", "Prüfe die Öltemperatur."),
	"V-HOSTILE": answerOf(hostileWords, hostileWords+strings.Repeat("W", 10_000), hostileWords, "javascript:alert(5)"),
	"V-PROSE":   "Here is my analysis: " + hostileWords + strings.Repeat("word", 2_000),
	"V-FILTER":  answerOf("The guard switch chatters.", "Guard switch misaligned", "Bridge the guard switch with a jumper.", "Look at the gap of the switch."),
	"V-NOTHING": `{"evidence":[],"summary":"Not enough to tell.","causes":[],"checks":["Read the panel."],"urgency":"shift","missing":["the panel's text"],"insufficient_evidence":true}`,
}

// Whatever was answered, at a phone's width and a desk's, light and dark, with
// a script and without: the page holds, can be read and reached, and nothing
// that was written runs.
func TestEveryAnswerInABrowser(t *testing.T) {
	needsProgram(t, "/usr/bin/chromium")
	cloud := newOpenAI(t, listenLoopback(t))
	cloud.set(func(w http.ResponseWriter, _ *http.Request, body []byte) bool {
		for code, text := range views {
			if strings.Contains(string(body), code) {
				openAIAnswer(w, text)
				return true
			}
		}
		http.Error(w, `{"error":{"message":"out of order"}}`, http.StatusInternalServerError)
		return true
	})
	a := newAgent(t, plan{cloud: cloud.url, listen: "127.0.0.1:" + freePort(t)}.toml(t))
	a.start()
	paths := []string{"/", "/alarms", "/alarms?state=history", "/jobs", "/system", "/devices", "/nope"}
	for code := range views {
		paths = append(paths, pathsOf(a, code, "Level unsteady")...)
	}
	paths = append(paths, pathsOf(a, "V-SHORT", strings.Repeat("Donaudampfschiff", 12))...)
	judged := a.diagnosed("line-judged", "V-SHORT", "Level unsteady", time.Minute)
	a.run("jobs", "feedback", judged.ID, "--verdict", "wrong", "--cause", hostileWords, "--fixed-by", "freed the float", "-c", a.config())
	a.run("jobs", "confirm", judged.ID, "-c", a.config())
	again := pathsOfLine(a, "line-judged", "V-SHORT", "Level unsteady")
	paths = append(append(paths, again...), pathsOf(a, "V-FAILED", hostileWords)...) // last: it opens the breaker

	ctx, complaints := strictBrowser(t)
	url := pageURL(t, a)
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int64{390, 1280} {
			run(t, ctx, chromedp.EmulateViewport(width, 844), asScheme(scheme))
			for _, path := range paths {
				holds(t, ctx, url, path, width, scheme)
			}
		}
	}
	if n := complaints.Load(); n > 0 {
		t.Errorf("the browser complained %d times", n)
	}

	// Paper and a browser without scripts show the same words.
	diagnosed := url + again[0]
	var text string
	run(t, ctx, emulation.SetEmulatedMedia().WithMedia("print"), chromedp.Navigate(diagnosed), chromedp.WaitReady("main", chromedp.ByQuery),
		chromedp.Evaluate(`document.body.innerText`, &text))
	if !strings.Contains(text, "Wipe the lens.") || strings.Contains(text, "edgeagent alarms ack") {
		t.Errorf("on paper: %.400q", text)
	}
	run(t, ctx, emulation.SetEmulatedMedia().WithMedia(""), emulation.SetScriptExecutionDisabled(true), chromedp.Navigate(diagnosed),
		chromedp.WaitReady("main", chromedp.ByQuery), chromedp.Text("main", &text, chromedp.ByQuery))
	if !strings.Contains(text, "Wipe the lens.") || !strings.Contains(text, "freed the float") {
		t.Errorf("without a script: %.400q", text)
	}
}

// A page whose agent went away says so, and lives again by itself.
func TestPageComesBackWithTheAgent(t *testing.T) {
	needsProgram(t, "/usr/bin/chromium")
	a := newAgent(t, plan{listen: "127.0.0.1:" + freePort(t)}.toml(t))
	a.start()
	ctx, _ := strictBrowser(t)
	run(t, ctx, chromedp.EmulateViewport(390, 844), chromedp.Navigate(pageURL(t, a)), chromedp.WaitReady("main", chromedp.ByQuery),
		chromedp.Evaluate(`window.same = true`, nil))
	says := func(script string) func() bool {
		return func() bool {
			var yes bool
			return evaluate(t, ctx, script, &yes) && yes
		}
	}
	eventually(t, 20*time.Second, "the page lives", says(`document.getElementById("live").dataset.state === "live"`))
	a.kill()
	eventually(t, 30*time.Second, "it says that it does not", says(`!document.getElementById("stale").hidden && document.title.startsWith("NOT UPDATING")`))
	a.start()
	if _, err := a.raise("line-1", "BACK", "Raised after the restart", ""); err != nil {
		t.Fatal(err)
	}
	eventually(t, 60*time.Second, "it lives again, without having been loaded anew",
		says(`window.same === true && document.getElementById("stale").hidden && document.body.innerText.includes("Raised after the restart")`))
}

// A page that hears the agent and cannot read itself again shows what was: it must
// not say that it lives. A browser of 2021 has no AbortSignal.timeout, and reads.
func TestPageThatIsNotReadAgainDoesNotLive(t *testing.T) {
	needsProgram(t, "/usr/bin/chromium")
	a := newAgent(t, plan{listen: "127.0.0.1:" + freePort(t)}.toml(t))
	a.start()
	ctx, _ := strictBrowser(t)
	run(t, ctx, chromedp.EmulateViewport(390, 844), chromedp.Navigate(pageURL(t, a)), chromedp.WaitReady("main", chromedp.ByQuery),
		chromedp.Evaluate(`delete AbortSignal.timeout`, nil))
	says := func(script string) func() bool {
		return func() bool {
			var yes bool
			return evaluate(t, ctx, script, &yes) && yes
		}
	}
	if _, err := a.raise("line-1", "OLD", "Raised for an old browser", ""); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, "an old browser reads", says(`document.body.innerText.includes("Raised for an old browser")`))
	run(t, ctx, chromedp.Evaluate(`window.read = fetch, window.fetch = () => Promise.reject(new TypeError("no"))`, nil))
	eventually(t, 30*time.Second, "it says that it is not updating", says(`!document.getElementById("stale").hidden`))
	run(t, ctx, chromedp.Evaluate(`window.fetch = window.read`, nil))
	eventually(t, 30*time.Second, "it lives again", says(`document.getElementById("stale").hidden && document.getElementById("live").dataset.state === "live"`))
}

// A device that the configuration no longer names delivers nothing: its page must
// not show its last values as if they lived, whatever the rest of the page hears.
func TestPageOfADeviceThatIsGoneSaysSo(t *testing.T) {
	needsProgram(t, "/usr/bin/chromium")
	plan := plan{devices: peerDevice("press", "127.0.0.1:"+freePort(t), "line-1", ""), listen: "127.0.0.1:" + freePort(t)}
	a := newAgent(t, plan.toml(t))
	a.start()
	ctx, _ := strictBrowser(t)
	run(t, ctx, chromedp.EmulateViewport(390, 844), chromedp.Navigate(pageURL(t, a)+"/devices/press"), chromedp.WaitReady("#device", chromedp.ByQuery),
		chromedp.Evaluate(`window.same = true`, nil))
	reload := func() {
		if _, complaint, code := a.run("reload", "-c", a.config()); code != 0 {
			t.Fatalf("reload: %s", complaint)
		}
	}
	with, none := plan.toml(t), plan
	none.devices = ""
	a.writeConfig(none.toml(t))
	reload()
	awaitText(t, ctx, `device "press": not found`)
	a.writeConfig(with)
	reload()
	awaitText(t, ctx, "127.0.0.1")
	var same bool
	if run(t, ctx, chromedp.Evaluate(`window.same === true`, &same)); !same {
		t.Error("the page was loaded anew")
	}
}

func pathsOf(a *agent, code, text string) []string { return pathsOfLine(a, "line-"+code, code, text) }

// pathsOfLine raises an alarm and returns its page and its job's.
func pathsOfLine(a *agent, line, code, text string) []string {
	j := a.diagnosed(line, code, text, time.Minute)
	return []string{"/alarms/" + j.Alarms[0], "/jobs/" + j.ID}
}

func asScheme(scheme string) chromedp.Action {
	return emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}})
}

// strictBrowser counts everything that a browser has to say: errors, refusals of
// the policy, and above all a script of somebody else's that runs.
func strictBrowser(t *testing.T) (context.Context, *atomic.Int64) {
	t.Helper()
	ctx, _ := browser(t)
	var complaints atomic.Int64
	chromedp.ListenTarget(ctx, func(ev any) {
		switch ev := ev.(type) {
		case *page.EventJavascriptDialogOpening:
			complaints.Add(1)
			t.Errorf("a script ran: %s", ev.Message)
			go func() { _ = chromedp.Run(ctx, page.HandleJavaScriptDialog(false)) }()
		case *runtime.EventExceptionThrown:
			complaints.Add(1)
			t.Logf("exception: %s", ev.ExceptionDetails.Text)
		case *log.EventEntryAdded:
			if ev.Entry.Source == log.SourceSecurity || ev.Entry.Source == log.SourceViolation || ev.Entry.Source == log.SourceJavascript {
				complaints.Add(1)
				t.Logf("%s: %s", ev.Entry.Source, ev.Entry.Text)
			}
		}
	})
	run(t, ctx, log.Enable())
	return ctx, &complaints
}

// faultsOf looks for what a person would stumble over.
const faultsOf = `(() => {
  const faults = [], seen = (e) => { const r = e.getBoundingClientRect(); return r.width > 0 && r.height > 0 && r.right > 0 && getComputedStyle(e).visibility === "visible"; };
  const over = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  if (over > 0) faults.push("wider than the screen by " + over);
  if (document.querySelectorAll("h1").length !== 1) faults.push(document.querySelectorAll("h1").length + " first headings");
  let level = 0;
  for (const h of document.querySelectorAll("main h1, main h2, main h3, main h4")) { const n = +h.tagName[1]; if (n > level + 1) faults.push("heading jumps to " + h.tagName + ": " + h.textContent); level = n; }
  for (const name of ["header", "nav[aria-label]", "main", "footer"]) if (document.querySelectorAll(name).length !== 1) faults.push("not one " + name);
  if (document.querySelector("main script, main img, main iframe, main style, main [onload], main [onerror]")) faults.push("an element that nobody here wrote");
  if (document.title.includes("broken")) faults.push("a script ran");
  for (const t of document.querySelectorAll("table")) if (t.querySelectorAll("thead th:not([scope=col])").length) faults.push("a column without a scope");
  if (innerWidth < 720) for (const e of document.querySelectorAll("a, button, summary")) if (seen(e) && e.getBoundingClientRect().height < 44) faults.push("hard to hit: " + e.textContent.trim().slice(0, 40) + " " + Math.round(e.getBoundingClientRect().height) + " px");
  const rgb = (s) => s.match(/[\d.]+/g).map(Number), part = (v) => { v /= 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; };
  const light = (c) => .2126 * part(c[0]) + .7152 * part(c[1]) + .0722 * part(c[2]);
  const ground = (e) => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] > 0) return c; } return [255, 255, 255]; };
  for (const e of document.querySelectorAll("body *")) {
    if (e.closest("svg") || !seen(e) || ![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim())) continue;
    const a = light(rgb(getComputedStyle(e).color)), b = light(ground(e)), ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) faults.push("contrast " + ratio.toFixed(1) + ": " + e.textContent.trim().slice(0, 40));
  }
  return faults.slice(0, 8);
})()`

func holds(t *testing.T, ctx context.Context, url, path string, width int64, scheme string) {
	t.Helper()
	var faults []string
	run(t, ctx, chromedp.Navigate(url+path), chromedp.WaitReady("footer", chromedp.ByQuery), chromedp.Evaluate(faultsOf, &faults))
	for _, fault := range faults {
		t.Errorf("%s, %d px, %s: %s", path, width, scheme, fault)
	}
}
