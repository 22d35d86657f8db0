package upsync

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"edgeagent"
)

func TestParseReceipt(t *testing.T) {
	tests := []struct {
		name, body string
		ok         bool
	}{
		{"whole", `{"epoch":"01K0000000000000000000000A","contig":{"alarm":12},"resend":[{"stream":"alarm","from":3,"to":4}]}`, true},
		{"unknown fields are allowed", `{"epoch":"01K0000000000000000000000A","contig":{},"rows":3}`, true},
		{"epoch alone, as for a heartbeat", `{"epoch":"01K0000000000000000000000A"}`, true},
		{"nothing", ``, false},
		{"empty object", `{}`, false},
		{"null", `null`, false},
		{"list", `[]`, false},
		{"portal", `<html><body>Please sign in</body></html>`, false},
		{"negative number", `{"epoch":"01K0000000000000000000000A","contig":{"alarm":-1}}`, false},
		{"fraction", `{"epoch":"01K0000000000000000000000A","contig":{"alarm":1.5}}`, false},
		{"beyond 64 bits", `{"epoch":"01K0000000000000000000000A","contig":{"alarm":18446744073709551616}}`, false},
		{"epoch in lower case", `{"epoch":"01k0000000000000000000000a","contig":{}}`, false},
		{"two documents", `{"epoch":"01K0000000000000000000000A"}{}`, false},
		{"cut", `{"epoch":"01K0000000000000000000000A","con`, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParseReceipt([]byte(tt.body))
			if (err == nil) != tt.ok || err != nil && !errors.Is(err, ErrNotReceipt) {
				t.Errorf("ParseReceipt = %v, want ok %v", err, tt.ok)
			}
		})
	}
}

func FuzzParseReceipt(f *testing.F) {
	f.Add([]byte(`{"epoch":"01K0000000000000000000000A","contig":{"alarm":12},"resend":[{"stream":"alarm","from":3,"to":4}]}`))
	f.Add([]byte(`{"epoch":"01K0000000000000000000000A","resend":[{"from":0,"to":18446744073709551615}]}`))
	f.Add([]byte(`<html>`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := ParseReceipt(body)
		if err != nil {
			if r.Epoch != "" || r.Contig != nil || !errors.Is(err, ErrNotReceipt) {
				t.Errorf("refused with %+v, %v", r, err)
			}
			return
		}
		if len(r.Epoch) != 26 || len(r.Resend) > maxResend {
			t.Errorf("accepted %+v", r)
		}
		// Whatever a stranger writes, the cursor stays within what was written.
		sent := []edgeagent.Outgoing{{Epoch: ours, Stream: edgeagent.StreamAlarm, Sequence: 5}, {Epoch: ours, Stream: edgeagent.StreamAlarm, Sequence: 7}}
		next := map[edgeagent.Stream]uint64{edgeagent.StreamAlarm: 9}
		proof, fault := judge(sent, r, ledger{epoch: ours, next: next, missing: func(edgeagent.Stream, uint64) bool { return false }})
		for stream, n := range proof.Contig {
			if stream != edgeagent.StreamAlarm || n < 5 || n >= 9 || fault != nil {
				t.Errorf("%s to %d by %s (%v)", stream, n, body, fault)
			}
		}
		var s resend
		s.add(r, ledger{epoch: ours, next: next}, bigBang)
		for _, w := range s.queue {
			if w.From < 1 || w.From > w.To || w.epoch == ours && w.To >= 9 {
				t.Errorf("would resend %+v", w)
			}
		}
	})
}

func TestJudge(t *testing.T) {
	alarm := edgeagent.StreamAlarm
	sent := func(numbers ...uint64) (out []edgeagent.Outgoing) {
		for _, n := range numbers {
			out = append(out, edgeagent.Outgoing{Epoch: ours, Stream: alarm, Sequence: n})
		}
		return out
	}
	diag := edgeagent.Outgoing{Epoch: ours, Stream: edgeagent.StreamDiagnosis, Sequence: 1}
	want := func(from, to uint64) []edgeagent.Range { return []edgeagent.Range{{Stream: alarm, From: from, To: to}} }
	tests := []struct {
		name    string
		batch   []edgeagent.Outgoing
		contig  uint64
		resend  []edgeagent.Range
		missing []uint64
		proven  uint64 // 0: nothing
		class   Class
	}{
		{name: "all of it", batch: sent(5, 6, 7), contig: 7, proven: 7},
		{name: "more, from a life before this one", batch: sent(5, 6, 7), contig: 9, proven: 9},
		{name: "part of it", batch: sent(5, 6, 7), contig: 6, proven: 6},
		{name: "nothing of it", batch: sent(5, 6, 7), contig: 4, class: Unproven},
		{name: "less than was confirmed", batch: sent(5, 6, 7), contig: 2, class: Conflict},
		{name: "no number at all", batch: sent(5), contig: 0, class: Conflict},
		{name: "first batch, no number", batch: sent(1), contig: 0, class: Unproven},
		{name: "more than was ever written", batch: sent(5), contig: 10, class: Conflict},
		{name: "stands at a parked number", batch: sent(6, 7), contig: 4, missing: []uint64{5}, proven: 7},
		{name: "stands at a parked number within", batch: sent(4, 6, 7), contig: 4, missing: []uint64{5}, proven: 7},
		{name: "a parked number excuses nothing before it", batch: sent(6, 7), contig: 3, missing: []uint64{5}, class: Conflict},
		{name: "asks for what it lost", batch: sent(5, 6, 7), contig: 2, resend: want(3, 4), proven: 7},
		{name: "asks for what it lost and a part of this", batch: sent(5, 6, 7), contig: 2, resend: want(3, 6), class: Unproven},
		{name: "asks for this again", batch: sent(5, 6, 7), contig: 4, resend: want(5, 7), class: Unproven},
		{name: "asks for something else", batch: sent(5, 6, 7), contig: 2, resend: want(1, 2), class: Conflict},
		{name: "one stream proven, the other not yet", batch: append(sent(5), diag), contig: 5, proven: 5},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := edgeagent.Receipt{Epoch: ours, Contig: map[edgeagent.Stream]uint64{alarm: tt.contig}, Resend: tt.resend}
			l := ledger{epoch: ours, next: map[edgeagent.Stream]uint64{alarm: 10, edgeagent.StreamDiagnosis: 2},
				missing: func(_ edgeagent.Stream, n uint64) bool { return slices.Contains(tt.missing, n) }}
			proof, fault := judge(tt.batch, r, l)
			var class Class
			if fault != nil {
				class = fault.Class
			}
			proven := map[edgeagent.Stream]uint64{}
			if tt.proven > 0 {
				proven[alarm] = tt.proven
			}
			if class != tt.class || !maps.Equal(proof.Contig, proven) {
				t.Errorf("judge = %v, %v; want %v, %q", proof.Contig, fault, proven, tt.class)
			}
		})
	}
}

func TestJudgeOfAnEarlierEpochStopsAtWhatWasSent(t *testing.T) {
	batch := []edgeagent.Outgoing{{Epoch: before, Stream: edgeagent.StreamAlarm, Sequence: 50}}
	r := edgeagent.Receipt{Epoch: before, Contig: map[edgeagent.Stream]uint64{edgeagent.StreamAlarm: 900}}
	proof, fault := judge(batch, r, ledger{epoch: ours, next: map[edgeagent.Stream]uint64{edgeagent.StreamAlarm: 3}})
	if fault != nil || proof.Contig[edgeagent.StreamAlarm] != 50 {
		t.Errorf("judge = %v, %v; want 50", proof.Contig, fault)
	}
}

func TestFaultNamesBothEpochs(t *testing.T) {
	_, fault := judge([]edgeagent.Outgoing{{Epoch: ours}}, edgeagent.Receipt{Epoch: others}, ledger{epoch: ours})
	if fault == nil || fault.Class != NotReceipt || !strings.Contains(fault.Text, string(ours)) || !strings.Contains(fault.Text, string(others)) {
		t.Errorf("fault = %v", fault)
	}
}
