package pipeline

import (
	"errors"
	"fmt"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/pipeline/route"
	"github.com/farlabs/inference/pipeline/wire"
)

// Errors that callers decide on.
var (
	// ErrClosed: the session or pipeline was closed.
	ErrClosed = errors.New("session closed")
	// ErrContextLength: prompt and answer do not fit the model's context.
	ErrContextLength = errors.New("context length exceeded")
	// ErrNoProgress: nothing came back within the timeout.
	ErrNoProgress = errors.New("no progress")
	// ErrInvalidRequest: a field of the request makes no sense.
	ErrInvalidRequest = errors.New("invalid request")
	// ErrPriceCeiling: no route is as cheap as the request demands.
	ErrPriceCeiling = errors.New("price ceiling")
	// ErrNoRoute: some blocks are served by nobody.
	ErrNoRoute = errors.New("no route")
	// ErrNoRoom: the KV caches of the nodes are too small for the session, however
	// long it waits.
	ErrNoRoom = errors.New("no room")
	// ErrBusy: every node that could serve has its queue or memory full.
	ErrBusy = errors.New("network busy")
)

// BusyError is ErrBusy with a hint when to come back.
type BusyError struct {
	RetryAfter time.Duration
	Err        error
}

// Error implements error.
func (e *BusyError) Error() string { return fmt.Sprintf("%v: %v", ErrBusy, e.Err) }

// Is reports that e is ErrBusy.
func (e *BusyError) Is(target error) bool { return target == ErrBusy }

// Unwrap returns the last refusal.
func (e *BusyError) Unwrap() error { return e.Err }

// RoomError is ErrNoRoom with the figures.
type RoomError struct {
	Needed int // positions that the session has, or would have after its next step
	Holds  int // positions that the nodes of the best route can hold
	Err    error
}

// Error implements error.
func (e *RoomError) Error() string {
	return fmt.Sprintf("%v for %d positions: the KV caches of the nodes that serve this model hold %d; use a shorter prompt, or allow nodes more (--kv-cache, --memory)",
		ErrNoRoom, e.Needed, e.Holds)
}

// Is reports that e is ErrNoRoom.
func (e *RoomError) Is(target error) bool { return target == ErrNoRoom }

// Unwrap returns what a node said, or the planner.
func (e *RoomError) Unwrap() error { return e.Err }

// FailureKind says how a hop failed.
type FailureKind uint8

// The kinds of failure.
const (
	FailDead    FailureKind = iota + 1 // its connection is gone
	FailStalled                        // it does not answer, or does not get on
	FailRefused                        // it would not take the session
	FailBusy                           // it has no room now
	FailFaulty                         // it answered with an internal error or nonsense
	FailEdge                           // it cannot reach the next hop; nobody's fault
	FailGone                           // it has forgotten the session, which may be opened again; nobody's fault
	FailSmall                          // its KV cache is too small for the session; nobody's fault
	FailLeaving                        // it is leaving the network in good order; nobody's fault
)

// String returns the kind's name in logs.
func (k FailureKind) String() string {
	switch k {
	case FailDead:
		return "dead"
	case FailStalled:
		return "stalled"
	case FailRefused:
		return "refused"
	case FailBusy:
		return "busy"
	case FailFaulty:
		return "faulty"
	case FailEdge:
		return "edge"
	case FailGone:
		return "gone"
	case FailSmall:
		return "too small"
	case FailLeaving:
		return "leaving"
	}
	return fmt.Sprintf("failure %d", uint8(k))
}

// HopError is the failure of one hop of a session.
type HopError struct {
	Hop       int
	Peer      inference.PeerID
	Blocks    inference.BlockRange
	Kind      FailureKind
	Retryable bool // another peer, or this one later, may succeed
	Err       error

	retryAfter time.Duration // with FailBusy, what the hop said; 0: nothing
	unrated    bool          // it says nothing of the peer
}

// Error implements error.
func (e *HopError) Error() string {
	return fmt.Sprintf("hop %d blocks %s peer %s: %s: %v", e.Hop+1, e.Blocks, e.Peer.Short(), e.Kind, e.Err)
}

// Unwrap returns the cause.
func (e *HopError) Unwrap() error { return e.Err }

// kindOf maps a stage's answer to the kind of failure.
func kindOf(c wire.Code) FailureKind {
	switch c {
	case wire.CodeBusy:
		return FailBusy
	case wire.CodeNoRoom:
		return FailSmall
	case wire.CodeDraining:
		return FailLeaving
	case wire.CodeNextHop:
		return FailEdge
	case wire.CodeNoSession, wire.CodeDeadline:
		return FailGone
	case wire.CodeInternal, wire.CodeCutShort:
		return FailFaulty
	}
	return FailRefused
}

// endsEpoch reports whether a Fail with this code, of a hop that has opened the
// session, always ends the epoch there, so that nothing is sent on after it.
// Other codes also refuse single messages, or come before the hop's last word on
// what it has sent.
func endsEpoch(c wire.Code) bool {
	switch c {
	case wire.CodeInternal, wire.CodeBusy, wire.CodeNoRoom, wire.CodeNextHop, wire.CodeCutShort:
		return true
	}
	return false
}

// priceError is ErrPriceCeiling in USD; it unwraps to the planner's error, in wei.
type priceError struct{ *route.CeilingError }

// Error implements error.
func (e *priceError) Error() string {
	return fmt.Sprintf("%v: the cheapest route asks %.6g USD per 1M tokens, the ceiling is %.6g",
		ErrPriceCeiling, usdPerMillion(e.Cheapest), usdPerMillion(e.Ceiling))
}

// Is reports that e is ErrPriceCeiling.
func (e *priceError) Is(target error) bool { return target == ErrPriceCeiling }

// Unwrap returns the planner's error.
func (e *priceError) Unwrap() error { return e.CeilingError }
