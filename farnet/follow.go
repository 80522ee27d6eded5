package farnet

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/farlabs/inference"
	"github.com/libp2p/go-libp2p/core/peer"
)

// ModelInfo is what the network says of one model.
type ModelInfo struct {
	Digest inference.Digest
	Model  inference.ModelID // the label that most of its nodes use
	Total  int               // blocks of the whole model
	Nodes  int               // that serve some of them, suspects not counted
}

// Follow keeps the table of one model fresh from now on. It returns when the
// table has been filled from a first peer, when there is nobody to fill it
// from, or when ctx ends; only in the last case is there an error, and the
// model is followed all the same.
func (n *Node) Follow(ctx context.Context, d inference.Digest) error {
	if err := n.join(d); err != nil {
		return err
	}
	return n.filled(ctx)
}

// FollowAll keeps the table of every model fresh, for a view of the whole
// network. It returns as Follow does.
func (n *Node) FollowAll(ctx context.Context) error {
	n.mu.Lock()
	n.allOf = true
	n.mu.Unlock()
	return n.filled(ctx)
}

// filled waits for the first snapshot, or for the news that nobody is there.
func (n *Node) filled(ctx context.Context) error {
	select {
	case <-n.joining.done:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-n.ctx.Done():
		return ErrClosed
	}
	if !n.cfg.ClientMode || n.Alone() {
		return nil
	}
	select {
	case <-n.subs.synced(n.followed()):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-n.ctx.Done():
		return ErrClosed
	}
}

// followed returns the models followed, and whether all are.
func (n *Node) followed() (digests []inference.Digest, all bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for d := range n.follows {
		digests = append(digests, d)
	}
	slices.SortFunc(digests, func(a, b inference.Digest) int { return slices.Compare(a[:], b[:]) })
	return digests, n.allOf
}

// Records returns what other nodes of a model announce, in ascending order of
// peer id: joining, serving and draining ones, without those that are
// suspected of being dead, and without this node itself.
func (n *Node) Records(d inference.Digest) []inference.NodeRecord { return n.records(&d) }

// AllRecords returns the records of every model, as Records does.
func (n *Node) AllRecords() []inference.NodeRecord { return n.records(nil) }

func (n *Node) records(d *inference.Digest) []inference.NodeRecord {
	var out []inference.NodeRecord
	for _, r := range n.table.list(d) {
		if r.peer == n.self || n.health.suspected(r.peer) {
			continue
		}
		rec := r.record
		rec.Expires = r.expires
		rec.Addrs = slices.Clone(rec.Addrs)
		out = append(out, rec)
	}
	return out
}

// Models lists the models that some known node serves, this one included,
// most nodes first.
func (n *Node) Models() []ModelInfo {
	infos := map[inference.Digest]*ModelInfo{}
	labels := map[inference.Digest]map[inference.ModelID]int{}
	for _, r := range n.table.list(nil) {
		if n.health.suspected(r.peer) {
			continue
		}
		d := r.record.Digest
		if infos[d] == nil {
			infos[d] = &ModelInfo{Digest: d}
			labels[d] = map[inference.ModelID]int{}
		}
		i := infos[d]
		i.Nodes++
		i.Total = max(i.Total, r.record.Total)
		labels[d][r.record.Model]++
		if m, most := r.record.Model, labels[d][i.Model]; labels[d][m] > most || labels[d][m] == most && m < i.Model {
			i.Model = m
		}
	}
	out := make([]ModelInfo, 0, len(infos))
	for _, i := range infos {
		out = append(out, *i)
	}
	slices.SortFunc(out, func(a, b ModelInfo) int {
		return cmp.Or(cmp.Compare(b.Nodes, a.Nodes), cmp.Compare(a.Model, b.Model), slices.Compare(a.Digest[:], b.Digest[:]))
	})
	return out
}

// Watch signals that Records of a model may have changed; several changes may
// be one signal. stop ends it.
func (n *Node) Watch(d inference.Digest) (changed <-chan struct{}, stop func()) {
	w := n.table.watch(&d)
	return w.c, func() { n.table.unwatch(w) }
}

const (
	// wantNeighbours is how many nodes a node stays connected with, so that
	// no single death cuts it off and gossip has a mesh to run in.
	wantNeighbours = 8
	// keepEvery bounds how often the neighbourhood is looked over.
	keepEvery = 250 * time.Millisecond
	keepSlow  = 5 * time.Second
)

// keepNeighbours connects to some of the announced nodes, of the followed
// models first. Which ones is decided by a hash of both ids, so that the
// choices of all nodes together make a well-connected graph.
func (n *Node) keepNeighbours(ctx context.Context) {
	w := n.table.watch(nil)
	defer n.table.unwatch(w)
	for {
		n.keepOnce(ctx)
		if !sleep(ctx, keepEvery) {
			return
		}
		t := time.NewTimer(keepSlow)
		select {
		case <-ctx.Done():
		case <-w.c:
		case <-t.C:
		}
		t.Stop()
	}
}

func (n *Node) keepOnce(ctx context.Context) {
	digests, _ := n.followed()
	type candidate struct {
		id   peer.ID
		near bool // serves a followed model
		rank uint64
	}
	seen := map[peer.ID]bool{n.self: true}
	var list []candidate
	for _, r := range n.table.list(nil) {
		if !seen[r.peer] && !n.health.suspected(r.peer) {
			seen[r.peer] = true
			list = append(list, candidate{r.peer, n.table.serves(r.peer, digests), rank(n.self, r.peer)})
		}
	}
	slices.SortFunc(list, func(a, b candidate) int {
		if a.near != b.near {
			if a.near {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.rank, b.rank)
	})
	var dial []peer.AddrInfo
	for _, c := range list[:min(len(list), wantNeighbours)] {
		dial = append(dial, peer.AddrInfo{ID: c.id})
	}
	n.joining.dial(ctx, dial)
	// Nobody of a followed model known: the DHT may know better.
	for _, d := range digests {
		if model, _ := n.table.count(d); model <= 1 && n.dhtDue(d) {
			n.joining.dial(ctx, n.findNodes(ctx, d))
		}
	}
}
