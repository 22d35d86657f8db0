package page

import (
	"html/template"
	"io"
	"testing"
	"testing/fstest"
)

// BenchmarkDraw draws a table of 100 rows, and the same with html/template.
func BenchmarkDraw(b *testing.B) {
	text := main(`{{range .Things}}<tr id="t-{{.Deep}}"{{if .Absent}} class="x"{{end}}><td><a href="/alarms/{{.Deep}}">{{.Deep}}</a></td></tr>{{end}}`)
	data := sample("x")
	data.Things = make([]inner, 100)
	for i := range data.Things {
		data.Things[i].Deep = "level of the tank"
	}
	ours, err := Parse(fstest.MapFS{"a.html": {Data: []byte(text)}}, Options{}, "a.html")
	if err != nil {
		b.Fatal(err)
	}
	peers := template.Must(template.New("a").Parse(text))
	b.Run("page", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_ = ours.Execute(io.Discard, "main", data)
		}
	})
	b.Run("html", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_ = peers.ExecuteTemplate(io.Discard, "main", data)
		}
	})
}
