package farnet

import (
	"bufio"
	"context"
	"hash/fnv"
	"slices"
	"sync"
	"time"

	"github.com/farlabs/inference"
	"github.com/libp2p/go-libp2p/core/peer"
)

const (
	// wantSubscriptions is how many nodes a client hears news from.
	wantSubscriptions = 3
	// subscribeAgain is how long a node that ended a subscription is left alone.
	subscribeAgain = 2 * time.Second
	// dhtEvery is the least time between two lookups of one model.
	dhtEvery = 15 * time.Second
)

// subscriptions keeps a client's table fresh: a snapshot and then the news,
// from up to three nodes at a time.
type subscriptions struct {
	n *Node

	mu      sync.Mutex
	want    string               // fingerprint of what is followed
	active  map[peer.ID]*session // running
	resting map[peer.ID]time.Time
	filled  chan struct{} // closed when a snapshot of want is complete
	lookups map[inference.Digest]time.Time
	wake    chan struct{}
}

type session struct {
	want   string
	cancel context.CancelFunc
}

func newSubscriptions(n *Node) *subscriptions {
	return &subscriptions{
		n:       n,
		active:  map[peer.ID]*session{},
		resting: map[peer.ID]time.Time{},
		filled:  make(chan struct{}),
		lookups: map[inference.Digest]time.Time{},
		wake:    make(chan struct{}, 1),
	}
}

// fingerprint tells two sets of followed models apart.
func fingerprint(digests []inference.Digest, all bool) string {
	if all {
		return "all"
	}
	var b []byte
	for _, d := range digests {
		b = append(b, d[:]...)
	}
	return string(b)
}

// synced returns a channel that is closed once a snapshot of these models has
// come in, and has the subscriptions renewed if they were for others.
func (s *subscriptions) synced(digests []inference.Digest, all bool) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wantLocked(fingerprint(digests, all))
	return s.filled
}

func (s *subscriptions) wantLocked(want string) {
	if s.want == want {
		return
	}
	s.want, s.filled = want, make(chan struct{})
	for _, a := range s.active {
		if a.want != want {
			a.cancel()
		}
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// run starts a subscription wherever one is missing.
func (s *subscriptions) run(ctx context.Context) {
	for {
		_, changed := s.n.servers.list()
		s.fill()
		t := time.NewTimer(500 * time.Millisecond)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-s.wake:
		case <-changed:
		case <-t.C:
		}
		t.Stop()
	}
}

func (s *subscriptions) fill() {
	n := s.n
	digests, all := n.followed()
	if len(digests) == 0 && !all {
		return
	}
	s.mu.Lock()
	s.wantLocked(fingerprint(digests, all))
	now := time.Now()
	for p, t := range s.resting {
		if now.After(t) {
			delete(s.resting, p)
		}
	}
	missing := wantSubscriptions - len(s.active)
	for _, p := range s.candidates(digests, all) {
		if missing <= 0 {
			break
		}
		if s.active[p] != nil || !s.resting[p].IsZero() {
			continue
		}
		missing--
		sctx, cancel := context.WithCancel(n.ctx)
		ses := &session{s.want, cancel}
		s.active[p] = ses
		started := n.goRun(func(context.Context) {
			defer cancel()
			err := s.session(sctx, p, ses, &request{all: all, digests: digests})
			s.mu.Lock()
			delete(s.active, p)
			if ses.want == s.want { // else it was stopped to begin anew
				if len(s.resting) < 1024 {
					s.resting[p] = time.Now().Add(subscribeAgain)
				}
			}
			s.mu.Unlock()
			if sctx.Err() == nil {
				n.log.Debug("subscription ended", "peer", p, "err", err)
				if n.table.knows(p) {
					n.verify(p)
				}
			}
			select {
			case s.wake <- struct{}{}:
			default:
			}
		})
		if !started {
			cancel()
			delete(s.active, p)
		}
	}
	s.mu.Unlock()
	for _, d := range digests {
		if model, _ := n.table.count(d); model == 0 && n.dhtDue(d) {
			n.goRun(func(ctx context.Context) { n.joining.dial(ctx, n.findNodes(ctx, d)) })
		}
	}
}

// candidates lists whom to subscribe to, best first: nodes of the followed
// models, which hear of changes first, connected ones before others.
func (s *subscriptions) candidates(digests []inference.Digest, all bool) []peer.ID {
	n := s.n
	connected, _ := n.servers.list()
	score := map[peer.ID]int{}
	for _, p := range connected {
		score[p] += 2
	}
	for _, r := range n.table.list(nil) {
		score[r.peer]++
		if all || slices.Contains(digests, r.record.Digest) {
			score[r.peer] |= 4
		}
	}
	var out []peer.ID
	for p := range score {
		if p != n.self && !n.health.suspected(p) {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b peer.ID) int {
		if score[a] != score[b] {
			return score[b] - score[a]
		}
		if rank(n.self, a) < rank(n.self, b) {
			return -1
		}
		return 1
	})
	return out
}

// session is one subscription, from the request to its end.
func (s *subscriptions) session(ctx context.Context, p peer.ID, ses *session, q *request) error {
	n := s.n
	stream, err := n.ask(ctx, p, recordsProtocol, q)
	if err != nil {
		return err
	}
	defer stream.Reset()
	stop := context.AfterFunc(ctx, func() { _ = stream.Reset() })
	defer stop()
	r := bufio.NewReader(stream)
	if err := n.readRecords(r); err != nil {
		return err
	}
	s.mu.Lock()
	if ses.want == s.want {
		select {
		case <-s.filled:
		default:
			close(s.filled)
		}
	}
	s.mu.Unlock()
	var buf []byte
	for {
		_ = stream.SetReadDeadline(time.Now().Add(aliveTimeout))
		if buf, err = readFrame(r, buf, maxMessage); err != nil {
			return err
		}
		if _, err := n.readMessage(buf); err != nil {
			return err
		}
	}
}

// dhtDue bounds how often a model is looked up in the DHT.
func (n *Node) dhtDue(d inference.Digest) bool {
	s := n.subs
	s.mu.Lock()
	defer s.mu.Unlock()
	if n.dht.RoutingTable().Size() == 0 || time.Since(s.lookups[d]) < dhtEvery || len(s.lookups) > 4*maxTopics {
		return false
	}
	s.lookups[d] = time.Now()
	return true
}

// rank orders others for self; every node has its own order.
func rank(self, other peer.ID) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(self))
	_, _ = h.Write([]byte(other))
	return h.Sum64()
}
