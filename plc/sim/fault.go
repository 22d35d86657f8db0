package sim

import (
	"slices"
	"time"
)

// FaultKind is one way in which a Modbus server, or what lies between, goes wrong.
type FaultKind string

// The faults, each seen in the field or in a library's bug list.
const (
	Late             FaultKind = "late"
	LateOnNewConn    FaultKind = "late_on_new_connection"
	LateDuplicate    FaultKind = "late_duplicate"
	LateException    FaultKind = "late_exception"
	Duplicate        FaultKind = "duplicate"
	StaleThenFresh   FaultKind = "stale_then_fresh"
	AlwaysPrevious   FaultKind = "always_previous"
	Short            FaultKind = "short"
	Long             FaultKind = "long"
	ZeroCount        FaultKind = "zero_count"
	WrongByteCount   FaultKind = "wrong_byte_count"
	WrongTransaction FaultKind = "wrong_transaction"
	WrongUnit        FaultKind = "wrong_unit"
	WrongFunction    FaultKind = "wrong_function"
	WrongCRC         FaultKind = "wrong_crc"
	TruncatedCRC     FaultKind = "truncated_crc"
	ExceptionReply   FaultKind = "exception_reply"
	SplitException   FaultKind = "split_exception"
	Close            FaultKind = "close"
	Flap             FaultKind = "flap"
	CutAndAgain      FaultKind = "cut_and_again"
	HalfFrame        FaultKind = "half_frame"
	HalfOpen         FaultKind = "half_open"
	Silent           FaultKind = "silent"
	Freeze           FaultKind = "freeze"
	Trickle          FaultKind = "trickle"
	BadLength        FaultKind = "bad_length"
	ZeroLength       FaultKind = "zero_length"
	Noise            FaultKind = "noise"
	OtherUnitTraffic FaultKind = "other_unit_traffic"
	Echo             FaultKind = "echo"
	passing          FaultKind = "" // lets requests pass between two faults
)

// Where a fault can be.
var (
	everywhere = []Transport{TCP, TLS, RTUOverTCP, Serial}
	headed     = []Transport{TCP, TLS}             // frames with a header: transaction and length
	summed     = []Transport{RTUOverTCP, Serial}   // frames with a checksum
	connected  = []Transport{TCP, TLS, RTUOverTCP} // where there are connections
)

// FaultInfo says what a fault does and where it can be.
type FaultInfo struct {
	Kind FaultKind
	On   []Transport
	Does string
}

// FaultTable lists every fault: kind, transports, what the client meets.
var FaultTable = []FaultInfo{
	{Late, everywhere, "answers after Delay, when the client has long given up"},
	{LateOnNewConn, connected, "a gateway delivers the answer after Delay, on whichever connection there is by then"},
	{LateDuplicate, everywhere, "answers, and again after Delay, into whatever is going on then; on a line with the next answer if that is earlier"},
	{LateException, everywhere, "refuses with exception Code after Delay"},
	{Duplicate, everywhere, "answers twice, at once"},
	{StaleThenFresh, everywhere, "the answer to the request before, and at once the right one"},
	{AlwaysPrevious, everywhere, "nothing to the first request, then always the answer to the request before"},
	{Short, everywhere, "a consistent frame with one register (or byte of bits) too few"},
	{Long, everywhere, "one too many"},
	{ZeroCount, everywhere, "an answer that holds nothing"},
	{WrongByteCount, everywhere, "the right data under a count of bytes that is one register too high"},
	{WrongTransaction, headed, "an id that was not asked yet"},
	{WrongUnit, everywhere, "the answer in another unit's name"},
	{WrongFunction, everywhere, "input registers for holding, discretes for coils, and back"},
	{WrongCRC, summed, "one bit of the data turned over on the line"},
	{TruncatedCRC, summed, "all of the answer but its last byte"},
	{ExceptionReply, everywhere, "refuses with exception Code, 4 if zero"},
	{SplitException, everywhere, "refuses, the last byte of the refusal Delay later, 30 ms if zero"},
	{Close, everywhere, "hangs up instead of answering; a serial adapter is pulled and plugged in again"},
	{Flap, everywhere, "answers Run requests, one if zero, and hangs up on as many, in turn"},
	{HalfFrame, everywhere, "half of the answer, the rest never"},
	{CutAndAgain, everywhere, "half of the answer, then the whole of it"},
	{HalfOpen, connected, "never reads or answers on this connection again, and keeps it"},
	{Silent, everywhere, "takes the request, answers nothing, takes the next"},
	{Freeze, everywhere, "a stopped process: accepts and never reads again, until Resume"},
	{Trickle, everywhere, "a byte every Delay, 50 ms if zero"},
	{BadLength, headed, "a header that announces 60000 bytes"},
	{ZeroLength, headed, "a header that announces none"},
	{Noise, everywhere, "garbage before and after the answer"},
	{OtherUnitTraffic, summed, "a second master asks the next unit and is answered, before the answer"},
	{Echo, summed, "an adapter that hears itself: the request comes back, then the answer"},
}

// FaultKinds returns the faults that a transport can have.
func FaultKinds(t Transport) []FaultKind {
	var out []FaultKind
	for _, f := range FaultTable {
		if slices.Contains(f.On, t) {
			out = append(out, f.Kind)
		}
	}
	return out
}

// Fault is a fault to be played to the next requests.
type Fault struct {
	Kind  FaultKind     // empty: that many requests are answered as they should be
	Count int           // requests that are affected: 0 is one, -1 all until ClearFaults
	Delay time.Duration // of the late kinds, Trickle and SplitException
	Most  time.Duration // of Trickle: the rest comes at once then; 0: it never does
	Code  byte          // of the exceptions
	Run   int           // of Flap
	Unit  uint8         // only requests to this unit; 0 any

	used int // requests that it has met
}

// Fault queues f. Faults act one after the other: one with Count -1 keeps those
// behind it waiting, except where it is for another unit. A fault that the
// transport cannot have hangs up, as one that is not known.
func (s *Server) Fault(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.Count == 0 {
		f.Count = 1
	}
	s.faults = append(s.faults, f)
}

// ClearFaults drops every fault that has not acted yet, and every lasting one.
// A frozen server stays frozen (see [Server.Resume]), and an answer that is on
// its way still comes.
func (s *Server) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults, s.held = nil, nil
}

// nextFault takes one use of the first fault that is meant for the unit. The
// caller holds the lock.
func (s *Server) nextFault(unit uint8) Fault {
	for i, f := range s.faults {
		if f.Unit != 0 && f.Unit != unit {
			continue
		}
		s.faults[i].used++
		if f.Count > 0 {
			s.faults[i].Count--
		}
		if s.faults[i].Count == 0 {
			s.faults = append(s.faults[:i:i], s.faults[i+1:]...)
		}
		if f.Kind != passing && !slices.Contains(FaultKinds(s.transport), f.Kind) {
			f.Kind = Close
		}
		return f
	}
	return Fault{}
}
