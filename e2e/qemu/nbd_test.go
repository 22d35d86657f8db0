package qemu

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"io"
	"net"
	"strings"
	"testing"
)

// The bytes of a whole conversation are those of the protocol's document.
func TestServeSpeaksTheProtocol(t *testing.T) {
	const (
		hello   = "4e42444d41474943 49484156454f5054 0003"
		opt     = "49484156454f5054 "
		optRep  = "0003e889045565a9 "
		request = "25609513 "
		simple  = "67446698 "
		export  = "0000 000000000000000a 000d"
	)
	for _, c := range []struct {
		name     string
		ask, get string
		bad      bool   // the server ends the conversation
		durable  string // empty: unchanged
	}{
		{name: "hangs up at once"},
		{name: "hangs up in an option", ask: "00000003 49484156", bad: true},
		{name: "an option without magic", ask: "00000003 0000000000000000 00000007 00000000", bad: true},
		{name: "an option of 4 GiB", ask: "00000003" + opt + "00000007 ffffffff", bad: true},
		{name: "an unknown option, then abort", ask: "00000003" + opt + "00000008 00000000" + opt + "00000002 00000000",
			get: optRep + "00000008 80000001 00000000" + optRep + "00000002 00000001 00000000"},
		{name: "the old way in, with its zeroes", ask: "00000001" + opt + "00000001 00000000" + request + "0000 0002 0000000000000000 0000000000000000 00000000",
			get: "000000000000000a 000d" + strings.Repeat("00", 124)},
		{name: "information alone does not begin", ask: "00000003" + opt + "00000006 00000006 000000000000" + opt + "00000002 00000000",
			get: optRep + "00000006 00000003 0000000c" + export + optRep + "00000006 00000001 00000000" + optRep + "00000002 00000001 00000000"},
		{name: "write, read, flush", durable: ".ab.......",
			ask: begin + request + "0000 0001 0000000000000011 0000000000000001 00000002 6162" +
				request + "0000 0000 0000000000000022 0000000000000000 00000004" + request + "0000 0003 0000000000000033 0000000000000000 00000000",
			get: begun + simple + "00000000 0000000000000011" + simple + "00000000 0000000000000022 2e61622e" + simple + "00000000 0000000000000033"},
		{name: "a write in the cache is lost", ask: begin + request + "0000 0001 0000000000000011 0000000000000001 00000002 6162",
			get: begun + simple + "00000000 0000000000000011"},
		{name: "a write through it is not", durable: ".ab.......", ask: begin + request + "0001 0001 0000000000000011 0000000000000001 00000002 6162",
			get: begun + simple + "00000000 0000000000000011"},
		{name: "outside, and a request that there is not", ask: begin + request + "0000 0000 0000000000000011 0000000000000009 00000002" +
			request + "0000 0001 0000000000000022 ffffffffffffffff 00000001 61" + request + "0000 0006 0000000000000033 0000000000000000 00000004",
			get: begun + simple + "00000016 0000000000000011" + simple + "00000016 0000000000000022" + simple + "00000016 0000000000000033"},
		{name: "a request without magic", ask: begin + "00000000 0000 0000 0000000000000011 0000000000000000 00000002", get: begun, bad: true},
		{name: "a request of 4 GiB", ask: begin + request + "0000 0000 0000000000000011 0000000000000000 ffffffff", get: begun, bad: true},
		{name: "cut in a write", ask: begin + request + "0000 0001 0000000000000011 0000000000000001 00000004 6162", get: begun, bad: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := letters()
			got, err := converse(t, d, unhex(t, c.ask))
			if want := unhex(t, hello+c.get); !bytes.Equal(got, want) {
				t.Errorf("answered %x\nwant     %x", got, want)
			}
			if (err != nil) != c.bad {
				t.Errorf("ended with %v, bad %v", err, c.bad)
			}
			if c.durable == "" {
				c.durable = ".........."
			}
			if durable, _ := d.Left(); string(durable) != c.durable {
				t.Errorf("durable is %q, want %q", durable, c.durable)
			}
		})
	}
}

// begin is a client's way to the transmission (GO), begun what it is answered.
const (
	begin = "00000003 49484156454f5054 00000007 00000006 000000000000"
	begun = "0003e889045565a9 00000007 00000003 0000000c 0000 000000000000000a 000d 0003e889045565a9 00000007 00000001 00000000"
)

// FuzzServe: whatever comes, the server ends with its client and stays within
// its disk.
func FuzzServe(f *testing.F) {
	f.Add([]byte{0, 0, 0, 3})
	seed, err := hex.DecodeString(strings.ReplaceAll(begin+"25609513 0000 0001 0000000000000011 0000000000000001 00000002 6162", " ", ""))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Fuzz(func(t *testing.T, ask []byte) {
		d := letters()
		got, _ := converse(t, d, ask) // how it ends is the client's fault
		if len(got) < 18 || binary.BigEndian.Uint64(got) != nbdMagic {
			t.Errorf("greeted with %x", got)
		}
		if durable, _ := d.Left(); len(durable) != 10 {
			t.Errorf("the disk has %d bytes", len(durable))
		}
	})
}

// converse sends all that a client says and returns all that it is answered,
// and how the server ended.
func converse(t *testing.T, d *Disk, ask []byte) (got []byte, err error) {
	t.Helper()
	l, err := net.Listen("unix", t.TempDir()+"/s")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- Serve(server, d) }()
	go func() {
		_, _ = client.Write(ask) // a server that has ended reads no further
		_ = client.(*net.UnixConn).CloseWrite()
	}()
	got, _ = io.ReadAll(client)
	return got, <-ended
}

func unhex(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
