package ollama

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// A question that comes while another is being answered is seen, unless nobody
// listens to that answer any more.
func TestTwoAtATimeAreSeen(t *testing.T) {
	for _, tt := range []struct {
		name   string
		listen bool
		most   int
	}{{"both are listened to", true, 2}, {"the first has turned away", false, 1}} {
		t.Run(tt.name, func(t *testing.T) {
			next, over := make(chan struct{}), make(chan struct{})
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Second") != "" {
					return
				}
				defer close(over)
				for n := range 6 {
					_, _ = fmt.Fprintln(w, n)
					w.(http.Flusher).Flush()
					<-next // one part at a time, or they become one
				}
			}))
			defer server.Close()
			tap := NewTap(t, server.URL)
			first := ask(t, tap.URL, "")
			line := make([]byte, 2)
			if _, err := first.Body.Read(line); err != nil {
				t.Fatal(err)
			}
			if !tt.listen {
				_ = first.Body.Close()
			}
			_ = ask(t, tap.URL, "yes").Body.Close()
			<-time.After(2 * turning)
			for range 5 {
				next <- struct{}{}
				if tt.listen {
					if _, err := first.Body.Read(line); err != nil {
						t.Fatal(err)
					}
				}
			}
			close(next)
			<-over
			if wants, most := tap.Wants(); len(wants) != 1 || most != tt.most || tap.Asked() != 2 {
				t.Errorf("%d at a time, want %d; wants %v, asked %d", most, tt.most, wants, tap.Asked())
			}
		})
	}
}

func ask(t *testing.T, url, second string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/api/chat", strings.NewReader(`{"model":"m"}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Second", second)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}
