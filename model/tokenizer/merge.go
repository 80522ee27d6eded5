package tokenizer

import (
	"sync"

	"github.com/farlabs/inference"
)

// pair is two neighbouring tokens.
type pair struct{ left, right inference.TokenID }

// merge says that a pair becomes one token; lower ranks go first.
type merge struct {
	rank uint32
	id   inference.TokenID
}

// symbol is a token of a word being merged, in a doubly linked list over a
// slice; id is none once it was merged into its left neighbour.
type symbol struct {
	id         inference.TokenID
	prev, next int32 // −1 at the ends
}

// workspace is the scratch memory of one merge.
type workspace struct {
	symbols []symbol
	queue   queue
}

// maxKeptSymbols bounds the scratch memory that outlives a call: 12 bytes a
// symbol, 8 a queue entry.
const maxKeptSymbols = 1 << 14

var workspaces = sync.Pool{New: func() any { return new(workspace) }}

// merge appends the ids of word: its bytes' tokens, of which the pair with the
// lowest rank, leftmost first, is merged until none is left (Sennrich et al.
// 2016). A queue of candidate pairs makes that n·log n.
func (t *Tokenizer) merge(ids []inference.TokenID, word string) []inference.TokenID {
	w := workspaces.Get().(*workspace)
	defer func() {
		if cap(w.symbols) <= maxKeptSymbols && cap(w.queue) <= 2*maxKeptSymbols {
			workspaces.Put(w)
		}
	}()
	w.symbols, w.queue = w.symbols[:0], w.queue[:0]
	for i := range len(word) {
		id := t.bytes[word[i]]
		if id == none {
			continue // the neighbours close up
		}
		n := int32(len(w.symbols))
		w.symbols = append(w.symbols, symbol{id: id, prev: n - 1, next: n + 1})
	}
	if len(w.symbols) == 0 {
		return ids
	}
	w.symbols[len(w.symbols)-1].next = -1

	s := w.symbols
	for i := range len(s) - 1 {
		if m, ok := t.merges[pair{s[i].id, s[i+1].id}]; ok {
			w.queue = append(w.queue, entry(m.rank, int32(i)))
		}
	}
	w.queue.init()
	for len(w.queue) > 0 {
		rank, i := w.queue.pop()
		if s[i].id == none || s[i].next < 0 {
			continue
		}
		next := s[i].next
		m, ok := t.merges[pair{s[i].id, s[next].id}]
		if !ok || m.rank != rank {
			continue // the pair this entry stood for is gone
		}
		s[i].id, s[i].next = m.id, s[next].next
		s[next].id = none
		if after := s[i].next; after >= 0 {
			s[after].prev = i
			if m, ok := t.merges[pair{m.id, s[after].id}]; ok {
				w.queue.push(entry(m.rank, i))
			}
		}
		if before := s[i].prev; before >= 0 {
			if m, ok := t.merges[pair{s[before].id, m.id}]; ok {
				w.queue.push(entry(m.rank, before))
			}
		}
	}
	for i := int32(0); i >= 0; i = s[i].next {
		ids = append(ids, s[i].id)
	}
	return ids
}

// queue is a binary heap of entries, lowest first.
type queue []uint64

// entry orders by rank, then by position in the word.
func entry(rank uint32, position int32) uint64 { return uint64(rank)<<32 | uint64(uint32(position)) }

// init makes a heap of arbitrary entries.
func (q queue) init() {
	for i := len(q)/2 - 1; i >= 0; i-- {
		q.down(i)
	}
}

func (q *queue) push(e uint64) {
	h := append(*q, e)
	i := len(h) - 1
	for i > 0 {
		parent := (i - 1) / 2
		if h[parent] <= e {
			break
		}
		h[i] = h[parent]
		i = parent
	}
	h[i] = e
	*q = h
}

func (q *queue) pop() (rank uint32, position int32) {
	h := *q
	top := h[0]
	last := len(h) - 1
	h[0] = h[last]
	*q = h[:last]
	q.down(0)
	return uint32(top >> 32), int32(uint32(top))
}

// down moves entry i to its place among its descendants.
func (q queue) down(i int) {
	if i >= len(q) {
		return
	}
	e := q[i]
	for {
		child := 2*i + 1
		if child >= len(q) {
			break
		}
		if child+1 < len(q) && q[child+1] < q[child] {
			child++
		}
		if q[child] >= e {
			break
		}
		q[i] = q[child]
		i = child
	}
	q[i] = e
}
