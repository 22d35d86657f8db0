package plctest

import (
	"errors"
	"time"
)

// ErrWrong is wrapped by what must never be, however late anything runs.
var ErrWrong = errors.New("wrong")

const (
	pulse      = 10 * time.Millisecond
	still      = 10 * pulse // without a pulse: timeouts have ended that nobody could keep
	stillTries = 8
)

// Stood runs do and returns the longest time in which this process did not:
// a machine with other work, a debugger, a virtual machine that was paused.
func Stood(do func()) time.Duration {
	over, longest := make(chan struct{}), make(chan time.Duration, 1)
	go func() {
		beat, last, most := time.NewTicker(pulse), time.Now(), time.Duration(0)
		defer beat.Stop()
		for ended := false; !ended; {
			select {
			case <-beat.C:
			case <-over:
				ended = true
			}
			now := time.Now()
			most, last = max(most, now.Sub(last)-pulse), now
		}
		longest <- most
	}()
	func() {
		defer close(over)
		do()
	}()
	return <-longest
}

// Proven runs try until it succeeds, or fails though the machine ran all the
// while: real sockets have real timeouts, and one that ends because nobody could
// keep it says nothing of a driver. What wraps [ErrWrong] or is a
// [WrongValueError] is final.
func Proven(try func() error) error {
	for tries := 1; ; tries++ {
		var err error
		stood := Stood(func() { err = try() })
		_, wrong := errors.AsType[*WrongValueError](err)
		if err == nil || stood < still || wrong || errors.Is(err, ErrWrong) || tries == stillTries {
			return err
		}
	}
}
