package farnet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/farlabs/inference"
	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// Stream is a reliable, ordered, encrypted stream of bytes to one peer. The
// opener closes it; CloseWrite ends one direction, Reset both at once with an
// error for the other side. One reader and one writer may use it at a time.
type Stream interface {
	io.Reader
	io.Writer
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
	CloseWrite() error
	Reset() error
	Close() error
}

// relayAfter is how long OpenStream waits for a direct connection to a peer
// that is reached through a relay, before it takes the relayed one.
const relayAfter = 5 * time.Second

// OpenStream opens a stream to p, dialling it at the addresses of its record
// when it is not connected. A peer that cannot be dialled becomes a suspect.
// Whether p speaks the protocol may show at the first Read only.
func (n *Node) OpenStream(ctx context.Context, p inference.PeerID, proto string) (Stream, error) {
	id, err := peerID(p)
	if err != nil {
		return nil, err
	}
	if n.ctx.Err() != nil {
		return nil, ErrClosed
	}
	s, err := n.openStream(ctx, id, protocol.ID(proto))
	if err != nil {
		return nil, fmt.Errorf("open %s to %s: %w", proto, p.Short(), err)
	}
	return n.streams.track(s), nil
}

func (n *Node) openStream(ctx context.Context, p peer.ID, proto protocol.ID) (network.Stream, error) {
	dctx, cancel := context.WithTimeout(ctx, n.cfg.DialTimeout)
	err := n.connect(dctx, p)
	cancel()
	if err != nil {
		// A caller who changed his mind says nothing about the peer.
		if !errors.Is(ctx.Err(), context.Canceled) && !errors.Is(err, ErrUnknownPeer) {
			n.suspect(p, false, "dial failed")
		}
		return nil, err
	}
	if n.host.Network().Connectedness(p) == network.Limited {
		dctx, cancel := context.WithTimeout(ctx, relayAfter)
		s, err := n.host.NewStream(dctx, p, proto)
		cancel()
		if err == nil {
			return s, nil
		}
		ctx = network.WithAllowLimitedConn(ctx, "no direct connection")
	}
	return n.host.NewStream(ctx, p, proto)
}

// Handle has f called, in a goroutine of its own, for each stream that a peer
// opens with the protocol. f owns the stream. Close ends the streams and then
// waits a short while for the handlers to return.
func (n *Node) Handle(proto string, f func(peer inference.PeerID, s Stream)) {
	n.host.SetStreamHandler(protocol.ID(proto), func(s network.Stream) {
		if !n.streams.enter() {
			_ = s.Reset()
			return
		}
		defer n.streams.leave()
		f(inference.PeerID(s.Conn().RemotePeer().String()), n.streams.track(s))
	})
}

// Connect dials the peer that the full multiaddrs, ending in /p2p/<peer id>,
// name, and keeps the addresses for later.
func (n *Node) Connect(ctx context.Context, addrs ...string) error {
	var errs []error
	for _, a := range addrs {
		info, err := parsePeerAddr(a)
		if err != nil {
			return err
		}
		if info.ID == n.self {
			continue
		}
		n.host.Peerstore().AddAddrs(info.ID, info.Addrs, time.Hour)
		dctx, cancel := context.WithTimeout(ctx, n.cfg.DialTimeout)
		err = n.connect(dctx, info.ID)
		cancel()
		if err == nil {
			return nil
		}
		errs = append(errs, fmt.Errorf("connect to %s: %w", a, err))
	}
	return errors.Join(errs...)
}

// streamCounter keeps peers with open streams from being disconnected for
// want of connections, and counts the handlers that run.
type streamCounter struct {
	cm       connmgr.ConnManager
	mu       sync.Mutex
	open     map[peer.ID]int
	handlers sync.WaitGroup
	closed   bool
}

func newStreamCounter(cm connmgr.ConnManager) *streamCounter {
	return &streamCounter{cm: cm, open: map[peer.ID]int{}}
}

const streamTag = "farlabs-streams"

// tracked is a stream that is counted until it is closed or reset.
type tracked struct {
	network.Stream
	once sync.Once
	done func()
}

func (t *tracked) Close() error {
	defer t.once.Do(t.done)
	return t.Stream.Close()
}

func (t *tracked) Reset() error {
	defer t.once.Do(t.done)
	return t.Stream.Reset()
}

func (c *streamCounter) track(s network.Stream) Stream {
	p := s.Conn().RemotePeer()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open[p]++; c.open[p] == 1 {
		c.cm.Protect(p, streamTag)
	}
	return &tracked{Stream: s, done: func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.open[p]--; c.open[p] == 0 {
			delete(c.open, p)
			c.cm.Unprotect(p, streamTag)
		}
	}}
}

func (c *streamCounter) enter() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.handlers.Add(1)
	}
	return !c.closed
}

func (c *streamCounter) leave() { c.handlers.Done() }

// wait gives running handlers, whose streams are dead by now, time to return.
func (c *streamCounter) wait(most time.Duration) {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	done := make(chan struct{})
	go func() {
		c.handlers.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(most):
	}
}
