package e2e

import (
	"bufio"
	"fmt"
	"maps"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// The ways in which a cloud cannot even be reached, each through the kernel and
// the resolver as the agent meets them. Another model answers, within the
// budget; what is recorded of the calls is what /metrics counts.
func TestTheWayToTheCloudIsBad(t *testing.T) {
	mostlyWaits(t)
	v := newVPN(t)
	v.nameServer()
	v.nft("add table inet hole", "add chain inet hole in { type filter hook input priority 0 ; }", "add rule inet hole in tcp dport 9 drop")
	local := newOllama(t, v.listen(v.plant, "127.0.0.1:11434"))
	var mute, shut atomic.Int64
	v.greet(cloudAddr+":8443", func(net.Conn) { mute.Add(1) }) // never says a word
	v.greet(cloudAddr+":8444", func(c net.Conn) {
		shut.Add(1)
		_ = c.(*net.TCPConn).SetLinger(0)
		c.Close()
	})
	for _, tt := range []struct {
		name, url string
		says      string // part of why
		came      *atomic.Int64
	}{
		{"the name does not exist", "https://nowhere.example/v1", "the name cannot be resolved", nil},
		{"the name server fails", "https://broken.example/v1", "the name cannot be resolved", nil},
		{"a black hole", "https://" + cloudAddr + ":9/v1", "cannot be reached", nil},
		{"nobody listens", "https://" + cloudAddr + ":10/v1", "refused", nil},
		{"the handshake is never answered", "https://" + cloudAddr + ":8443/v1", "handshake", &mute},
		{"reset at once", "https://" + cloudAddr + ":8444/v1", "reset", &shut},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := newAgent(t, plan{cloud: tt.url, local: local.url}.toml(t))
			a.prefix = []string{"ip", "netns", "exec", v.plant}
			a.start()
			j := a.diagnosed("line-1", "N1", "the way there is bad", 60*time.Second)
			inBudget(t, j)
			for _, c := range j.Calls[:len(j.Calls)-1] {
				t.Logf("%s: %s %+v", c.Provider, c.Outcome, c.Error)
				if c.Outcome != "unreachable" || c.CostUSD != 0 || !strings.Contains(fmt.Sprint(c.Error), tt.says) {
					t.Errorf("call %+v %+v, want it unreachable, unpaid, and %q", c, c.Error, tt.says)
				}
			}
			// One and one more try, unless a probe has opened the breaker meanwhile.
			if n := len(j.Calls) - 1; n < 1 || n > 2 {
				t.Errorf("%d calls to the cloud", n)
			}
			a.countsWhatIsRecorded(j)
			if tt.came != nil && tt.came.Load() < int64(len(j.Calls)-1) {
				t.Errorf("%d connections came for %d calls", tt.came.Load(), len(j.Calls)-1)
			}
		})
	}
}

// greet does something with every connection to addr of the cloud, which stays
// open until the end.
func (v *vpn) greet(addr string, do func(c net.Conn)) {
	l := v.listen(v.cloud, addr)
	v.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			do(c)
			v.t.Cleanup(func() { c.Close() })
		}
	}()
}

var countedCalls = regexp.MustCompile(`llm_calls_total\{provider="([^"]*)",outcome="([^"]*)"\} (\d+)`)

// countsWhatIsRecorded holds that /metrics has the calls of these jobs and none
// besides.
func (a *agent) countsWhatIsRecorded(jobs ...jobDoc) {
	a.t.Helper()
	recorded, counted := map[string]int{}, map[string]int{}
	for _, j := range jobs {
		for _, c := range j.Calls {
			recorded[c.Provider+" "+c.Outcome]++
		}
	}
	resp, err := a.http.Get("http://localhost/metrics")
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if m := countedCalls.FindStringSubmatch(lines.Text()); m != nil {
			counted[m[1]+" "+m[2]], _ = strconv.Atoi(m[3])
		}
	}
	if !maps.Equal(recorded, counted) {
		a.t.Errorf("/metrics counts %v, the jobs record %v", counted, recorded)
	}
}
