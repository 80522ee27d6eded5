package farnet

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/farlabs/inference"
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
	// maxSuspects bounds the memory of peers that do not answer.
	maxSuspects = 4096
	// The time between two probes of a suspect doubles from the first to the last.
	firstRetry = time.Second
	lastRetry  = time.Minute
	// holdSuspect is how long a peer that a caller accused stays suspect
	// although it answers pings; it doubles with each accusation within forgive.
	holdSuspect = 2 * time.Second
	forgive     = time.Minute
)

// health remembers who does not answer.
type health struct {
	mu        sync.Mutex
	suspects  map[peer.ID]*suspicion
	verifying map[peer.ID]bool
	verified  map[peer.ID]time.Time // last probe on a hint, to bound what hints cost
	down      map[int]func(inference.PeerID)
	nextDown  int
}

type suspicion struct {
	active  bool      // false: cleared, but its strikes are remembered
	until   time.Time // not cleared before, even when it answers
	retry   time.Time // next probe
	delay   time.Duration
	strikes int // accusations by callers
	last    time.Time
}

func newHealth() *health {
	return &health{
		suspects:  map[peer.ID]*suspicion{},
		verifying: map[peer.ID]bool{},
		verified:  map[peer.ID]time.Time{},
		down:      map[int]func(inference.PeerID){},
	}
}

func (h *health) suspected(p peer.ID) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.suspects[p]
	return s != nil && s.active
}

// accuse makes p a suspect and reports whether it was none. strike: a caller
// says so, whatever pings say.
func (h *health) accuse(p peer.ID, strike bool) (fresh bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	s := h.suspects[p]
	if s == nil {
		if len(h.suspects) >= maxSuspects {
			h.evictLocked()
		}
		s = &suspicion{}
		h.suspects[p] = s
	}
	if strike {
		if now.Sub(s.last) > forgive {
			s.strikes = 0
		}
		s.last = now
		s.until = now.Add(holdSuspect << min(s.strikes, 5))
		s.strikes++
	}
	if s.active {
		s.delay = min(2*s.delay, lastRetry)
	} else {
		s.delay, fresh = firstRetry, true
	}
	s.active = true
	s.retry = now.Add(s.delay)
	if s.retry.Before(s.until) {
		s.retry = s.until
	}
	return fresh
}

// clear ends the suspicion of p, who answered, and reports whether there was
// one that could be ended.
func (h *health) clear(p peer.ID) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.suspects[p]
	now := time.Now()
	if s == nil || !s.active || now.Before(s.until) {
		return false
	}
	s.active = false
	if s.strikes == 0 {
		delete(h.suspects, p)
	}
	return true
}

// evictLocked makes room: a cleared one first, else any.
func (h *health) evictLocked() {
	var victim peer.ID
	for p, s := range h.suspects {
		victim = p
		if !s.active {
			break
		}
	}
	delete(h.suspects, victim)
}

// due returns the suspects to probe now, and forgets old strikes.
func (h *health) due() []peer.ID {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	var out []peer.ID
	for p, s := range h.suspects {
		switch {
		case s.active && !now.Before(s.retry):
			out = append(out, p)
		case !s.active && now.Sub(s.last) > forgive:
			delete(h.suspects, p)
		}
	}
	for p, t := range h.verified {
		if now.Sub(t) > forgive {
			delete(h.verified, p)
		}
	}
	return out
}

func (h *health) forget(p peer.ID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.suspects, p)
}

// begin reserves the probing of p, so that it is probed once at a time.
func (h *health) begin(p peer.ID) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.verifying[p] || len(h.verifying) >= maxProbes {
		return false
	}
	h.verifying[p] = true
	return true
}

func (h *health) end(p peer.ID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.verifying, p)
}

// hinted reports whether a hint about p deserves a probe: one in two seconds.
func (h *health) hinted(p peer.ID) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t, ok := h.verified[p]; ok && time.Since(t) < 2*time.Second || len(h.verified) >= maxSuspects {
		return false
	}
	h.verified[p] = time.Now()
	return true
}

// tellDown calls the subscribers of OnPeerDown.
func (h *health) tellDown(p peer.ID) {
	h.mu.Lock()
	fs := make([]func(inference.PeerID), 0, len(h.down))
	for _, f := range h.down {
		fs = append(fs, f)
	}
	h.mu.Unlock()
	id := inference.PeerID(p.String())
	for _, f := range fs {
		f(id)
	}
}

// OnPeerDown calls f for each peer that stops answering or says goodbye, from
// a goroutine of the node: f must return quickly and not call Close. stop ends
// the calls; one may still be under way when it returns.
func (n *Node) OnPeerDown(f func(inference.PeerID)) (stop func()) {
	n.health.mu.Lock()
	defer n.health.mu.Unlock()
	id := n.health.nextDown
	n.health.nextDown++
	n.health.down[id] = f
	return func() {
		n.health.mu.Lock()
		defer n.health.mu.Unlock()
		delete(n.health.down, id)
	}
}

// Suspect says that p failed its caller. It stays out of Records for two
// seconds or more (repeated accusations double that), and then until it
// answers a ping.
func (n *Node) Suspect(p inference.PeerID) {
	if id, err := peerID(p); err == nil && id != n.self {
		n.suspect(id, true, "accused by a caller")
	}
}

// Suspected reports whether p is kept out of Records.
func (n *Node) Suspected(p inference.PeerID) bool {
	id, err := peerID(p)
	return err == nil && n.health.suspected(id)
}

// RTT returns the smoothed round trip time to p, 0 when it was never measured.
func (n *Node) RTT(p inference.PeerID) time.Duration {
	id, err := peerID(p)
	if err != nil {
		return 0
	}
	return n.host.Peerstore().LatencyEWMA(id)
}

func (n *Node) suspect(p peer.ID, strike bool, why string) {
	if n.ctx.Err() != nil {
		return
	}
	if n.health.accuse(p, strike) {
		n.log.Info("peer does not answer", "peer", p, "why", why)
		n.table.touch(p)
		n.table.tellSuspect(p)
		n.health.tellDown(p)
	}
}

// answered records a sign of life of p.
func (n *Node) answered(p peer.ID, rtt time.Duration) {
	if rtt > 0 {
		n.host.Peerstore().RecordLatency(p, rtt)
	}
	if n.health.clear(p) {
		n.log.Info("peer answers again", "peer", p)
		n.table.touch(p)
	}
}

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
	if n.host.Network().Connectedness(p) == network.Connected {
		return nil
	}
	info := peer.AddrInfo{ID: p, Addrs: multiaddrs(n.table.addrs(p))}
	if len(info.Addrs) == 0 && len(n.host.Peerstore().Addrs(p)) == 0 {
		return fmt.Errorf("%w %s", ErrUnknownPeer, p)
	}
	// libp2p would refuse to dial again for seconds after a failure.
	if s, ok := n.host.Network().(*swarm.Swarm); ok {
		s.Backoff().Clear(p)
	}
	return n.host.Connect(ctx, info)
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
