package rating

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/farlabs/inference"
)

// maxPeers bounds a book; the peer seen longest ago makes room.
const maxPeers = 2048

// saveEvery is how often a changed book goes to its file while it is in use.
const saveEvery = 5 * time.Second

// refreshEvery is how old the median of a large book may be.
const refreshEvery = 250 * time.Millisecond

// Book is what one client knows of peers. Safe for concurrent use.
type Book struct {
	path string // "": memory only

	mu      sync.Mutex
	peers   map[inference.PeerID]*peer
	changed bool

	saving sync.Mutex // one writer of the file at a time
	stop   chan struct{}
	done   sync.WaitGroup
	once   sync.Once
}

// Open reads the book at path, empty when the file is missing, and writes it
// back while it changes and at Close. Path "" keeps it in memory. A file that
// cannot be read as a book is an error; the caller may remove it.
func Open(path string) (*Book, error) {
	b := &Book{path: path, peers: map[inference.PeerID]*peer{}, stop: make(chan struct{})}
	if path == "" {
		return b, nil
	}
	peers, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("open ratings: %w", err)
	}
	b.peers = peers
	b.done.Go(b.run)
	return b, nil
}

// run saves now and then until Close.
func (b *Book) run() {
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	for {
		select {
		case <-b.stop:
			return
		case <-tick.C:
			_ = b.Save() // Close tries again and reports
		}
	}
}

// Close saves and ends the book.
func (b *Book) Close() error {
	b.once.Do(func() { close(b.stop) })
	b.done.Wait()
	return b.Save()
}

// Save writes the book to its file when it has changed. What other processes
// have learnt of peers that this one has not seen since is kept.
func (b *Book) Save() error {
	if b.path == "" {
		return nil
	}
	b.saving.Lock()
	defer b.saving.Unlock()
	b.mu.Lock()
	if !b.changed {
		b.mu.Unlock()
		return nil
	}
	b.changed = false
	mine := make(map[inference.PeerID]*peer, len(b.peers))
	for id, p := range b.peers {
		c := *p
		mine[id] = &c
	}
	b.mu.Unlock()

	err := mergeFile(b.path, mine)
	if err != nil {
		b.mu.Lock()
		b.changed = true
		b.mu.Unlock()
		return fmt.Errorf("save ratings: %w", err)
	}
	return nil
}

// For returns the part of the book that rates the peers of one model.
func (b *Book) For(digest inference.Digest) *Model { return &Model{book: b, digest: digest} }

// observe changes what is known of a peer.
func (b *Book) observe(id inference.PeerID, change func(p *peer, now time.Time)) {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.peers[id]
	if p == nil {
		p = &peer{Seen: now}
		b.peers[id] = p
		trim(b.peers, maxPeers)
	}
	change(p, now)
	b.changed = true
}

// trim forgets the peers seen longest ago, of equals the greater id.
func trim(peers map[inference.PeerID]*peer, limit int) {
	for len(peers) > limit {
		oldest := slices.MinFunc(slices.Collect(maps.Keys(peers)), func(x, y inference.PeerID) int {
			return cmp.Or(peers[x].Seen.Compare(peers[y].Seen), cmp.Compare(y, x))
		})
		delete(peers, oldest)
	}
}

// Model is a Book seen by the peers of one model.
type Model struct {
	book   *Book
	digest inference.Digest

	// Rates of all its peers, under book.mu.
	at              time.Time
	decode, prefill []float64
}

// Served notes that a peer computed units token·blocks of a line in d.
func (m *Model) Served(id inference.PeerID, line inference.Line, units uint64, d time.Duration) {
	m.book.observe(id, func(p *peer, now time.Time) {
		if p.Digest != m.digest {
			p.Digest, p.Decode, p.Prefill = m.digest, rate{}, rate{}
		}
		p.served(now, line, units, d)
	})
}

// Failed notes that a peer failed a session.
func (m *Model) Failed(id inference.PeerID, kind Failure) {
	m.book.observe(id, func(p *peer, now time.Time) { p.failed(now, kind) })
}

// Observed returns a peer's measured rates, milliseconds per token·block, 0
// where unmeasured or measured too long ago.
func (m *Model) Observed(id inference.PeerID) inference.Rates {
	m.book.mu.Lock()
	defer m.book.mu.Unlock()
	p := m.book.peers[id]
	if p == nil || p.Digest != m.digest {
		return inference.Rates{}
	}
	return p.rates(time.Now())
}

// Terms returns what a peer's score is made of.
func (m *Model) Terms(id inference.PeerID) Terms {
	now := time.Now()
	t := Terms{Unmeasured, Unmeasured, Unmeasured, Unmeasured}
	m.book.mu.Lock()
	defer m.book.mu.Unlock()
	p := m.book.peers[id]
	if p == nil {
		return t
	}
	t.Uptime = p.uptime(now)
	if p.Digest != m.digest {
		return t
	}
	m.refresh(now)
	own := p.rates(now)
	if t.Speed = Speed(own.Decode, m.decode); own.Decode == 0 {
		t.Speed = Speed(own.Prefill, m.prefill)
	}
	return t
}

// refresh collects the rates of the model's peers: always in a small book, now
// and then in a large one, since a route asks for every peer's score at once.
func (m *Model) refresh(now time.Time) {
	if age := now.Sub(m.at); len(m.book.peers) > 64 && age >= 0 && age < refreshEvery {
		return
	}
	m.at, m.decode, m.prefill = now, m.decode[:0], m.prefill[:0]
	for _, p := range m.book.peers {
		if p.Digest == m.digest {
			r := p.rates(now)
			m.decode, m.prefill = append(m.decode, r.Decode), append(m.prefill, r.Prefill)
		}
	}
}

// Score returns a peer's base score, in [0,1]; an unknown one has 0.8.
func (m *Model) Score(id inference.PeerID) float64 { return m.Terms(id).Base() }
