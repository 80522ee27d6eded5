package farnet

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

const (
	// snapshotsOnJoin is how many peers a newcomer gets the table from.
	snapshotsOnJoin = 3
	// maxRemembered bounds the peers in PeersPath; maxPeersFile its bytes.
	maxRemembered   = 64
	maxPeersFile    = 256 << 10
	addrsRemembered = 4
	// dialsAtOnce bounds the dials of one round.
	dialsAtOnce = 8
	// joinWait is how long a node waits for whoever it dialled to introduce
	// himself, or for an answer by multicast, before it calls itself alone.
	joinWait = 2 * time.Second
	// bootAgain is how often bootstrap peers are tried again in company: two
	// networks that do not know of each other grow together there.
	bootAgain = 30 * time.Second
)

// joining finds the way into the network, and back into it.
type joining struct {
	n     *Node
	boot  []peer.AddrInfo // from the configuration
	known []peer.AddrInfo // from an earlier run
	way   way             // how the peers of this run are met
	done  chan struct{}
	once  sync.Once

	booted   chan struct{} // closed when one of boot has been met
	bootOnce sync.Once

	mu    sync.Mutex
	begun int                   // exchanges begun and not failed
	last  map[peer.ID]time.Time // last exchange with each peer
	saved string                // content of PeersPath
}

func newJoining(n *Node) *joining {
	j := &joining{n: n, done: make(chan struct{}), booted: make(chan struct{}), last: map[peer.ID]time.Time{}}
	var infos []peer.AddrInfo
	for _, s := range n.cfg.Bootstrap {
		if info, err := parsePeerAddr(s); err == nil { // Validate has seen to it
			infos = append(infos, *info)
		}
	}
	j.boot = j.merge(infos)
	if len(j.boot) == 0 {
		j.bootMet()
	}
	return j
}

func (j *joining) bootMet() { j.bootOnce.Do(func() { close(j.booted) }) }

// merge joins the addresses of each peer, leaving this node out.
func (j *joining) merge(list []peer.AddrInfo) []peer.AddrInfo {
	var out []peer.AddrInfo
	for _, info := range list {
		if info.ID == j.n.self {
			continue
		}
		i := slices.IndexFunc(out, func(o peer.AddrInfo) bool { return o.ID == info.ID })
		if i < 0 {
			out = append(out, info)
		} else {
			out[i].Addrs = append(out[i].Addrs, info.Addrs...)
		}
	}
	return out
}

// finish marks the first attempt as over.
func (j *joining) finish() { j.once.Do(func() { close(j.done) }) }

// run dials its way in, and again whenever the node is alone.
func (j *joining) run(ctx context.Context) {
	n := j.n
	defer j.finish()
	j.dial(ctx, append(slices.Clone(j.boot), j.known...))
	_, changed := n.servers.list()
	if n.Alone() && (n.mdnsWanted() || len(j.boot)+len(j.known) > 0) {
		wait, cancel := context.WithTimeout(ctx, joinWait)
		select {
		case <-wait.Done():
		case <-changed:
		}
		cancel()
	}
	if n.Alone() {
		j.finish() // else the first exchange does, or a moment passes
	} else {
		select {
		case <-j.done:
		case <-ctx.Done():
		case <-time.After(joinWait):
		}
		j.finish()
	}
	delay := time.Second
	for {
		_, changed := n.servers.list()
		pause := bootAgain
		if n.Alone() {
			pause = delay
			delay = min(2*delay, bootAgain)
		} else {
			delay = time.Second
		}
		timer := time.NewTimer(jitter(pause))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-changed:
			timer.Stop()
			continue
		case <-timer.C:
		}
		again := j.boot
		if n.Alone() {
			again = append(slices.Clone(j.boot), j.known...)
			again = append(again, j.fromTable()...)
		}
		j.dial(ctx, again)
	}
}

// dial tries each peer that is not connected and waits for the outcome.
func (j *joining) dial(ctx context.Context, list []peer.AddrInfo) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, dialsAtOnce)
	for _, info := range j.merge(list) {
		if j.n.host.Network().Connectedness(info.ID) == network.Connected {
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			j.n.host.Peerstore().AddAddrs(info.ID, info.Addrs, time.Hour)
			ctx, cancel := context.WithTimeout(ctx, j.n.cfg.DialTimeout)
			defer cancel()
			if err := j.n.connect(ctx, info.ID); err != nil {
				j.n.log.Debug("join: dial failed", "peer", info.ID, "err", err)
			}
		})
	}
	wg.Wait()
}

// fromTable lists nodes that announced themselves: whoever lost all its
// connections at once still knows where the others were.
func (j *joining) fromTable() []peer.AddrInfo {
	var out []peer.AddrInfo
	for _, r := range j.n.table.list(nil) {
		if r.peer != j.n.self && len(out) < maxRemembered {
			out = append(out, peer.AddrInfo{ID: r.peer, Addrs: multiaddrs(r.record.Addrs)})
		}
	}
	return out
}

// met is told of each node that connects.
func (j *joining) met(p peer.ID) {
	if slices.ContainsFunc(j.boot, func(b peer.AddrInfo) bool { return b.ID == p }) {
		j.bootMet()
	}
	if j.n.cfg.ClientMode {
		j.finish()
	}
}

// beginExchange reports whether to get a snapshot from p: three on joining,
// later only from strangers, who may come from a network that was apart.
func (j *joining) beginExchange(p peer.ID, stranger bool) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	now := time.Now()
	if now.Sub(j.last[p]) < time.Minute && !j.last[p].IsZero() {
		return false
	}
	if j.begun >= snapshotsOnJoin && !stranger {
		return false
	}
	for q, t := range j.last {
		if now.Sub(t) >= time.Minute {
			delete(j.last, q)
		}
	}
	if len(j.last) >= 256 {
		return false
	}
	j.last[p] = now
	j.begun++
	return true
}

func (j *joining) endExchange(p peer.ID, ok bool) {
	if ok {
		j.finish()
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.begun--
	delete(j.last, p)
}
