package opcua

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gopcua/opcua/ua"

	"edgeagent"
	"edgeagent/plc"
)

// slowCaller takes its time to create items.
type slowCaller struct {
	caller
	late time.Duration
}

func (s slowCaller) call(ctx context.Context, req ua.Request, tok *ua.NodeID) (ua.Response, error) {
	if _, ok := req.(*ua.CreateMonitoredItemsRequest); ok {
		time.Sleep(s.late)
	}
	return s.caller.call(ctx, req, tok)
}

// Creating many items can take longer than a subscription may be silent. Its
// silence counts from when it is asked, whichever worker is first.
func TestAServerThatSubscribesSlowlyIsNotSilent(t *testing.T) {
	for range 5 {
		synctest.Test(t, func(t *testing.T) {
			p := newRig()
			var tags []plc.TagSpec
			for i := range 25 {
				name := fmt.Sprintf("a%d", i)
				p.set("ns=1;s="+name, int16(0))
				tags = append(tags, node(name, edgeagent.TypeInt16))
			}
			c := New(Options{Tags: tags})
			c.connect = func(ctx context.Context, o *Options) (*client, error) {
				conn, err := p.client(ctx, o)
				conn.ch = slowCaller{conn.ch, 1400 * time.Millisecond}
				return conn, err
			}
			r := startClient(t, c)
			settle(30 * time.Second)
			select {
			case err := <-r.end:
				t.Errorf("the episode ended in health: %v", err)
			default:
				r.finish(t)
			}
		})
	}
}
