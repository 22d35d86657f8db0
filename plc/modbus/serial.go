package modbus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// Serial is how a serial line is set. Both ends must agree; a line that is set
// wrongly is silent or full of bad checksums.
type Serial struct {
	Baud     int    // bits a second; 0: 19200
	Parity   string // none, even or odd; empty: even
	Stop     int    // stop bits, 1 or 2; 0: 1, without parity 2 as the standard has it
	DataBits int    // 7 or 8; 0: 8, the only one for RTU
}

// standard fills in what the Modbus standard says where nothing is said.
func (s Serial) standard() Serial {
	if s.Baud == 0 {
		s.Baud = 19200
	}
	if s.Parity == "" {
		s.Parity = "even"
	}
	if s.Stop == 0 {
		s.Stop = 1
		if s.Parity == "none" {
			s.Stop = 2
		}
	}
	if s.DataBits == 0 {
		s.DataBits = 8
	}
	return s
}

func (s Serial) check() error {
	switch {
	case s.Baud < 50 || s.Baud > 4_000_000:
		return fmt.Errorf("baud %d: want 50 to 4000000", s.Baud)
	case s.Parity != "none" && s.Parity != "even" && s.Parity != "odd":
		return fmt.Errorf("parity %q: want none, even or odd", s.Parity)
	case s.Stop != 1 && s.Stop != 2:
		return fmt.Errorf("%d stop bits: want 1 or 2", s.Stop)
	case s.DataBits != 7 && s.DataBits != 8:
		return fmt.Errorf("%d data bits: want 8, or 7", s.DataBits)
	}
	return nil
}

// String writes the setting as everybody does: "19200 8E1".
func (s Serial) String() string {
	s = s.standard()
	letter := map[string]string{"none": "N", "even": "E", "odd": "O"}[s.Parity]
	return fmt.Sprintf("%d %d%s%d", s.Baud, s.DataBits, letter, s.Stop)
}

// open opens the port that stands at path now: a by-id path leads to another
// one after an adapter was plugged in again.
func (s Serial) open(path string) (stream, error) {
	s = s.standard()
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("serial port %s: %w", path, err)
	}
	p, err := openPort(path, s)
	switch {
	case err == nil:
		return p, nil
	case errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("no serial port at %s: is the adapter plugged in? %w", path, err)
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("may not open serial port %s: add the agent's user to the port's group, mostly dialout: %w", path, err)
	default:
		return nil, fmt.Errorf("open serial port %s: %w", path, err)
	}
}

// Listen hears on a serial line for d and sends nothing. It returns how many
// frames it heard, of any kind and however damaged: more than none mean that a
// master works there already and that asking would disturb it. The error is
// that of the port or of ctx.
func Listen(ctx context.Context, path string, s Serial, d time.Duration) (frames int, err error) {
	port, err := s.open(path)
	if err != nil {
		return 0, err
	}
	defer func() { _ = port.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = port.SetDeadline(longAgo) })
	defer stop()
	if err := port.SetDeadline(time.Now().Add(d)); err != nil {
		return 0, fmt.Errorf("listen on %s: %w", path, err)
	}
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("listen on %s: %w", path, err)
	}
	frames, err = countBursts(port, silence(s.standard().Baud))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = ctx.Err()
	}
	if err != nil {
		return frames, fmt.Errorf("listen on %s: %w", path, err)
	}
	return frames, nil
}

// countBursts counts runs of bytes with silence between them until the deadline
// of r. A run too short for any frame is a glitch of the line.
func countBursts(r io.Reader, gap time.Duration) (bursts int, err error) {
	var last time.Time
	run := 0
	buf := make([]byte, 256)
	for {
		n, err := r.Read(buf)
		if err != nil {
			return bursts, err
		}
		now := time.Now()
		if now.Sub(last) > gap {
			run = 0
		}
		if run < smallestRTU-1 && run+n >= smallestRTU-1 {
			bursts++
		}
		run, last = run+n, now
	}
}
