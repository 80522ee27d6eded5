// Package linktest is a network in memory for tests of what stands on package
// link: peers that dial one another, with delays, cuts, freezes and walls. It
// works inside testing/synctest bubbles and outside of them.
//
// A typical test gives each peer a Mux:
//
//	n := linktest.New()
//	a, b := n.Peer("a"), n.Peer("b")
//	ma := link.New(link.Config{Dialer: a, Handler: ha})
//	a.Serve(ma)
package linktest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/pipeline/link"
	"github.com/farlabs/inference/pipeline/wire"
)

// Errors of dials and streams.
var (
	ErrUnreachable = errors.New("linktest: unreachable")
	ErrReset       = errors.New("linktest: stream reset")
)

// Window is how many bytes a stream holds in flight before Write blocks.
const Window = 1 << 20

// Network joins peers. The zero delay delivers at once.
type Network struct {
	mu      sync.Mutex
	peers   map[inference.PeerID]*Peer
	delays  map[pair]time.Duration
	walls   map[pair]bool // from → to: dials fail
	cuts    map[pair]bool
	frozen  map[inference.PeerID]bool
	silent  map[pair]bool
	streams map[*stream]struct{}
}

type pair struct{ from, to inference.PeerID }

// New returns a network without peers.
func New() *Network {
	return &Network{
		peers: map[inference.PeerID]*Peer{}, delays: map[pair]time.Duration{},
		walls: map[pair]bool{}, cuts: map[pair]bool{}, frozen: map[inference.PeerID]bool{}, silent: map[pair]bool{},
		streams: map[*stream]struct{}{},
	}
}

// Acceptor serves inbound streams; *link.Mux is one.
type Acceptor interface {
	Accept(peer inference.PeerID, ch wire.Channel, s link.Stream)
}

// Peer is one member of the network; it is a link.Dialer.
type Peer struct {
	n  *Network
	id inference.PeerID

	acceptor Acceptor       // under n.mu
	serving  sync.WaitGroup // Accept calls
}

// Peer returns the peer called id, adding it on first use.
func (n *Network) Peer(id inference.PeerID) *Peer {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.peers[id]
	if p == nil {
		p = &Peer{n: n, id: id}
		n.peers[id] = p
	}
	return p
}

// ID returns the peer's id.
func (p *Peer) ID() inference.PeerID { return p.id }

// Serve lets others dial p; nil stops it.
func (p *Peer) Serve(a Acceptor) {
	p.n.mu.Lock()
	p.acceptor = a
	p.n.mu.Unlock()
}

// Wait returns when no inbound stream of p is being served.
func (p *Peer) Wait() { p.serving.Wait() }

// Delay sets the one-way delay from a to b and from b to a, for streams opened
// later.
func (n *Network) Delay(a, b inference.PeerID, d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.delays[pair{a, b}], n.delays[pair{b, a}] = d, d
}

// Wall makes dials from a to b fail, as NAT does; streams that b opens work.
func (n *Network) Wall(a, b inference.PeerID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.walls[pair{a, b}] = true
}

// Unwall takes a wall away.
func (n *Network) Unwall(a, b inference.PeerID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.walls, pair{a, b})
}

// Cut resets all streams between a and b; dials fail until Heal.
func (n *Network) Cut(a, b inference.PeerID) {
	n.mu.Lock()
	n.cuts[pair{a, b}], n.cuts[pair{b, a}] = true, true
	n.mu.Unlock()
	n.reset(func(p pair) bool { return p == pair{a, b} || p == pair{b, a} })
}

// Heal undoes Cut.
func (n *Network) Heal(a, b inference.PeerID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.cuts, pair{a, b})
	delete(n.cuts, pair{b, a})
}

// Break resets all streams between a and b; they may dial again at once.
func (n *Network) Break(a, b inference.PeerID) {
	n.reset(func(p pair) bool { return p == pair{a, b} || p == pair{b, a} })
}

// Kill removes a peer as kill -9 does: its streams are reset, nobody reaches
// it. A later Peer of the same id begins anew.
func (n *Network) Kill(id inference.PeerID) {
	n.mu.Lock()
	delete(n.peers, id)
	n.mu.Unlock()
	n.reset(func(p pair) bool { return p.from == id || p.to == id })
}

// Freeze stops all bytes from and to a peer, as SIGSTOP does: streams stay
// open, writes go on until the window is full, dials hang.
func (n *Network) Freeze(id inference.PeerID) { n.setFrozen(id, true) }

// Thaw undoes Freeze; what was held is delivered.
func (n *Network) Thaw(id inference.PeerID) { n.setFrozen(id, false) }

// Silence holds all bytes between a and b from now on, as a router does that
// drops packets: streams stay open, dials hang.
func (n *Network) Silence(a, b inference.PeerID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.silent[pair{a, b}], n.silent[pair{b, a}] = true, true
	for s := range n.streams {
		s.in.wake()
	}
}

func (n *Network) setFrozen(id inference.PeerID, on bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.frozen[id] = on
	for s := range n.streams {
		s.in.wake()
	}
}

func (n *Network) stopped(p pair) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.frozen[p.from] || n.frozen[p.to] || n.silent[p]
}

func (n *Network) reset(match func(pair) bool) {
	n.mu.Lock()
	var l []*stream
	for s := range n.streams {
		if match(pair{s.local, s.remote}) {
			l = append(l, s)
		}
	}
	n.mu.Unlock()
	for _, s := range l {
		s.Reset()
	}
}

// Streams returns how many stream ends are open between a and b, counted at a.
func (n *Network) Streams(a, b inference.PeerID) (open int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for s := range n.streams {
		if s.local == a && s.remote == b {
			open++
		}
	}
	return open
}

// OpenStream implements link.Dialer. It takes one round trip.
func (p *Peer) OpenStream(ctx context.Context, to inference.PeerID, protocol string) (link.Stream, error) {
	n := p.n
	ch := wire.Channel(0)
	for ; ch < wire.NumChannels && ch.Protocol() != protocol; ch++ {
	}
	if ch == wire.NumChannels {
		return nil, fmt.Errorf("linktest: protocol %q", protocol)
	}
	n.mu.Lock()
	delay := n.delays[pair{p.id, to}]
	n.mu.Unlock()
	timer := time.NewTimer(2 * delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	for n.stopped(pair{p.id, to}) {
		timer.Reset(10 * time.Millisecond)
		select {
		case <-timer.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	q := n.peers[to]
	if q == nil || q.acceptor == nil || n.peers[p.id] != p || n.walls[pair{p.id, to}] || n.cuts[pair{p.id, to}] {
		return nil, fmt.Errorf("%s → %s: %w", p.id, to, ErrUnreachable)
	}
	mine, theirs := newPipe(n, pair{p.id, to}, delay)
	n.streams[mine], n.streams[theirs] = struct{}{}, struct{}{}
	acceptor := q.acceptor
	q.serving.Add(1)
	go func() {
		defer q.serving.Done()
		acceptor.Accept(p.id, ch, theirs)
	}()
	return mine, nil
}
