package stage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/device"
	"github.com/farlabs/inference/kernels/tensor"
	"github.com/farlabs/inference/model"
	"github.com/farlabs/inference/pipeline/wire"
)

// Span computes blocks; *model.Span is one.
type Span interface {
	Blocks() inference.BlockRange
	Hidden() int // d
	// Forward runs the pass over hidden [rows, d] f32 in place; see model.Span.
	Forward(q *device.Queue, hidden tensor.Buffer, p model.Pass) error
}

// Ends embeds token ids; *model.Ends is one.
type Ends interface {
	Embed(q *device.Queue, dst tensor.Buffer, ids []inference.TokenID, wire inference.WireDType) error
	Vocab() int
}

// Links carries frames to peers; *link.Mux is one. Neither method may call the
// stage back on the calling goroutine.
type Links interface {
	// Send takes the frame and never blocks.
	Send(peer inference.PeerID, f *wire.Frame) error
	// Connect returns nil when frames can go to peer, dialling if need be.
	Connect(ctx context.Context, peer inference.PeerID) error
}

// Meter keeps the books of what clients owe.
type Meter interface {
	// Open opens the account of a session, or takes it up again under a higher
	// epoch; v is nil when Open brought no voucher. It may wait for a disk.
	Open(t Terms, v *inference.Voucher) (Account, error)
	// Settle returns the final receipt of a session that has ended, for a
	// client that lost it; for a peer of another payer there is none. It may wait
	// for a disk.
	Settle(client inference.PeerID, session inference.SessionID) (inference.Receipt, error)
}

// Terms is what an account is opened for.
type Terms struct {
	Client  inference.PeerID
	Session inference.SessionID
	Epoch   inference.Epoch
	Digest  inference.Digest
	Class   inference.NumericsClass
	Blocks  inference.BlockRange // the role
	Quote   inference.Quote      // to which the client agreed
}

// Account is the account of one session. The order for each row is Charge,
// forward pass, then Sent or Refund; these three must not wait for anything.
type Account interface {
	// Charge takes on n token·blocks; an error means that a higher voucher is
	// needed first.
	Charge(line inference.Line, n uint64) error
	// Sent bills what was charged: the rows have left.
	Sent(line inference.Line, n uint64)
	// Refund gives back what was charged and will not be sent.
	Refund(line inference.Line, n uint64)
	// Voucher takes a higher voucher. It may wait for a disk, as the next two.
	Voucher(v *inference.Voucher) (inference.Receipt, error)
	// Receipt states what is billed so far.
	Receipt() (inference.Receipt, error)
	// Close ends the account.
	Close(outcome inference.Outcome) (inference.Receipt, error)
}

// Limits bound what a stage takes on. Zero values take the defaults.
type Limits struct {
	MaxSessions int           // open at once, 64; one client may hold half
	MaxPending  int           // rows that wait for a pass, 32,768; one client may fill half
	PassRows    int           // rows of one pass, 512
	Window      int           // bytes of payload a session may have here when Open names none, 4 MiB
	Memory      int64         // bytes of payload of all sessions: their windows are reserved of it, 256 MiB; see maxWindow, clientMemory
	Positions   int           // of one branch; the model's context
	Branches    int           // of one session, alive at once, 128
	Idle        time.Duration // a session without a frame ends, 10 min
	Lifetime    time.Duration // the latest deadline, 24 h
	ClientGrace time.Duration // a session outlives its client's connection, 10 s
	PayGrace    time.Duration // a step waits for a voucher, 2 s
	EdgeTimeout time.Duration // for the next hop to answer, wire.EdgeTimeout
}

func (l Limits) withDefaults() Limits {
	l.MaxSessions = or(l.MaxSessions, 64)
	l.MaxPending = or(l.MaxPending, 32768)
	l.PassRows = or(l.PassRows, 512)
	l.Window = or(l.Window, 4<<20)
	l.Memory = or(l.Memory, 256<<20)
	l.Branches = or(l.Branches, 128)
	l.Idle = or(l.Idle, 10*time.Minute)
	l.Lifetime = or(l.Lifetime, 24*time.Hour)
	l.ClientGrace = or(l.ClientGrace, 10*time.Second)
	l.PayGrace = or(l.PayGrace, 2*time.Second)
	l.EdgeTimeout = or(l.EdgeTimeout, wire.EdgeTimeout)
	return l
}

// leastWindow is a window that any node grants which has the memory.
const leastWindow = 4 << 20

// maxWindow returns the largest window of a session, bytes: an eighth of the
// memory, so that a few sessions cannot take it all.
func (l *Limits) maxWindow() int64 { return min(max(l.Memory/8, leastWindow), l.Memory) }

// clientMemory returns what the windows of one client may come to, bytes: half
// of the memory, at least one window.
func (l *Limits) clientMemory() int64 { return max(l.Memory/2, l.maxWindow()) }

// clientSessions returns how many sessions one client may have.
func (l *Limits) clientSessions() int { return (l.MaxSessions + 1) / 2 }

func or[T int | int64 | time.Duration](v, d T) T {
	if v <= 0 {
		return d
	}
	return v
}

// Config is what a Stage is made of.
type Config struct {
	Span   Span
	Ends   Ends // nil: ids at hop 1 are not served
	Cache  *model.Cache
	Queue  *device.Queue
	Digest inference.Digest
	Class  inference.NumericsClass
	Links  Links
	Meter  Meter // nil: everything is free
	// Learn is told the addresses of next hops before they are connected to; may be nil.
	Learn  func(peer inference.PeerID, addrs []string)
	Limits Limits
	Events Events
	Log    *slog.Logger // default: discards
}

func (c *Config) validate() error {
	switch {
	case c.Span == nil || c.Cache == nil || c.Queue == nil || c.Links == nil:
		return errors.New("stage: span, cache, queue and links are needed")
	case c.Limits.Positions <= 0:
		return errors.New("stage: the limit of positions is not known")
	}
	return c.Span.Blocks().Validate()
}

// Events are called while passes run and under locks: they must return at once
// and must not call the stage. A nil field costs nothing.
type Events struct {
	PassDone      func(PassInfo)
	StepDone      func(StepInfo)
	SessionOpened func(SessionInfo)
	SessionClosed func(SessionInfo, inference.Outcome)
}

// PassInfo describes a forward pass.
type PassInfo struct {
	Rows     int // positions computed
	Prefill  int // of them, those of groups of more than 16
	Segments int // runs of positions of one branch
	Sessions int
	Blocks   inference.BlockRange
	Start    time.Time
	Duration time.Duration
	Err      error
}

// StepInfo describes a step that has left.
type StepInfo struct {
	Session inference.SessionID
	Epoch   inference.Epoch
	Seq     uint64
	Rows    int
	Wait    time.Duration // from arrival to the first pass
	Compute time.Duration // from the first pass to the end of the last
}

// SessionInfo describes a session.
type SessionInfo struct {
	Session inference.SessionID
	Client  inference.PeerID
	Epoch   inference.Epoch
	Blocks  inference.BlockRange
	Hop     int
	Direct  bool // the edge to the next hop is up; true at the last hop
}

func refuse(code wire.Code, format string, args ...any) *wire.Fail {
	return &wire.Fail{Code: code, Text: fmt.Sprintf(format, args...)}
}

func unsupported(feature string) *wire.Fail {
	return &wire.Fail{Code: wire.CodeUnsupported, Feature: feature, Text: feature + " is not served by this node"}
}
