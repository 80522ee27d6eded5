package farnet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/farlabs/inference"
	dht "github.com/libp2p/go-libp2p-kad-dht"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
)

// Node is one member of the network: a host, what it knows of the others, and
// the goroutines that keep both alive. Safe for concurrent use.
type Node struct {
	cfg      Config
	log      *slog.Logger
	identity *identity
	host     host.Host
	self     peer.ID
	dht      *dht.IpfsDHT
	gossip   *pubsub.PubSub // nil in client mode

	table   *table
	health  *health
	servers *servers   // connected peers that answer snapshots
	joining *joining   // the way into the network
	news    *announcer // what this node says of itself
	subs    *subscriptions
	streams *streamCounter
	serving *gate // snapshots and subscriptions

	ctx    context.Context
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup // every goroutine of the node
	once   sync.Once

	joinMu  sync.Mutex // one topic is joined at a time; before mu
	mu      sync.Mutex
	closing bool
	follows map[inference.Digest]*topic // gossip topic of each followed model; nil values in client mode
	all     *topic                      // gossip topic of every model; nil in client mode
	allOf   bool                        // every model is followed
}

// New starts a node. ctx bounds the starting only; the node lives until Close.
// It returns as soon as the node listens, while the node is still finding its
// way into the network: see [Node.Joined].
func New(ctx context.Context, cfg Config) (*Node, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	id, err := openIdentity(&cfg)
	if err != nil {
		return nil, err
	}
	n := &Node{
		cfg: cfg, log: cfg.Log, identity: id,
		table:   newTable(),
		health:  newHealth(),
		servers: newServers(),
		serving: &gate{most: maxServed},
		follows: map[inference.Digest]*topic{},
	}
	n.ctx, n.cancel = context.WithCancelCause(context.Background())
	if err := n.start(ctx); err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

func (n *Node) start(ctx context.Context) (err error) {
	if n.host, err = newHost(ctx, &n.cfg, n.identity); err != nil {
		return err
	}
	n.self = n.host.ID()
	n.streams = newStreamCounter(n.host.ConnManager())
	n.joining = newJoining(n)
	n.joining.recall()
	n.subs = newSubscriptions(n)
	n.news = newAnnouncer(n)
	if n.dht, err = newDHT(n.host, &n.cfg); err != nil {
		return fmt.Errorf("dht: %w", err)
	}
	if err := n.watchPeers(); err != nil {
		return err
	}
	if n.cfg.ClientMode {
		n.goRun(n.subs.run)
	} else {
		if err := n.startGossip(); err != nil {
			return fmt.Errorf("gossip: %w", err)
		}
		n.host.SetStreamHandler(pingProtocol, n.servePing)
		n.host.SetStreamHandler(recordsProtocol, n.serveRecords)
		n.host.SetStreamHandler(snapshotProtocol, n.serveSnapshot)
		n.goRun(n.news.run)
		n.goRun(n.keepNeighbours)
	}
	n.goRun(n.joining.run)
	n.goRun(n.probe)
	n.goRun(n.sweep)
	n.startMDNS()
	return nil
}

// goRun starts a goroutine that the node owns: Close waits for it. It reports
// false when the node is closing and f was not started.
func (n *Node) goRun(f func(context.Context)) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closing {
		return false
	}
	n.wg.Add(1)
	go func() {
		defer n.wg.Done()
		f(n.ctx)
	}()
	return true
}

// Close says goodbye where the node announced something, ends every stream and
// goroutine, and releases the identity. It takes at most about two seconds.
func (n *Node) Close() error {
	var err error
	n.once.Do(func() {
		if n.news != nil {
			n.news.goodbye()
		}
		if n.joining != nil {
			n.joining.remember()
		}
		n.mu.Lock()
		n.closing = true
		n.mu.Unlock()
		n.cancel(ErrClosed)
		// Dials first: one that begins while the host closes leaves a socket.
		n.finished(2 * time.Second)
		var errs []error
		if n.dht != nil {
			errs = append(errs, n.dht.Close())
		}
		if n.host != nil {
			errs = append(errs, n.host.Close())
		}
		n.wg.Wait()
		if n.streams != nil {
			n.streams.wait(2 * time.Second)
		}
		n.identity.close()
		err = errors.Join(errs...)
	})
	return err
}

// finished waits until every goroutine of the node has ended, or for most.
func (n *Node) finished(most time.Duration) {
	done := make(chan struct{})
	go func() {
		n.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(most):
	}
}

// ID returns the node's peer id.
func (n *Node) ID() inference.PeerID { return inference.PeerID(n.self.String()) }

// Addrs returns the full multiaddrs, ending in /p2p/<peer id>, at which the
// node can be reached, those that lead there from farthest away first: what
// another node's Bootstrap takes.
func (n *Node) Addrs() []string {
	var out []string
	for _, a := range sortAddrs(n.host.Addrs()) {
		out = append(out, a.String()+"/p2p/"+n.self.String())
	}
	return out
}

// Joined is closed when the first attempt to join is over: a node of the
// network has been met, or nobody answered and Alone tells so.
func (n *Node) Joined() <-chan struct{} { return n.joining.done }

// BootstrapMet reports whether one of the Bootstrap peers has been met, or is
// within that time: others, remembered or on the local network, may be met a
// moment before it. True where none is given.
func (n *Node) BootstrapMet(within time.Duration) bool {
	select {
	case <-n.joining.booted:
		return true
	default:
	}
	select {
	case <-n.joining.booted:
		return true
	case <-time.After(within):
		return false
	}
}

// Alone reports whether no node of the network is connected.
func (n *Node) Alone() bool { return n.servers.count() == 0 }

// Peers returns the number of connected nodes of the network, without clients.
func (n *Node) Peers() int { return n.servers.count() }

func (n *Node) sweep(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	save := time.NewTicker(30 * time.Second)
	defer save.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			n.table.sweep()
		case <-save.C:
			n.joining.remember()
		}
	}
}

// peerID converts the text form; the error names what was wrong.
func peerID(p inference.PeerID) (peer.ID, error) {
	id, err := peer.Decode(string(p))
	if err != nil {
		return "", fmt.Errorf("peer id %q: %w", string(p), err)
	}
	return id, nil
}
