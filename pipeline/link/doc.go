// Package link carries [wire.Frame]s between this process and its peers.
//
// A [Mux] keeps one link per peer: one control, one decode and one bulk stream,
// shared by all sessions and used both ways, so that a peer which cannot be
// dialled is answered on the streams that it opened. Frames go in through
// [Mux.Send], which never blocks, and come out at the [Handler], in order within
// a channel. Each stream has one writer goroutine, which puts all frames that
// are ready into one Write; queues are bounded in bytes.
//
// A link lives and dies as a whole: when one of its streams fails, stalls or
// carries bytes that are no frame, all are reset and [Handler.Down] is called
// once. The next Send or Connect begins a new link. What was queued is lost;
// sessions recover, links don't.
//
// On each stream the opener first writes a greeting of 16 bytes, the number of
// its link and the number of the peer's link that it has joined with it (0:
// none), and the acceptor answers with a greeting of its own: the same number,
// and the number of the link that it was itself dialling (0: none). Greetings
// tell a stream of a new link from one of the link before it, let two sides that
// dialled at once share one link, and show that the peer is alive.
//
// The package knows no message and no session, and dials through an interface.
package link

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/tensor"
	"github.com/farlabs/inference/pipeline/wire"
)

// Stream is one byte stream to a peer. Reset and Close may be called while
// other goroutines read and write, and make them return.
type Stream interface {
	io.Reader
	io.Writer
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
	// Reset ends the stream at once in both directions; the peer's reads fail.
	Reset() error
	// Close ends the stream; the peer reads what was written, then io.EOF.
	Close() error
}

// Dialer opens streams; farnet's node fits it through a small adapter.
type Dialer interface {
	OpenStream(ctx context.Context, peer inference.PeerID, protocol string) (Stream, error)
}

// Handler takes what arrives. Calls come from many goroutines; those for one
// channel of one peer come in order.
type Handler interface {
	// Reserve returns the memory for a payload of n > 0 bytes before it is
	// read; the buffer's Data must have n bytes. An error makes the link skip
	// the frame; telling the peer is up to the handler.
	Reserve(from inference.PeerID, m wire.Message, n int) (tensor.Buffer, error)
	// Frame takes a frame. It must not block.
	Frame(from inference.PeerID, f *wire.Frame)
	// Down reports that the link with peer is gone and that frames in either
	// direction may be lost. It is called once per link, after the link's last
	// Frame and before the first Frame of the next link with that peer.
	Down(peer inference.PeerID, err error)
}

// Config configures a Mux. Zero values take the defaults.
type Config struct {
	Dialer  Dialer // nil: this side only accepts
	Handler Handler
	Log     *slog.Logger // default: discards
	// QueueBytes bounds what waits to be written to one peer, all channels
	// together. Default and least: one frame of the greatest size and 16 MiB.
	QueueBytes int64
	// MaxPeers bounds the links alive at once. Default 4096.
	MaxPeers int
	// DialTimeout bounds the time from the first dial until the peer has
	// answered on all streams. Default 5 s.
	DialTimeout time.Duration
	// WriteTimeout is how long one Write of at most 256 KiB may take before the
	// peer counts as stuck. Default 10 s.
	WriteTimeout time.Duration
	// FrameTimeout is how long a frame that has begun to arrive may take, plus
	// one second per 64 KiB of payload. Default 10 s.
	FrameTimeout time.Duration
	// IdleTimeout is how long a link without a frame is kept. It must be longer
	// than any session is kept idle. Default 15 min.
	IdleTimeout time.Duration
}

func (c Config) withDefaults() Config {
	set := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	set(&c.DialTimeout, 5*time.Second)
	set(&c.WriteTimeout, 10*time.Second)
	set(&c.FrameTimeout, 10*time.Second)
	set(&c.IdleTimeout, 15*time.Minute)
	c.QueueBytes = max(c.QueueBytes, wire.MaxPayload+16<<20)
	if c.MaxPeers <= 0 {
		c.MaxPeers = 4096
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Errors of Send, Connect and Down.
var (
	ErrQueueFull = errors.New("link: queue full")
	ErrDown      = errors.New("link: down")
	ErrClosed    = errors.New("link: closed")
	ErrTooMany   = errors.New("link: too many peers")
	ErrIdle      = errors.New("link: idle")
	ErrStuck     = errors.New("link: peer does not read")
)

// minRate is the slowest payload that is waited for, bytes per second.
const minRate = 64 << 10

// writeBytes is the most that one Write carries.
const writeBytes = 256 << 10

// frameCost is what a queued frame counts beside its payload, bytes: about the
// header of a decode step, encoded and in memory.
const frameCost = 512
