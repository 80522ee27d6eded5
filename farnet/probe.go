package farnet

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"syscall"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

const (
	pingProtocol = "/farlabs/ping/1"
	// probesPerRound bounds the pings of one round; with more neighbours the
	// rounds take turns, and the neighbours' own pings cover the rest.
	probesPerRound = 12
	// hintTimeout replaces ProbeTimeout where another node has waited that long
	// already, so that the news of a death is no older than five seconds anywhere.
	hintTimeout = 1200 * time.Millisecond
	// slowPing is when a ping is late enough to wonder.
	slowPing = 300 * time.Millisecond
	// starved is how late a timer shows that this process did not get to run.
	starved = 250 * time.Millisecond
	// maxProbes bounds what is probed at the same time; the rest waits its turn.
	maxProbes = 64
)

// probe pings connected nodes of the followed models, round by round, and
// suspects at their own times.
func (n *Node) probe(ctx context.Context) {
	tick := time.NewTicker(n.cfg.ProbeInterval)
	defer tick.Stop()
	slow := time.NewTicker(firstRetry / 4)
	defer slow.Stop()
	turn := 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-slow.C:
			for _, p := range n.health.due() {
				if !n.table.knows(p) {
					n.health.forget(p)
					continue
				}
				n.verify(p)
			}
		case <-tick.C:
			var peers []peer.ID
			for _, p := range n.host.Network().Peers() {
				if n.isNeighbour(p) && !n.health.suspected(p) {
					peers = append(peers, p)
				}
			}
			slices.Sort(peers)
			for i := range min(len(peers), probesPerRound) {
				n.verify(peers[(turn+i)%len(peers)])
			}
			turn += probesPerRound
		}
	}
}

// isNeighbour reports whether p serves a model that this node cares for.
func (n *Node) isNeighbour(p peer.ID) bool {
	digests, all := n.followed()
	return all && n.table.knows(p) || n.table.serves(p, digests)
}

// verify finds out, in the background and within ProbeTimeout, whether p
// answers, dialling it if need be.
func (n *Node) verify(p peer.ID) { n.verifyWithin(p, n.cfg.ProbeTimeout) }

func (n *Node) verifyWithin(p peer.ID, most time.Duration) {
	if p == n.self || !n.health.begin(p) {
		return
	}
	started := n.goRun(func(ctx context.Context) {
		defer n.health.end(p)
		rtt, err := n.tryFor(ctx, p, most)
		switch {
		case n.ctx.Err() != nil:
		case err == nil:
			n.answered(p, rtt)
		default:
			n.suspect(p, false, err.Error())
		}
	})
	if !started {
		n.health.end(p)
	}
}

// tryFor asks p within a time. When the time ran out well after its end, this
// process was stopped or starved and may be what did not answer: it asks again.
func (n *Node) tryFor(ctx context.Context, p peer.ID, most time.Duration) (rtt time.Duration, err error) {
	for range 2 {
		start := time.Now()
		tctx, cancel := context.WithTimeout(ctx, most)
		rtt, err = n.answers(tctx, p)
		cancel()
		if err == nil || ctx.Err() != nil || time.Since(start) < most+starved {
			break
		}
	}
	return rtt, err
}

// answers pings p. A peer nearby whose process is dead is told from one that
// is slow by its ports: they refuse, at once. That spares the seconds that
// QUIC, which is never refused, takes to give up.
func (n *Node) answers(ctx context.Context, p peer.ID) (time.Duration, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if n.host.Network().Connectedness(p) == network.NotConnected {
		if err := n.refused(ctx, p); err != nil {
			return 0, err
		}
	} else {
		n.goRun(func(context.Context) {
			if sleep(ctx, slowPing) {
				if err := n.refused(ctx, p); err != nil {
					cancel(err)
				}
			}
		})
	}
	rtt, err := n.ping(ctx, p)
	if err != nil && ctx.Err() == nil && n.host.Network().Connectedness(p) != network.Connected {
		// The connection may have died of age just now: one fresh dial decides.
		rtt, err = n.ping(ctx, p)
	}
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return rtt, err
}

// refused returns an error when p has TCP addresses on this machine or the
// local network and nothing else but QUIC beside them, and all of them refuse.
func (n *Node) refused(ctx context.Context, p peer.ID) error {
	if n.cfg.transport != nil {
		return nil
	}
	tried := 0
	for _, s := range n.table.addrs(p) {
		a, err := ma.NewMultiaddr(s)
		if err != nil || !manet.IsPrivateAddr(a) {
			return nil
		}
		if _, err := a.ValueForProtocol(ma.P_TCP); err != nil {
			continue
		}
		d := manet.Dialer{Dialer: net.Dialer{Timeout: slowPing}}
		c, err := d.DialContext(ctx, a)
		if err == nil {
			c.Close()
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return nil
		}
		tried++
	}
	if tried == 0 {
		return nil
	}
	return syscall.ECONNREFUSED
}

// ping connects to p if need be and measures one round trip.
func (n *Node) ping(ctx context.Context, p peer.ID) (time.Duration, error) {
	if err := n.connect(ctx, p); err != nil {
		return 0, err
	}
	s, err := n.host.NewStream(network.WithAllowLimitedConn(ctx, "ping"), p, pingProtocol)
	if err != nil {
		return 0, err
	}
	defer s.Close()
	defer context.AfterFunc(ctx, func() { _ = s.Reset() })()
	var out, in [8]byte
	_, _ = rand.Read(out[:])
	start := time.Now()
	if _, err = s.Write(out[:]); err == nil {
		_, err = io.ReadFull(s, in[:])
	}
	if err == nil && in != out {
		err = ErrMalformed
	}
	if err != nil {
		_ = s.Reset()
		return 0, fmt.Errorf("ping: %w", err)
	}
	return time.Since(start), nil
}

func (n *Node) servePing(s network.Stream) {
	defer s.Close()
	_ = s.SetDeadline(time.Now().Add(10 * time.Second))
	var b [8]byte
	if _, err := io.ReadFull(s, b[:]); err != nil {
		_ = s.Reset()
		return
	}
	_, _ = s.Write(b[:])
}

// connect dials p at the addresses of its record and those that the host
// knows, unless it is connected.
func (n *Node) connect(ctx context.Context, p peer.ID) error {
	for {
		if n.host.Network().Connectedness(p) == network.Connected {
			return nil
		}
		addrs := n.table.addrs(p)
		if len(addrs) == 0 && len(n.host.Peerstore().Addrs(p)) == 0 {
			return fmt.Errorf("%w %s", ErrUnknownPeer, p)
		}
		// libp2p would refuse to dial again for seconds after a failure.
		if s, ok := n.host.Network().(*swarm.Swarm); ok {
			s.Backoff().Clear(p)
		}
		if err := n.dial(ctx, p, addrs); err != errOvertaken {
			return err
		}
	}
}

// dialWatch is how often a dial that hangs looks whether it is still needed.
const dialWatch = 25 * time.Millisecond

// errOvertaken says that a dial was ended because there is better.
var errOvertaken = errors.New("connected otherwise, or at other addresses")

// dial connects to p. It returns errOvertaken when p is connected otherwise or
// has announced other addresses meanwhile: one that was started again has new
// ports, and a dial to the old ones may hang until its time is over, above all
// over UDP, and all who come later with it.
func (n *Node) dial(ctx context.Context, p peer.ID, addrs []string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- n.host.Connect(ctx, peer.AddrInfo{ID: p, Addrs: multiaddrs(addrs)}) }()
	watch := time.NewTicker(dialWatch)
	defer watch.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-watch.C:
			if n.host.Network().Connectedness(p) == network.Connected || !slices.Equal(n.table.addrs(p), addrs) {
				cancel()
				<-done
				return errOvertaken
			}
		}
	}
}

// multiaddrs parses what it can.
func multiaddrs(list []string) []ma.Multiaddr {
	var out []ma.Multiaddr
	for _, s := range list {
		if a, err := ma.NewMultiaddr(s); err == nil {
			out = append(out, a)
		}
	}
	return out
}
