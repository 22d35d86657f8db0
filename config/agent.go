package config

import (
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // a minimal system has no zones, and a wrong local day is a wrong daily cap
	"unicode"
	"unicode/utf8"
)

// socketName is the Unix socket in the runtime or the data directory.
const socketName = "edgeagent.sock"

// maxSocket is what fits into the kernel's address of a Unix socket.
const maxSocket = 107

// reader turns the tree of one file into a Config and books what is wrong.
type reader struct {
	*problems
	checks       Checks
	dir          string // of the first file
	broken       bool   // after a syntax error: nothing is called missing
	language     string
	sections     []*section
	last         map[string]*section // by schema
	absent       []absence
	modeSections []*section
}

// path returns the path of a key, joined to the directory of the file in which
// it stands.
func (s *section) path(key, def string) string {
	path, dir := s.text(key, def), s.dir
	if e := s.t.get(key); e != nil {
		dir = s.region(e.value.pos).dir
	}
	switch {
	case path == "":
		return ""
	case strings.HasPrefix(path, "$"+credentials+"/"):
		if where := os.Getenv(credentials); where != "" {
			return where + strings.TrimPrefix(path, "$"+credentials)
		}
		return path // set by systemd alone: a check by hand must not fail for it
	}
	return under(dir, path)
}

func (r *reader) config(root *table) *Config {
	top := r.section(root, "", nil)
	r.language = languageOf(root)
	top.words("include")
	for _, key := range []string{"template", "device_list"} {
		top.get(key)
	}
	c := &Config{
		Agent:  r.agent(top.table("agent")),
		Log:    r.log(top.table("log")),
		Status: r.status(top.table("status")),
		Queue:  r.queue(top.table("queue")),
		Alarms: r.alarms(top.table("alarms")),
		Lines:  r.lines(top.tables("line")),
		LLM:    r.llm(top.table("llm")),
		Sync:   r.syncs(top.tables("sync")),
	}
	c.Devices = r.devices(top.tables("device"), c)
	r.compileModes(c)
	r.deviceLists(top.tables("device_list"))
	r.namedTemplates(top.tables("template"))
	r.refuseUnknown()
	return c
}

var identifier = regexp.MustCompile(`^[a-z0-9-]{1,63}$`)

func (r *reader) agent(s *section) Agent {
	a := Agent{
		ID:            s.required("id", identifier, "1 to 63 of a-z, 0-9 and -", `"line-3-gw"`),
		Site:          s.required("site", identifier, "1 to 63 of a-z, 0-9 and -", `"plant-a"`),
		DataDir:       s.path("data_dir", "data"),
		Timezone:      s.timezone("timezone"),
		ShutdownGrace: s.duration("shutdown_grace", 10*time.Second, 0, 10*time.Minute),
	}
	if a.DataDir == "" {
		s.fail("data_dir", `data_dir is empty; name a directory, such as "data"`)
	}
	a.Socket = s.socket(a.DataDir)
	return a
}

// required returns a name that must be there and fit the pattern.
func (s *section) required(key string, pattern *regexp.Regexp, want, example string) string {
	v := s.scalar(key, kindString, "a text in double quotes")
	switch {
	case v == nil && s.good(key):
		s.missing(key, example)
	case v == nil:
	case !pattern.MatchString(v.text):
		s.fail(key, "%s %s is not allowed; want %s", key, quote(v.text), want)
	default:
		return v.text
	}
	return ""
}

func (s *section) timezone(key string) *time.Location {
	name := s.text(key, "")
	if name == "" {
		return time.Local
	}
	zone, err := time.LoadLocation(name)
	if err != nil || name == "Local" {
		s.fail(key, `timezone %s is not known; want a name such as "Europe/Berlin" or "UTC"`, quote(name))
		return time.Local
	}
	return zone
}

func (s *section) socket(dataDir string) string {
	key, path := "socket", s.path("socket", "")
	if run := os.Getenv("RUNTIME_DIRECTORY"); path == "" && run != "" {
		path = filepath.Join(run, socketName)
	} else if path == "" {
		key, path = "data_dir", filepath.Join(dataDir, socketName)
	}
	if len(path) > maxSocket && s.good("socket", "data_dir") {
		s.fail(key, "the path of the socket has %d bytes and the system allows %d: %s; set a shorter socket, such as \"/run/edgeagent.sock\"",
			len(path), maxSocket, quote(path))
	}
	return path
}

func (r *reader) log(s *section) Log {
	levels := map[string]slog.Level{"info": slog.LevelInfo, "debug": slog.LevelDebug, "warn": slog.LevelWarn, "error": slog.LevelError}
	return Log{
		Level:  levels[s.choice("level", []string{"info", "debug", "warn", "error"})],
		Format: s.choice("format", []string{"auto", "text", "json"}),
	}
}

var hostName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$`)

func (r *reader) status(s *section) Status {
	st := Status{Listen: s.text("listen", "127.0.0.1:8484")}
	host, port, err := net.SplitHostPort(st.Listen)
	switch {
	case err != nil || !validPort(port, 0):
		s.fail("listen", `listen %s is no address; want HOST:PORT, such as "127.0.0.1:8484"`, quote(st.Listen))
	case !loopback(host):
		s.fail("listen", "listen %s is reachable from other machines, which is not supported by this version; use %q and an SSH tunnel",
			quote(st.Listen), "127.0.0.1:"+port)
	}
	for _, w := range s.words("hosts") {
		if !hostName.MatchString(w.text) {
			s.failAt("hosts", w.pos, `host %s is no host name; write it without scheme, port and path, such as "gw.example"`, quote(w.text))
		}
		st.Hosts = append(st.Hosts, w.text)
	}
	return st
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func validPort(port string, least int) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && int(n) >= least
}

func (r *reader) queue(s *section) Queue {
	return Queue{
		Workers:     s.integer("workers", 2, 1, 16),
		MaxAttempts: s.integer("max_attempts", 8, 1, 100),
		GroupWindow: s.duration("group_window", 5*time.Second, 0, 10*time.Minute),
		FloodWindow: s.duration("flood_window", 0, 0, day),
		MaxSize:     s.size("max_size", 256<<20, 1<<20, 64<<30),
		Retain:      s.duration("retain", 30*day, time.Hour, 3650*day),
	}
}

func (r *reader) alarms(s *section) Alarms {
	return Alarms{
		Mode:      s.choice("mode", []string{"mirror"}, "annunciate"),
		MaxShelve: s.duration("max_shelve", day, time.Minute, 30*day),
	}
}

func (r *reader) lines(sections []*section) []Line {
	var lines []Line
	unique := names{}
	for _, s := range sections {
		l := Line{
			Name:            s.title("name", `"Filler-2"`),
			Area:            s.label("area", ""),
			DiagnoseOutside: s.boolean("diagnose_outside", true),
		}
		unique.claim(s, "name", l.Name)
		var sections []*section
		l.Modes, sections = s.modes()
		r.modeSections = append(r.modeSections, sections...)
		lines = append(lines, l)
	}
	return lines
}

// title returns a required name that people read.
func (s *section) title(key, example string) string {
	if !s.set(key) {
		s.missing(key, example)
		return ""
	}
	name := s.label(key, "")
	if name == "" && s.good(key) {
		s.fail(key, "%s is empty; write a name, such as %s", key, example)
	}
	return name
}

// label returns a name that people read: short, printable, without the slash
// that joins names in evidence.
func (s *section) label(key, def string) string {
	name := s.text(key, def)
	switch {
	case utf8.RuneCountInString(name) > 63:
		s.fail(key, "%s %s is longer than 63 characters", key, quote(name))
	case strings.ContainsFunc(name, func(r rune) bool { return r == '/' || !unicode.IsPrint(r) }):
		s.fail(key, "%s %s is not allowed; want printable characters without /", key, quote(name))
	case name != strings.TrimSpace(name):
		s.fail(key, "%s %s begins or ends with a space; remove it", key, quote(name))
	}
	return name
}

// names are the names that are taken, with the offset where each is.
type names map[string]int

// claim books a name that is taken already.
func (n names) claim(s *section, key, name string) {
	if first, taken := n.take(s, key, name); taken {
		s.fail(key, "%s %s is taken in %s; names must differ", key, quote(name), first)
	}
}

// take makes a name taken, or says where it was.
func (n names) take(s *section, key, name string) (first string, taken bool) {
	if name == "" {
		return "", false
	}
	pos := s.t.pos
	if e := s.t.get(key); e != nil {
		pos = e.pos
	}
	if other, taken := n[name]; taken {
		return s.where(other, pos), true
	}
	n[name] = pos
	return "", false
}

// localized returns a text that people read: one for all, or the one of the
// configured language, of English, or the first.
func (s *section) localized(key, def string) string {
	v := s.get(key)
	switch {
	case v == nil:
		return def
	case v.kind == kindString:
		return v.text
	case v.kind != kindTable:
		s.fail(key, `%q wants a text, or one per language such as { en = "…", de = "…" }, not %s`, key, kindWords[v.kind])
		return def
	}
	return s.table(key).ownLanguage(def)
}

var languageName = regexp.MustCompile(`^[a-z]{2}(-[A-Z]{2})?$`)

// ownLanguage chooses among texts by language.
func (s *section) ownLanguage(def string) string {
	texts, first := map[string]string{}, def
	for i, e := range s.t.entries {
		if !languageName.MatchString(e.key) {
			continue // refused as unknown
		}
		texts[e.key] = s.text(e.key, "")
		if i == 0 {
			first = texts[e.key]
		}
	}
	for _, l := range []string{s.language, "en"} {
		if text := texts[l]; text != "" {
			return text
		}
	}
	return first
}

// languageOf looks the language up before anything else is read.
func languageOf(root *table) string {
	if llm := root.get("llm"); llm != nil && llm.value.kind == kindTable {
		if e := llm.value.table.get("language"); e != nil && e.value.kind == kindString {
			return e.value.text
		}
	}
	return "en"
}
