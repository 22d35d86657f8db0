package opcua

import (
	"testing"

	"github.com/gopcua/opcua/ua"
)

func TestEveryPolicyAndMode(t *testing.T) {
	p := startPlant(t)
	for _, of := range offered {
		t.Run(of.policy+"/"+modeName(of.mode), func(t *testing.T) {
			c := opened(t, p.options(of.policy, modeName(of.mode)))
			node, err := c.resolve("nsu=" + plantURI + ";s=level")
			if err != nil {
				t.Fatal(err)
			}
			// Every size of a request, so that every length of padding is sent.
			for n := range 70 {
				name := string(make([]byte, n))
				values, err := c.read(t.Context(), []*ua.ReadValueID{
					{NodeID: node, AttributeID: ua.AttributeIDValue},
					{NodeID: ua.NewStringNodeID(1, "x"+name), AttributeID: ua.AttributeIDValue},
				})
				if err != nil {
					t.Fatalf("read with %d bytes more: %v", n, err)
				}
				if got := values[0].Value.Value(); got != 42.5 {
					t.Fatalf("level = %v", got)
				}
			}
		})
	}
}
