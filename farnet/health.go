package farnet

import (
	"sync"
	"time"

	"github.com/farlabs/inference"
	"github.com/libp2p/go-libp2p/core/peer"
)

const (
	// maxSuspects bounds the memory of peers that do not answer.
	maxSuspects = 4096
	// The time between two probes of a suspect doubles from the first to the last.
	firstRetry = time.Second
	lastRetry  = time.Minute
	// holdSuspect is how long a peer that a caller accused stays suspect
	// although it answers pings; it doubles with each accusation within forgive,
	// twice at most: where nobody else has its blocks, sessions wait for it.
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
		s.until = now.Add(holdSuspect << min(s.strikes, 2))
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
