package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"edgeagent/config"
	"edgeagent/diagnose"
	"edgeagent/llm"
	"edgeagent/llm/runbook"
	"edgeagent/queue"
	"edgeagent/status"
	upsync "edgeagent/sync"
	"edgeagent/tags"
)

func newRun(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "run", Short: "run the agent in the foreground until SIGTERM or SIGINT", Args: exactly(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			hup := hangups() // from the first moment on: unhandled, one would end us
			defer signal.Stop(hup)
			cfg, refused, err := loadForRun(config.DefaultPath(o.configPath))
			if err != nil {
				return err
			}
			a := newAgent(cfg, newLog(cfg.Log, c.ErrOrStderr()))
			a.hup = hup
			a.path = config.DefaultPath(o.configPath)
			if refused != nil {
				a.log.Error("configuration refused, running the last accepted one", "error", refused)
				a.refused.Store(&refused)
			}
			err = a.Run(c.Context())
			if restarts(c.Context(), err) {
				a.log.Error("restarting in place", "error", err)
				err = errors.Join(err, restartInPlace(time.Now()))
			}
			return err
		},
	}
}

// hangups receives that somebody wants the configuration read again.
func hangups() chan os.Signal {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	return hup
}

// loadForRun returns the configuration to run, and why the file itself was
// refused when it is the last accepted one: a gateway whose file was broken
// while it was down still starts, and says so.
func loadForRun(path string) (cfg *config.Config, refused, err error) {
	cfg, err = config.Load(path, checks())
	if err == nil {
		return cfg, nil, nil
	}
	last, lastErr := config.LastAccepted(path, checks())
	if lastErr != nil {
		if errors.Is(lastErr, config.ErrNoAccepted) {
			return nil, nil, configError(err)
		}
		return nil, nil, configError(errors.Join(err, lastErr))
	}
	return last, err, nil
}

func configError(err error) error { return &exitError{code: exitConfig, err: err} }

// agent is everything that runs. Its fields are written by start, reload and
// stop alone, under mu; what pages read lies behind atomic pointers, because
// the page is up before the data file is open.
type agent struct {
	log     *slog.Logger
	path    string // of the configuration file
	started time.Time
	onPage  func(url string) // told when the page answers; may be nil
	hup     chan os.Signal   // see hangups; nil: from Run on

	cfg     atomic.Pointer[config.Config]
	refused atomic.Pointer[error] // why the file on disk is not what runs
	loop    atomic.Pointer[loop]  // a reload replaces it
	db      atomic.Pointer[queue.DB]
	book    atomic.Pointer[runbook.Book]
	bookOf  bookState
	router  atomic.Pointer[llm.Router]
	counter atomic.Pointer[counter]
	conns   atomic.Pointer[[]connection]
	ups     atomic.Pointer[[]*upsync.Uploader]

	metrics *status.Metrics
	page    *status.Server
	table   *tags.Table
	rec     *recorder
	backlog *diagnose.Backlog // outlives the workers, which a reload stops
	pokes   *fanout
	calls   chan func(*loop) // people's actions, to whichever loop runs

	mu       sync.Mutex   // start, reload and stop, one at a time
	exchange sync.RWMutex // held while the plant's connections end, until others take their place
	ended    bool         // shutdown has begun: a reload must not start anything again; written under both
	plant    *wing
	diagnose *wing
	upstream *wing
	raising  chan struct{} // taken while an outside alarm is raised, one at a time: keys are checked against commits
}

func newAgent(cfg *config.Config, log *slog.Logger) *agent {
	a := &agent{
		log: log, path: cfg.Path, started: time.Now(), metrics: status.NewMetrics(), backlog: &diagnose.Backlog{Log: log},
		pokes: newFanout(), calls: make(chan func(*loop)), raising: make(chan struct{}, 1),
	}
	a.cfg.Store(cfg)
	a.page = status.New(status.Options{
		Source: source{a}, Actions: actions{a}, Storage: files{a}, Cases: cases{a}, Refusals: refusals{a}, Hosts: cfg.Status.Hosts, Location: cfg.Agent.Timezone, Log: log,
		Ready: a.ready, Healthy: a.healthy, Metrics: a.metrics,
	})
	return a
}

// Run starts the page, opens the data file, starts everything else, and ends
// in the reverse order when ctx does.
func (a *agent) Run(ctx context.Context) error {
	hup := a.hup
	if hup == nil {
		hup = hangups()
		defer signal.Stop(hup)
	}
	page, err := a.servePage(context.WithoutCancel(ctx))
	if err != nil {
		return err
	}
	defer a.closeFile() // after the page: it waits for the last who reads it
	defer page.stop()
	opening, opened := context.WithCancel(ctx)
	defer opened()
	go watchdog(opening, func() bool { return true }) // after a restart in place the service manager watches already
	err = a.openFile(ctx)
	opened()
	if err != nil {
		if ctx.Err() != nil {
			return nil // asked to end while the file was being checked
		}
		return err
	}
	base, cancelBase := context.WithCancel(context.WithoutCancel(ctx))
	defer cancelBase()
	recording, err := a.start(base)
	if err != nil {
		return err
	}
	settleMemory()
	notify("READY=1")
	err = a.wait(ctx, base, hup)
	if !errors.Is(err, errUntrusted) {
		notify(stopping(a.cfg.Load().Agent.ShutdownGrace)) // else the process goes on, with its number
	}
	a.shutdown(recording)
	return err
}

// wait returns when the agent is asked to end or cannot go on.
func (a *agent) wait(ctx, base context.Context, hup <-chan os.Signal) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go watchdog(ctx, a.progressing)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.db.Load().Failed():
			return fmt.Errorf("%s: %w: %s", dataFile(a.cfg.Load()), errUntrusted, a.db.Load().Storage().Error)
		case <-hup:
			changes, err := a.reload(base)
			if err != nil {
				a.log.Error("configuration refused, the old one goes on", "error", err)
				continue
			}
			a.log.Info("configuration read again", "changes", len(changes))
		}
	}
}

// servePage listens on the page's address and on the socket.
func (a *agent) servePage(ctx context.Context) (*wing, error) {
	cfg := a.cfg.Load()
	if err := os.MkdirAll(cfg.Agent.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("make the data directory: %w; create it for the user that runs the agent, or set [agent] data_dir", err)
	}
	tcp, err := listen(ctx, "tcp", cfg.Status.Listen)
	if err != nil {
		return nil, fmt.Errorf("open the page: %w; set [status] listen to a free address", err)
	}
	unix, err := listenUnix(ctx, cfg.Agent.Socket)
	if err != nil {
		_ = tcp.Close()
		return nil, fmt.Errorf("open the socket: %w; %s", err, socketRemedy(cfg, err))
	}
	w := startWing(ctx, a.log,
		runner{"page", func(ctx context.Context) error { return a.page.Serve(ctx, tcp) }},
		runner{"socket", func(ctx context.Context) error { return a.page.ServeSocket(ctx, unix) }})
	url := "http://" + tcp.Addr().String()
	a.log.Info("page is up", "url", url, "socket", cfg.Agent.Socket)
	if a.onPage != nil {
		a.onPage(url)
	}
	return w, nil
}

// socketRemedy: most sockets lie in the data directory, and to one that cannot be
// written no other socket helps.
func socketRemedy(cfg *config.Config, err error) string {
	if filepath.Dir(cfg.Agent.Socket) == filepath.Clean(cfg.Agent.DataDir) && unwritable(err) {
		return writableRemedy
	}
	return "set [agent] socket"
}

const writableRemedy = "give the data directory and what is in it to the user that runs the agent, writable, or set [agent] data_dir"

func unwritable(err error) bool {
	return errors.Is(err, os.ErrPermission) || errors.Is(err, syscall.EROFS)
}

func listen(ctx context.Context, network, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	return lc.Listen(ctx, network, addr)
}

// listenUnix replaces a socket that nobody answers on, as a kill -9 leaves it.
// Only a refused connection says so: a busy agent answers late, and what is no
// socket at all is somebody's file.
func listenUnix(ctx context.Context, path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, err
	}
	if err := removeStale(ctx, path); err != nil {
		return nil, err
	}
	l, err := listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o660); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func removeStale(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != os.ModeSocket {
		return fmt.Errorf("%s: a file that is no socket stands there", path)
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	if err == nil {
		return errors.Join(fmt.Errorf("%s: another agent answers there", path), conn.Close())
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("%s: another agent may be there: %w", path, err)
	}
	return os.Remove(path)
}

func dataFile(cfg *config.Config) string { return filepath.Join(cfg.Agent.DataDir, "edgeagent.db") }

func notOpened(err error) error {
	if unwritable(err) {
		return fmt.Errorf("open the data file: %w; %s", err, writableRemedy)
	}
	return fmt.Errorf("open the data file: %w", err)
}

func (a *agent) openFile(ctx context.Context) error {
	cfg := a.cfg.Load()
	o := queueOptions(cfg)
	here := queue.ReadHardware()
	o.Log, o.Check, o.OnCommit, o.Hardware = a.log, checkInChild, a.metrics.CommitDone, &here
	db, err := queue.Open(ctx, o)
	if err != nil {
		return notOpened(err)
	}
	a.db.Store(db)
	if a.refused.Load() == nil {
		err = config.Accept(cfg)
	}
	if err != nil {
		a.log.Error("accepted configuration not kept: a broken file would not start", "error", err)
	}
	a.page.Changed(status.KindStorage, "")
	return nil
}

func (a *agent) closeFile() {
	db := a.db.Load()
	if db == nil {
		return // it never opened
	}
	if err := db.Close(); err != nil {
		a.log.Error("close the data file", "error", err)
	}
}

// start runs everything behind the data file. It returns the wing of the recorder
// and the backlog, which ends last.
func (a *agent) start(ctx context.Context) (*wing, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	cfg := a.cfg.Load()
	a.loadRunbook(cfg)
	all, lines := plainTags(cfg)
	a.table = tags.New(all, lines)
	engine, err := newEngine(cfg, all, lines)
	if err != nil {
		return nil, err
	}
	a.rec = newRecorder(a.log, func() hinter { return a.book.Load() }, a.stored)
	a.rec.store = a.db.Load()
	a.loop.Store(newLoop(a.table, engine, a.rec, a.calls, a.scanned))
	a.rec.Put(engine.Restore(a.db.Load().OpenAlarms()), nil)
	recording := startWing(ctx, a.log, runner{"recorder", a.rec.Run}, runner{"backlog", a.backlog.Run})
	a.sayStarted(ctx)
	a.startPlant(ctx, cfg)
	a.startDiagnosis(ctx, cfg)
	a.startUpstream(ctx, cfg)
	return recording, nil
}

type startedData struct {
	Version    string `json:"version"`
	ConfigHash string `json:"config_hash"`
	BootedFrom string `json:"config"` // file, or last_accepted
}

func (a *agent) sayStarted(ctx context.Context) {
	from := "file"
	if a.refused.Load() != nil {
		from = "last_accepted"
	}
	if err := a.db.Load().AgentStarted(ctx, startedData{version, a.cfg.Load().Hash(), from}); err != nil {
		a.log.Error("start not recorded", "error", err)
	}
}

// shutdown has two phases: intake stops at once; running diagnoses get their
// grace, then the uploader, the recorder and the file.
func (a *agent) shutdown(recording *wing) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.exchange.Lock()
	a.ended = true
	a.plant.stop()
	a.exchange.Unlock()
	a.diagnose.stop()
	a.upstream.stop()
	recording.stop()
}

// withUnit keeps a journal from showing a duration as a number of nanoseconds.
func withUnit(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.StringValue(a.Value.Duration().String())
	}
	return a
}

// newLog writes text for a person on a terminal and JSON for a journal.
func newLog(o config.Log, w io.Writer) *slog.Logger {
	opts := &slog.HandlerOptions{Level: o.Level, ReplaceAttr: withUnit}
	if o.Format == "json" || o.Format == "auto" && !isTerminal(w) {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
