package simnet

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/farlabs/inference"
)

// Directory is what one client knows of the nodes: everything at once, but for
// the peers that it suspects. As in the real table a suspect comes back when it
// answers again, which is looked at every [Recheck].
type Directory struct {
	c *Cluster

	mu       sync.Mutex
	records  map[inference.PeerID]inference.NodeRecord
	suspects map[inference.PeerID]bool
	changed  chan struct{}
}

// Recheck is how often a suspect is asked whether it is alive.
const Recheck = time.Second

func newDirectory(c *Cluster) *Directory {
	return &Directory{
		c: c, records: map[inference.PeerID]inference.NodeRecord{},
		suspects: map[inference.PeerID]bool{}, changed: make(chan struct{}),
	}
}

// Put adds or replaces a record.
func (d *Directory) Put(r inference.NodeRecord) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.records[r.Peer] = r
	d.signal()
}

// Remove forgets a peer.
func (d *Directory) Remove(peer inference.PeerID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.records, peer)
	d.signal()
}

func (d *Directory) signal() {
	close(d.changed)
	d.changed = make(chan struct{})
}

// Records implements pipeline.Directory.
func (d *Directory) Records(digest inference.Digest) []inference.NodeRecord {
	d.mu.Lock()
	defer d.mu.Unlock()
	var l []inference.NodeRecord
	for _, r := range d.records {
		if r.Digest == digest && !d.suspects[r.Peer] {
			l = append(l, r)
		}
	}
	slices.SortFunc(l, func(a, b inference.NodeRecord) int { return cmp.Compare(a.Peer, b.Peer) })
	return l
}

// Changed implements pipeline.Directory.
func (d *Directory) Changed() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.changed
}

// RTT implements pipeline.Directory.
func (d *Directory) RTT(inference.PeerID) time.Duration { return 2 * d.c.delay }

// Suspect implements pipeline.Directory.
func (d *Directory) Suspect(peer inference.PeerID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.records[peer]; !ok || d.suspects[peer] {
		return
	}
	d.suspects[peer] = true
	d.signal()
	time.AfterFunc(Recheck, func() { d.recheck(peer) })
}

func (d *Directory) recheck(peer inference.PeerID) {
	if d.c.over() {
		return
	}
	if !d.c.answers(peer) {
		time.AfterFunc(Recheck, func() { d.recheck(peer) })
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.suspects, peer)
	d.signal()
}
