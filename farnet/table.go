package farnet

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/farlabs/inference"
	"github.com/libp2p/go-libp2p/core/peer"
)

// The bounds of a table. A full table refuses new rows rather than forget
// honest ones for them.
const (
	maxRows         = 16384 // all models
	maxRowsPerModel = 4096
	maxRowsPerPeer  = 8
	maxTombs        = 8192
	maxFeedEvents   = 512 // queued for one reader
	// tombLife is how long a sequence is remembered after its record has gone,
	// so that nobody can bring the dead back by replaying their records.
	tombLife = time.Hour
)

// recordKey names a row: one node may serve several models.
type recordKey struct {
	peer   peer.ID
	digest inference.Digest
}

type row struct {
	*signedRecord
	expires time.Time
}

type tomb struct {
	sequence uint64
	until    time.Time
}

// table holds the newest record of each (peer, model) and tells its readers
// of every change. It is safe for concurrent use and starts no goroutine.
type table struct {
	mu      sync.Mutex
	rows    map[recordKey]*row
	models  map[inference.Digest]map[peer.ID]*row // the same rows, by model
	perPeer map[peer.ID]int
	tombs   map[recordKey]tomb
	feeds   map[*feed]struct{}
	watches map[*watch]struct{}
}

func newTable() *table {
	return &table{
		rows:    map[recordKey]*row{},
		models:  map[inference.Digest]map[peer.ID]*row{},
		perPeer: map[peer.ID]int{},
		tombs:   map[recordKey]tomb{},
		feeds:   map[*feed]struct{}{},
		watches: map[*watch]struct{}{},
	}
}

// newest returns the highest sequence known of k, 0 for none.
func (t *table) newest(k recordKey) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.newestLocked(k)
}

func (t *table) newestLocked(k recordKey) uint64 {
	if r, ok := t.rows[k]; ok {
		return r.record.Sequence
	}
	return t.tombs[k].sequence
}

// apply takes s in when it is newer than what is known of its node and model.
// It lives for life or its own ttl, whichever is shorter. The error is
// ErrStale or ErrTooLarge (the table is full).
func (t *table) apply(s *signedRecord, life time.Duration) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	k, now := s.key(), time.Now()
	if s.record.Sequence <= t.newestLocked(k) {
		return ErrStale
	}
	if s.record.State == inference.StateGone {
		t.removeLocked(k)
		t.buryLocked(k, s.record.Sequence, now)
		t.tellLocked(notice{record: s})
		return nil
	}
	old := t.rows[k]
	if old == nil {
		if len(t.rows) >= maxRows || len(t.models[k.digest]) >= maxRowsPerModel || t.perPeer[k.peer] >= maxRowsPerPeer {
			return fmt.Errorf("record table: %w", ErrTooLarge)
		}
		t.perPeer[k.peer]++
		if t.models[k.digest] == nil {
			t.models[k.digest] = map[peer.ID]*row{}
		}
	}
	r := &row{s, now.Add(min(life, s.ttl()))}
	// The slower topic of all models announces longer lives than a model's
	// own; the record that follows there must not cut them short.
	if old != nil && old.expires.After(r.expires) {
		r.expires = old.expires
	}
	t.rows[k] = r
	t.models[k.digest][k.peer] = r
	delete(t.tombs, k)
	t.tellLocked(notice{record: s})
	return nil
}

func (t *table) removeLocked(k recordKey) {
	if _, ok := t.rows[k]; !ok {
		return
	}
	delete(t.rows, k)
	delete(t.models[k.digest], k.peer)
	if len(t.models[k.digest]) == 0 {
		delete(t.models, k.digest)
	}
	if t.perPeer[k.peer]--; t.perPeer[k.peer] == 0 {
		delete(t.perPeer, k.peer)
	}
}

func (t *table) buryLocked(k recordKey, sequence uint64, now time.Time) {
	if len(t.tombs) >= maxTombs {
		// Any one may go: what it guarded against is only a nuisance.
		for old := range t.tombs {
			delete(t.tombs, old)
			break
		}
	}
	t.tombs[k] = tomb{sequence, now.Add(tombLife)}
}

// sweep forgets what has expired.
func (t *table) sweep() {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	var digests []inference.Digest
	for k, r := range t.rows {
		if now.After(r.expires) {
			t.removeLocked(k)
			t.buryLocked(k, r.record.Sequence, now)
			digests = append(digests, k.digest)
		}
	}
	for k, b := range t.tombs {
		if now.After(b.until) {
			delete(t.tombs, k)
		}
	}
	for _, d := range digests {
		t.signalLocked(d)
	}
}

// list returns the live rows of a model, or of every model when digest is
// nil, in ascending order of peer id.
func (t *table) list(digest *inference.Digest) []row {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	var out []row
	if digest != nil {
		for _, r := range t.models[*digest] {
			if now.Before(r.expires) {
				out = append(out, *r)
			}
		}
	} else {
		for _, r := range t.rows {
			if now.Before(r.expires) {
				out = append(out, *r)
			}
		}
	}
	slices.SortFunc(out, func(a, b row) int {
		if c := cmp.Compare(a.peer, b.peer); c != 0 {
			return c
		}
		return slices.Compare(a.record.Digest[:], b.record.Digest[:])
	})
	return out
}

// count returns the number of rows of a model, and of all models.
func (t *table) count(d inference.Digest) (model, all int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.models[d]), len(t.rows)
}

// knows reports whether some record of p is in the table.
func (t *table) knows(p peer.ID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.perPeer[p] > 0
}

// serves reports whether p has a live record of one of the models.
func (t *table) serves(p peer.ID, digests []inference.Digest) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, d := range digests {
		if _, ok := t.models[d][p]; ok {
			return true
		}
	}
	return false
}

// addrs returns the addresses in the newest record of p.
func (t *table) addrs(p peer.ID) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.perPeer[p] == 0 {
		return nil
	}
	var best *row
	for _, m := range t.models {
		if r, ok := m[p]; ok && (best == nil || r.record.Sequence > best.record.Sequence) {
			best = r
		}
	}
	if best == nil {
		return nil
	}
	return best.record.Addrs
}

// notice is one piece of news for a feed: a record, or a peer that this node
// found not to answer.
type notice struct {
	record  *signedRecord
	suspect peer.ID
}

// feed is a bounded queue of events for one reader. When the reader falls
// behind, the feed ends and lost is closed: a reader with holes in its table
// must start again from a snapshot.
type feed struct {
	want   func(notice) bool
	events chan notice
	lost   chan struct{}
}

// watch is told that something changed, not what.
type watch struct {
	digest *inference.Digest // nil: all
	c      chan struct{}
}

func (t *table) subscribe(want func(notice) bool) *feed {
	f := &feed{want, make(chan notice, maxFeedEvents), make(chan struct{})}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.feeds[f] = struct{}{}
	return f
}

func (t *table) unsubscribe(f *feed) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.feeds, f)
}

func (t *table) watch(digest *inference.Digest) *watch {
	w := &watch{digest, make(chan struct{}, 1)}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.watches[w] = struct{}{}
	return w
}

func (t *table) unwatch(w *watch) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.watches, w)
}

// tellSuspect spreads the news that p does not answer.
func (t *table) tellSuspect(p peer.ID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.feedLocked(notice{suspect: p})
}

// touch signals the watches of every model that p serves.
func (t *table) touch(p peer.ID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for d, m := range t.models {
		if _, ok := m[p]; ok {
			t.signalLocked(d)
		}
	}
}

func (t *table) tellLocked(e notice) {
	t.feedLocked(e)
	t.signalLocked(e.record.record.Digest)
}

func (t *table) feedLocked(e notice) {
	for f := range t.feeds {
		if !f.want(e) {
			continue
		}
		select {
		case f.events <- e:
		default:
			delete(t.feeds, f)
			close(f.lost)
		}
	}
}

func (t *table) signalLocked(d inference.Digest) {
	for w := range t.watches {
		if w.digest == nil || *w.digest == d {
			select {
			case w.c <- struct{}{}:
			default:
			}
		}
	}
}
