package status

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"net/http"
	"path"
	"strings"
	"sync"

	"edgeagent/status/page"
)

//go:embed web
var web embed.FS

// pages are the templates, parsed once: each page with the frame around it.
var pages = parsePages("now", "alarms", "alarm", "devices", "device", "jobs", "job", "system", "error")

func parsePages(names ...string) map[string]*page.Page {
	out := make(map[string]*page.Page, len(names))
	for _, name := range names {
		out[name] = page.Must(page.Parse(web, language, "web/layout.html", "web/parts.html", "web/"+name+".html"))
	}
	return out
}

// language is what templates may call.
var language = page.Options{
	Funcs: map[string]any{
		"size": size, "usd": usd, "number": number, "icon": func(s string) page.URL { return page.URL(s) },
		"asset": assetPath, "short": short, "command": command, "words": splitWords, "level": levelWord,
		"dict": dict, "count": count,
	},
	Methods: map[string]page.Method{
		"Set":    method(func(v interface{ Set() bool }) any { return v.Set() }),
		"Open":   method(func(v interface{ Open() bool }) any { return v.Open() }),
		"Name":   method(func(v interface{ Name() string }) any { return v.Name() }),
		"String": method(func(v fmt.Stringer) any { return v.String() }),
	},
}

// method makes a method of an interface one that templates may call.
func method[I any](call func(I) any) page.Method {
	return func(v any) (any, bool) {
		i, has := v.(I)
		if !has {
			return nil, false
		}
		return call(i), true
	}
}

// short is the end of an id: the part that differs on one page.
func short(id any) string {
	s := fmt.Sprint(id)
	if len(s) <= 6 {
		return s
	}
	return "…" + s[len(s)-6:]
}

// command joins what a person types.
func command(words ...any) string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = fmt.Sprint(w)
	}
	return "edgeagent " + strings.Join(out, " ")
}

// splitWords splits a command where a line may break: never within "--for".
func splitWords(command string) []string { return strings.Fields(command) }

// dict hands several named things to a part of a page.
func dict(pairs ...any) map[string]any {
	out := make(map[string]any, len(pairs)/2)
	for i := 0; i+1 < len(pairs); i += 2 {
		out[fmt.Sprint(pairs[i])] = pairs[i+1]
	}
	return out
}

func levelWord(level any) string {
	return map[string]string{"ok": "normal", "degraded": "degraded", "attention": "attention", "fault": "fault"}[fmt.Sprint(level)]
}

// asset is one file of the page that does not change while the agent runs.
type asset struct {
	kind string
	etag string
	raw  []byte
	zip  []byte
}

var assetKinds = map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}

// assets returns the static files by path.
var assets = sync.OnceValue(func() map[string]*asset {
	entries, err := web.ReadDir("web")
	if err != nil {
		panic(err) // embedded: cannot happen in a binary that was built
	}
	out := make(map[string]*asset)
	for _, e := range entries {
		kind, static := assetKinds[path.Ext(e.Name())]
		if !static {
			continue
		}
		raw, err := web.ReadFile("web/" + e.Name())
		if err != nil {
			panic(err)
		}
		sum := sha256.Sum256(raw)
		out["/static/"+e.Name()] = &asset{kind: kind, raw: raw, zip: gzipBytes(raw), etag: `"` + hex.EncodeToString(sum[:8]) + `"`}
	}
	return out
})

func gzipBytes(raw []byte) []byte {
	var buf bytes.Buffer
	zip, _ := gzip.NewWriterLevel(&buf, gzip.BestCompression) // the level is valid
	_, _ = zip.Write(raw)                                     // a buffer takes everything
	_ = zip.Close()
	return buf.Bytes()
}

// assetPath names a file with its hash: a new version of the agent is a new
// address, so that no browser mixes two.
func assetPath(name string) string {
	full := "/static/" + name
	if a, ok := assets()[full]; ok {
		return full + "?v=" + strings.Trim(a.etag, `"`)
	}
	return full
}

func (a *asset) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", a.kind)
	h.Set("ETag", a.etag)
	h.Set("Cache-Control", "max-age=86400")
	h.Set("Vary", "Accept-Encoding")
	if strings.Contains(r.Header.Get("If-None-Match"), a.etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	body := a.raw
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		body = a.zip
	}
	h.Set("Content-Length", fmt.Sprint(len(body)))
	// A reader that is gone cannot be told so.
	_, _ = w.Write(body)
}
