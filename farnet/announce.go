package farnet

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/farlabs/inference"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

const (
	// perNode lengthens the interval with the size of a model's network: at
	// 0.24 s per node each receives 250 records a minute, however many there are.
	perNode = 240 * time.Millisecond
	// slower is how much less often a record goes to the topic of all models.
	slower = 4
	// pushTo is how many neighbours are handed a changed record directly,
	// since a gossip mesh takes seconds to form around a newcomer.
	pushTo = 3
	// maxAnnounced bounds the addresses in a record.
	maxAnnounced = 12
)

// repeats are the ages at which a changed record is announced again: a mesh
// that was forming when it first went out may have let it fall.
var repeats = [...]time.Duration{time.Second, 2500 * time.Millisecond}

// interval is the time between two announcements with count nodes.
func interval(least time.Duration, count int) time.Duration {
	return min(max(least, time.Duration(count)*perNode), maxInterval)
}

// announcer signs and repeats what this node says of itself.
type announcer struct {
	n    *Node
	wake chan struct{}

	mu       sync.Mutex
	own      map[inference.Digest]*announced
	sequence uint64    // of the last record signed
	echoed   time.Time // last answer to a foreign record of ours
}

type announced struct {
	record  inference.NodeRecord
	signed  *signedRecord
	fresh   time.Time // last change
	repeat  int       // how many of repeats are done
	next    time.Time // on the model's topic
	nextAll time.Time // on the topic of all models
	provide time.Time // in the DHT
}

func newAnnouncer(n *Node) *announcer {
	return &announcer{n: n, wake: make(chan struct{}, 1), own: map[inference.Digest]*announced{}}
}

// Announce tells the network what this node serves, now, again at every
// heartbeat, and goes on until it announces another record of the same model,
// or StateGone. It fills in rec's Peer, Addrs, Sequence and Relay, and its RTTs
// when they are nil. The record becomes visible to connected peers before
// Announce returns, to the rest within about a second.
func (n *Node) Announce(ctx context.Context, rec *inference.NodeRecord) error {
	if n.cfg.ClientMode {
		return errors.New("announce: a client serves nothing")
	}
	if n.ctx.Err() != nil {
		return ErrClosed
	}
	if rec.Digest == (inference.Digest{}) {
		return fmt.Errorf("announce: no model digest: %w", inference.ErrInvalid)
	}
	if err := n.join(rec.Digest); err != nil {
		return fmt.Errorf("announce: %w", err)
	}
	s, err := n.news.publish(rec, true)
	if err != nil {
		return fmt.Errorf("announce: %w", err)
	}
	rec.Peer, rec.Sequence, rec.Relay = s.record.Peer, s.record.Sequence, s.record.Relay
	rec.Addrs = slices.Clone(s.record.Addrs)
	n.push(ctx)
	if s.record.State == inference.StateGone {
		n.news.drop(s.record.Digest)
	}
	return nil
}

// push hands this node's records to a few neighbours and waits for them, a
// second at most.
func (n *Node) push(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	peers, _ := n.servers.list()
	if len(peers) == 0 {
		peers = n.host.Network().Peers() // not introduced yet
	}
	peers = slices.DeleteFunc(peers, func(p peer.ID) bool {
		return n.host.Network().Connectedness(p) == network.NotConnected
	})
	rand.Shuffle(len(peers), func(i, j int) { peers[i], peers[j] = peers[j], peers[i] })
	q := n.news.request(false)
	var wg sync.WaitGroup
	for _, p := range peers[:min(len(peers), pushTo)] {
		wg.Go(func() {
			if err := n.exchange(ctx, p, q); err != nil {
				n.log.Debug("record not handed over", "err", err)
			}
		})
	}
	wg.Wait()
}

// request asks for all models, or for nothing, and brings the own records.
func (a *announcer) request(all bool) *request {
	a.mu.Lock()
	defer a.mu.Unlock()
	q := &request{all: all}
	for _, o := range a.own {
		if len(q.push) < maxPushed {
			q.push = append(q.push, o.signed.bytes)
		}
	}
	return q
}

// publish signs rec under a new sequence, takes it into the own table and
// gossips it. fresh: to all topics at once, else where it is due.
func (a *announcer) publish(rec *inference.NodeRecord, fresh bool) (*signedRecord, error) {
	n := a.n
	a.mu.Lock()
	defer a.mu.Unlock()
	r := *rec
	r.Peer, r.Expires = n.ID(), time.Time{}
	r.Addrs, r.Relay = n.advertised()
	if r.RTTs == nil {
		r.RTTs = n.roundTrips(r.Digest)
	}
	now := time.Now()
	// Milliseconds since 1970 keep the sequence rising over restarts without
	// anything being stored; echo repairs a clock that was set back.
	r.Sequence = max(a.sequence+1, uint64(max(0, now.UnixMilli())))
	model, all := n.table.count(r.Digest)
	o := a.own[r.Digest]
	fast := interval(n.cfg.Heartbeat, model)
	slow := min(slower*interval(n.cfg.Heartbeat, all), maxInterval)
	toAll := fresh || o == nil || !now.Before(o.nextAll)
	every := fast
	if toAll {
		every = slow
	}
	s, err := sign(r, every, n.identity.key)
	if err != nil {
		return nil, err
	}
	a.sequence = r.Sequence
	if err := n.table.apply(s, s.ttl()); err != nil {
		return nil, err
	}
	if o == nil {
		o = &announced{provide: now}
		a.own[r.Digest] = o
	}
	o.signed = s
	o.record = r
	if rec.RTTs == nil {
		o.record.RTTs = nil // measured anew each time
	}
	if fresh {
		o.fresh, o.repeat = now, 0
	}
	o.next = now.Add(jitter(fast))
	n.gossipTo(r.Digest, s)
	if toAll {
		o.nextAll = now.Add(jitter(slow))
		n.gossipAll(s)
	}
	if o.repeat < len(repeats) {
		o.next = o.fresh.Add(repeats[o.repeat])
		o.nextAll = o.next
		o.repeat++
	}
	a.poke()
	return s, nil
}

func (a *announcer) poke() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// jitter spreads what many nodes would do at the same moment, by a tenth.
func jitter(d time.Duration) time.Duration {
	return d + time.Duration((rand.Float64()-0.5)*0.2*float64(d))
}

// run repeats the records at their times and renews the provider records.
func (a *announcer) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Reset(a.step())
		select {
		case <-ctx.Done():
			return
		case <-a.wake:
		case <-timer.C:
		}
	}
}

// step does what is due and returns the time until the next thing is.
func (a *announcer) step() time.Duration {
	n := a.n
	var due []inference.NodeRecord
	var provide []inference.Digest
	now := time.Now()
	next := now.Add(time.Minute)
	a.mu.Lock()
	for d, o := range a.own {
		if o.record.State == inference.StateGone {
			continue
		}
		if !now.Before(o.next) {
			due = append(due, o.record)
			o.next = now.Add(n.cfg.Heartbeat) // publish decides anew
		}
		if !now.Before(o.provide) {
			// Without neighbours there is nobody to store it yet.
			if n.dht.RoutingTable().Size() > 0 {
				provide = append(provide, d)
				o.provide = now.Add(reprovideEvery)
			} else {
				o.provide = now.Add(time.Second)
			}
		}
		for _, t := range []time.Time{o.next, o.provide} {
			if t.Before(next) {
				next = t
			}
		}
	}
	a.mu.Unlock()
	for _, r := range due {
		if _, err := a.publish(&r, false); err != nil {
			n.log.Warn("heartbeat failed", "model", r.Model, "err", err)
		}
	}
	for _, d := range provide {
		n.goRun(func(ctx context.Context) {
			if err := n.provide(ctx, d); err != nil && ctx.Err() == nil {
				n.log.Debug("provider record failed", "err", err)
				a.mu.Lock()
				if o := a.own[d]; o != nil {
					o.provide = time.Now().Add(10 * time.Second)
				}
				a.mu.Unlock()
				a.poke()
			}
		})
	}
	return max(time.Until(next), 10*time.Millisecond)
}

// changed republishes at once when the addresses are others than announced.
func (a *announcer) changed() {
	addrs, _ := a.n.advertised()
	a.mu.Lock()
	var again []inference.NodeRecord
	for _, o := range a.own {
		if o.record.State != inference.StateGone && !slices.Equal(o.signed.record.Addrs, addrs) {
			again = append(again, o.record)
		}
	}
	a.mu.Unlock()
	for _, r := range again {
		if _, err := a.publish(&r, true); err != nil {
			a.n.log.Warn("new addresses not announced", "err", err)
		}
	}
}

// echo is told of a record of this node that came from elsewhere. One that is
// newer than what this process said is a leftover of a run before it (the
// clock was set back, another model was served), or of a second machine with
// the same identity.
func (a *announcer) echo(r *signedRecord) {
	a.mu.Lock()
	o := a.own[r.record.Digest]
	if o != nil && r.record.Sequence <= o.signed.record.Sequence ||
		o == nil && r.record.State == inference.StateGone ||
		time.Since(a.echoed) < 5*time.Second {
		a.mu.Unlock()
		return
	}
	a.echoed = time.Now()
	a.sequence = max(a.sequence, r.record.Sequence)
	a.mu.Unlock()
	if a.n.cfg.ClientMode {
		return
	}
	if o != nil {
		a.n.log.Warn("a newer record of this node goes round; is its identity used on a second machine?", "model", r.record.Model)
		rec := o.record
		if _, err := a.publish(&rec, true); err == nil {
			a.n.goRun(a.n.push)
		}
		return
	}
	// Nobody serves that any more.
	rec := r.record
	rec.State = inference.StateGone
	if _, err := a.publish(&rec, true); err == nil {
		a.n.goRun(func(ctx context.Context) {
			a.n.push(ctx)
			a.drop(rec.Digest)
		})
	}
}

func (a *announcer) drop(d inference.Digest) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if o := a.own[d]; o != nil && o.record.State == inference.StateGone {
		delete(a.own, d)
	}
}

// goodbye announces StateGone for everything that is still announced.
func (a *announcer) goodbye() {
	a.mu.Lock()
	var gone []inference.NodeRecord
	for _, o := range a.own {
		if o.record.State != inference.StateGone {
			r := o.record
			r.State = inference.StateGone
			gone = append(gone, r)
		}
	}
	a.mu.Unlock()
	for _, r := range gone {
		if _, err := a.publish(&r, true); err != nil {
			a.n.log.Debug("goodbye failed", "err", err)
		}
	}
	if len(gone) > 0 {
		a.n.push(context.Background())
	}
}

// advertised returns the addresses for the record, best first, without the
// loopback ones unless there are no others, and whether all lead over a relay.
func (n *Node) advertised() (addrs []string, relay bool) {
	local, relayed := 0, 0
	for _, a := range sortAddrs(n.host.Addrs()) {
		if len(addrs) == maxAnnounced || len(a.String()) > 256 {
			continue
		}
		switch nearness(a) {
		case hereOnly:
			if local < len(addrs) {
				continue
			}
			local++
		case byRelay:
			relayed++
		}
		addrs = append(addrs, a.String())
	}
	return addrs, relayed > 0 && relayed == len(addrs)
}

// roundTrips returns the measured round trips to nodes of the same model, ms.
func (n *Node) roundTrips(d inference.Digest) map[inference.PeerID]float64 {
	out := map[inference.PeerID]float64{}
	for _, r := range n.table.list(&d) {
		if rtt := n.host.Peerstore().LatencyEWMA(r.peer); rtt > 0 && len(out) < 16 {
			out[r.record.Peer] = float64(rtt.Microseconds()) / 1e3
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}
