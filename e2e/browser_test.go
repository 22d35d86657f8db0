package e2e

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// The page in a real browser, as a phone and as a desktop: it lives, nothing
// is cut off, and the browser has nothing to complain about.
func TestPageInABrowser(t *testing.T) {
	needsProgram(t, "/usr/bin/chromium")
	p := startLibmodbus(t)
	a := newAgent(t, plan{devices: peerDevice("press", p.tap.addr(), "line-1", ""), listen: "127.0.0.1:" + freePort(t)}.toml(t))
	a.start()
	a.eventually(20*time.Second, "it polls", func() bool { return a.device("press").State == "polling" })
	url := pageURL(t, a)

	ctx, errors := browser(t)
	var title, body, live string
	run(t, ctx, chromedp.EmulateViewport(390, 844), chromedp.Navigate(url), chromedp.WaitVisible("body"), chromedp.Title(&title))
	noSideScroll(t, ctx, "/")

	// What happens at the machine appears by itself.
	p.set("holding", 500, 3)
	awaitText(t, ctx, "Drive fault word set")
	var found alarmDoc
	for _, d := range a.alarms("active") {
		found = d
	}
	for _, path := range []string{"/alarms", "/alarms/" + found.ID, "/devices", "/devices/press", "/jobs", "/jobs/" + found.Job, "/system"} {
		for _, width := range []int64{390, 1280} {
			run(t, ctx, chromedp.EmulateViewport(width, 844), chromedp.Navigate(url+path), chromedp.WaitVisible("body"), chromedp.Text("body", &body))
			noSideScroll(t, ctx, path)
			if len(body) < 40 {
				t.Errorf("%s shows nothing: %q", path, body)
			}
		}
	}
	shot(t, ctx, url+"/alarms/"+found.ID, 390, "alarm-phone.png")
	shot(t, ctx, url+"/", 390, "now-phone.png")
	shot(t, ctx, url+"/", 1280, "now-desktop.png")

	// A page whose agent is gone must not look alive.
	run(t, ctx, chromedp.Navigate(url), chromedp.WaitVisible("body"))
	complaints := errors.all()
	a.kill()
	awaitText(t, ctx, "NOT UPDATING")
	run(t, ctx, chromedp.Text("body", &live))
	if len(complaints) > 0 {
		t.Errorf("the console complained: %v", complaints)
	}
}

func pageURL(t *testing.T, a *agent) string {
	t.Helper()
	var url string
	eventually(t, 10*time.Second, "the log names the page", func() bool {
		url = between(a.log.String(), `"url":"`, `"`)
		return url != ""
	})
	return url
}

// consoleErrors is what a browser complains about, from a goroutine of its own.
type consoleErrors struct {
	mu    sync.Mutex
	texts []string
}

func (c *consoleErrors) add(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.texts = append(c.texts, text)
}

func (c *consoleErrors) all() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.texts)
}

func browser(t *testing.T) (context.Context, *consoleErrors) {
	t.Helper()
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath("/usr/bin/chromium"), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.WSURLReadTimeout(2*time.Minute), chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-background-networking", true))
	alloc, stop := chromedp.NewExecAllocator(t.Context(), opts...)
	t.Cleanup(stop)
	ctx, cancel := chromedp.NewContext(alloc)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 10*time.Minute)
	t.Cleanup(cancel)
	errors := &consoleErrors{}
	chromedp.ListenTarget(ctx, func(ev any) {
		switch ev := ev.(type) {
		case *runtime.EventExceptionThrown:
			errors.add(ev.ExceptionDetails.Text)
		case *runtime.EventConsoleAPICalled:
			if ev.Type == runtime.APITypeError {
				errors.add(string(ev.Args[0].Value))
			}
		}
	})
	return ctx, errors
}

func run(t *testing.T, ctx context.Context, actions ...chromedp.Action) {
	t.Helper()
	if err := chromedp.Run(ctx, actions...); err != nil {
		t.Fatalf("browser: %v", err)
	}
}

func awaitText(t *testing.T, ctx context.Context, text string) {
	t.Helper()
	var body string
	eventually(t, 30*time.Second, "the page says "+text, func() bool {
		return evaluate(t, ctx, `document.body.innerText`, &body) && contains(body, text)
	})
}

// evaluate runs a script in a page that may be changing just then, and reports
// whether it came to its end.
func evaluate(t *testing.T, ctx context.Context, script string, result any) bool {
	t.Helper()
	if err := ctx.Err(); err != nil {
		t.Fatalf("browser: %v", err)
	}
	return chromedp.Run(ctx, chromedp.Evaluate(script, result)) == nil
}

func noSideScroll(t *testing.T, ctx context.Context, path string) {
	t.Helper()
	var over int
	run(t, ctx, chromedp.Evaluate(`document.documentElement.scrollWidth - document.documentElement.clientWidth`, &over))
	if over > 0 {
		t.Errorf("%s is %d px wider than the screen", path, over)
	}
}

// shot keeps a picture for whoever wants to look.
func shot(t *testing.T, ctx context.Context, url string, width int64, name string) {
	t.Helper()
	var png []byte
	run(t, ctx, chromedp.EmulateViewport(width, 844), chromedp.Navigate(url), chromedp.WaitVisible("body"), chromedp.FullScreenshot(&png, 100))
	if err := os.MkdirAll("out", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join("out", name), png, 0o644); err != nil {
		t.Fatal(err)
	}
}
