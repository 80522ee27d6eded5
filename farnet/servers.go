package farnet

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
)

// settleAfter is how long a new pair of gossip neighbours may take to know of
// each other's topics.
const settleAfter = 1200 * time.Millisecond

// servers is the set of connected peers that answer snapshots: the nodes of
// the network, as opposed to its clients and to strangers.
type servers struct {
	mu      sync.Mutex
	peers   map[peer.ID]bool
	changed chan struct{} // closed and replaced at every change
}

func newServers() *servers {
	return &servers{peers: map[peer.ID]bool{}, changed: make(chan struct{})}
}

func (s *servers) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.peers)
}

// list returns the set in ascending order, and a channel closed when it changes.
func (s *servers) list() ([]peer.ID, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]peer.ID, 0, len(s.peers))
	for p := range s.peers {
		out = append(out, p)
	}
	slices.Sort(out)
	return out, s.changed
}

// set adds or removes p and reports whether that changed anything.
func (s *servers) set(p peer.ID, in bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.peers[p] == in {
		return false
	}
	if in {
		s.peers[p] = true
	} else {
		delete(s.peers, p)
	}
	close(s.changed)
	s.changed = make(chan struct{})
	return true
}

// watchPeers follows who connects and who is lost.
func (n *Node) watchPeers() error {
	sub, err := n.host.EventBus().Subscribe([]any{
		new(event.EvtPeerIdentificationCompleted),
		new(event.EvtPeerProtocolsUpdated),
		new(event.EvtPeerConnectednessChanged),
		new(event.EvtLocalAddressesUpdated),
	}, eventbus.BufSize(256))
	if err != nil {
		return fmt.Errorf("event bus: %w", err)
	}
	n.goRun(func(ctx context.Context) {
		defer sub.Close()
		for {
			select {
			case <-ctx.Done():
				return
			case e, ok := <-sub.Out():
				if !ok {
					return
				}
				switch e := e.(type) {
				case event.EvtPeerIdentificationCompleted:
					if slices.Contains(e.Protocols, protocol.ID(snapshotProtocol)) {
						n.met(e.Peer)
					}
				case event.EvtPeerProtocolsUpdated:
					if slices.Contains(e.Added, protocol.ID(snapshotProtocol)) {
						n.met(e.Peer)
					}
				case event.EvtPeerConnectednessChanged:
					if e.Connectedness == network.NotConnected {
						n.lost(e.Peer)
					}
				case event.EvtLocalAddressesUpdated:
					n.news.changed()
				}
			}
		}
	})
	return nil
}

// met is called when a node of the network turns out to be connected.
func (n *Node) met(p peer.ID) {
	// The events of a connection that was lost meanwhile may still come in.
	if n.host.Network().Connectedness(p) == network.NotConnected || !n.servers.set(p, true) {
		return
	}
	n.log.Debug("node connected", "peer", p)
	n.joining.met(p)
	if n.health.suspected(p) {
		n.verify(p)
	}
	if n.cfg.ClientMode {
		return // the subscriptions look after themselves
	}
	if n.joining.beginExchange(p, !n.table.knows(p)) {
		n.goRun(func(ctx context.Context) {
			err := n.exchange(ctx, p, n.news.request(true))
			n.joining.endExchange(p, err == nil)
			if err != nil {
				n.log.Debug("snapshot failed", "err", err)
				return
			}
			// Once more when the gossip has surely reached this node: what was
			// announced between the snapshot and then may have missed it.
			if sleep(ctx, settleAfter) {
				_ = n.exchange(ctx, p, n.news.request(true))
			}
		})
	}
}

// lost is called when the last connection to p has ended.
func (n *Node) lost(p peer.ID) {
	if n.host.Network().Connectedness(p) != network.NotConnected {
		return
	}
	if n.servers.set(p, false) {
		n.log.Debug("node disconnected", "peer", p)
	}
	// A process that was killed ends its connections and answers no dial.
	if n.table.knows(p) {
		n.verify(p)
	}
}

// gate admits a bounded number at a time.
type gate struct {
	mu   sync.Mutex
	in   int
	most int
}

func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.in >= g.most {
		return false
	}
	g.in++
	return true
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.in--
}

// sleep waits for d or until ctx ends, and reports which: true for d.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
