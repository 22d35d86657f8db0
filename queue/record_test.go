package queue

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"edgeagent"
)

func TestEveryFlippedBitOfARecordIsNoticed(t *testing.T) {
	rec := encodeRecord(bucketBodies, "01K0000000000000000000000Ah", 7, []byte(`{"summary":"dirty lens"}`))
	if body, revision, err := decodeRecord(bucketBodies, "01K0000000000000000000000Ah", rec); err != nil || revision != 7 || string(body) != `{"summary":"dirty lens"}` {
		t.Fatalf("decode = %q, %d, %v", body, revision, err)
	}
	for i := range rec {
		for bit := range 8 {
			bad := bytes.Clone(rec)
			bad[i] ^= 1 << bit
			if _, _, err := decodeRecord(bucketBodies, "01K0000000000000000000000Ah", bad); !errors.Is(err, errDamaged) {
				t.Errorf("byte %d, bit %d: %v, want damage", i, bit, err)
			}
		}
	}
}

func TestRecordOfAnotherPlaceIsRefused(t *testing.T) {
	rec := encodeRecord(bucketBodies, "key-1", 1, []byte("body"))
	for name, at := range map[string]struct {
		bucket byte
		key    string
	}{
		"another key":         {bucketBodies, "key-2"},
		"a prefix of the key": {bucketBodies, "key-"},
		"another bucket":      {bucketJobs, "key-1"},
	} {
		if _, _, err := decodeRecord(at.bucket, at.key, rec); !errors.Is(err, errDamaged) {
			t.Errorf("%s: %v, want damage", name, err)
		}
	}
}

func TestTruncatedRecordIsRefused(t *testing.T) {
	rec := encodeRecord(bucketJobs, "key", 1, []byte("a longer body"))
	for n := range rec {
		if _, _, err := decodeRecord(bucketJobs, "key", rec[:n]); !errors.Is(err, errDamaged) {
			t.Errorf("first %d bytes: %v, want damage", n, err)
		}
	}
}

func fullHeader() header {
	return header{
		State: edgeagent.JobRunning, Priority: 3, Attempts: 2, Interrupts: 4, BootInterrupts: 1, MaxAttempts: 8,
		Entries: 9, Asks: 5, Frozen: true, Created: time.Unix(1, 2), NotBefore: time.Unix(3, 4), Wait: 5 * time.Second,
		LeasedAt: time.Unix(6, 7), Token: [16]byte{1, 2, 15: 3}, Boot: 1 << 63,
		Group: group{Line: "Filler-2", Agent: true},
	}
}

func TestHeaderRoundTrip(t *testing.T) {
	for name, h := range map[string]header{"full": fullHeader(), "fresh": {State: edgeagent.JobPending}} {
		enc := h.encode()
		got, err := decodeHeader(enc)
		if err != nil || got != h {
			t.Errorf("%s: got %+v, %v, want %+v", name, got, err, h)
		}
		if len(enc) != headerSize+1+len(h.Group.Line) {
			t.Errorf("%s: %d bytes, want %d and the line", name, len(enc), headerSize+1)
		}
	}
}

func TestNoClockHidesAJobLongerThanItsWait(t *testing.T) {
	set := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	h := header{NotBefore: set.Add(30 * time.Second), Wait: 30 * time.Second}
	for name, c := range map[string]struct {
		now  time.Time
		want time.Duration
	}{
		"as set":             {set, 30 * time.Second},
		"later":              {set.Add(20 * time.Second), 10 * time.Second},
		"over":               {set.Add(time.Hour), 0},
		"clock back at 1970": {time.Unix(0, 0), 30 * time.Second},
		"clock far ahead":    {set.AddDate(20, 0, 0), 0},
	} {
		if got := h.remaining(c.now); got != c.want {
			t.Errorf("%s: remaining = %v, want %v", name, got, c.want)
		}
	}
}

func TestTokenMustBeWholeAndCurrent(t *testing.T) {
	h := fullHeader()
	for name, tok := range map[string]string{"empty": "", "short": token(h.Token)[:30], "no hex": "zz", "other": token([16]byte{9})} {
		if h.holds(tok) {
			t.Errorf("%s token holds", name)
		}
	}
	if !h.holds(token(h.Token)) {
		t.Error("the token itself does not hold")
	}
	h.State, h.Token = edgeagent.JobPending, [16]byte{}
	if h.holds(token(h.Token)) {
		t.Error("a zero token holds a job that is not running")
	}
}

func FuzzDecodeRecord(f *testing.F) {
	f.Add(encodeRecord(bucketJobs, "k", 1, fullHeader().encode()), "k")
	f.Add([]byte("EA"), "")
	f.Fuzz(func(t *testing.T, rec []byte, key string) {
		body, revision, err := decodeRecord(bucketJobs, key, rec)
		if err != nil {
			if !errors.Is(err, errDamaged) {
				t.Fatalf("error %v is not damage", err)
			}
			return
		}
		if again := encodeRecord(bucketJobs, key, revision, body); len(again) != len(rec) {
			t.Fatalf("decoded what was not encoded: %d bytes, again %d", len(rec), len(again))
		}
	})
}

func FuzzDecodeHeader(f *testing.F) {
	f.Add(fullHeader().encode())
	f.Fuzz(func(t *testing.T, body []byte) {
		h, err := decodeHeader(body)
		if err != nil {
			return
		}
		again, err := decodeHeader(h.encode())
		if err != nil || again != h {
			t.Fatalf("%+v becomes %+v, %v", h, again, err)
		}
	})
}

func FuzzDecodeOutgoing(f *testing.F) {
	e := edgeagent.Event{ID: "0123", Type: edgeagent.EventGap}
	key := streamKey{edgeagent.NewID(time.Unix(1, 0)), edgeagent.StreamEvent}.key(3)
	f.Add(key, append(appendHead(nil, &e, time.Unix(1, 0)), "{}"...))
	f.Fuzz(func(t *testing.T, key string, rec []byte) {
		if _, err := decodeOutgoing(key, rec); err != nil && !errors.Is(err, errDamaged) {
			t.Fatalf("error %v is not damage", err)
		}
	})
}
