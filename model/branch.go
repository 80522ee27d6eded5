package model

import (
	"fmt"
	"slices"

	inference "github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/attention"
)

// Branch is one sequence of positions in the blocks of a role: their pages, and
// how many positions have been computed. See [Cache] for concurrent use.
type Branch struct {
	cache *Cache
	role  inference.BlockRange
	len   int
	table []table // by block of the role; all of the same length

	// Set while a pass is checked: which pass, and the position its next row has.
	pass uint64
	next int
}

// table lists the pages of one block in order of position. kv repeats what
// pages hold, in the form that the attention op takes.
type table struct {
	pages []*page
	kv    []attention.Page
}

func newBranch(c *Cache, role inference.BlockRange) *Branch {
	return &Branch{cache: c, role: role, table: make([]table, role.Len())}
}

// pagesFor returns how many pages hold n positions.
func pagesFor(n int) int { return (n + PagePositions - 1) / PagePositions }

// Role returns the blocks of the branch.
func (b *Branch) Role() inference.BlockRange { return b.role }

// Len returns the number of positions computed.
func (b *Branch) Len() int { return b.len }

// Pages returns how many pages the branch holds in all its blocks, those that it
// shares with other branches included; 0 after Release.
func (b *Branch) Pages() int {
	if b.table == nil {
		return 0
	}
	return len(b.table) * len(b.table[0].pages)
}

// grown returns the number of positions that the pages have room for.
func (b *Branch) grown() int { return PagePositions * len(b.table[0].pages) }

// Grow makes sure that the positions from Len to n−1 can be written: it adds
// pages, and copies those of them that are shared with another branch. On
// [ErrNoPages] the branch and the cache are as they were. A pass that follows a
// Fork needs a Grow in between, also when the branch does not get longer.
func (b *Branch) Grow(n int) error {
	b.alive()
	have, need := len(b.table[0].pages), pagesFor(n)
	if n <= b.len {
		return nil
	}
	first := b.len / PagePositions // the first page that will be written
	var shared []int               // indices of pages to copy, as if all blocks' tables were one list
	for i := range b.table {
		for j := first; j < min(have, need); j++ {
			if b.table[i].pages[j].refs.Load() > 1 {
				shared = append(shared, i*have+j)
			}
		}
	}
	added := max(0, need-have)
	if added == 0 && len(shared) == 0 {
		return nil
	}
	fresh := make([]*page, added*len(b.table)+len(shared))
	c := b.cache
	c.mu.Lock()
	err := c.take(fresh)
	c.mu.Unlock()
	if err != nil {
		return err
	}
	// Copying needs no lock: nobody writes a page that has two owners, and this
	// branch is one of them until the copy is done.
	old := make([]*page, 0, len(shared))
	for k, at := range shared {
		t, p := &b.table[at/have], fresh[k]
		src := t.pages[at%have]
		copy(p.kv, src.kv)
		t.pages[at%have], t.kv[at%have] = p, p.kv
		old = append(old, src)
	}
	c.drop(old)
	fresh = fresh[len(shared):]
	for i := range b.table {
		t := &b.table[i]
		for _, p := range fresh[i*added : (i+1)*added] {
			t.pages = append(t.pages, p)
			t.kv = append(t.kv, p.kv)
		}
	}
	return nil
}

// Truncate forgets the positions from n on and gives up pages that hold none
// below n, also those grown ahead.
func (b *Branch) Truncate(n int) {
	b.alive()
	n = max(n, 0)
	b.len = min(b.len, n)
	keep := pagesFor(n)
	for i := range b.table {
		t := &b.table[i]
		if keep >= len(t.pages) {
			continue
		}
		b.cache.drop(t.pages[keep:])
		clear(t.pages[keep:])
		clear(t.kv[keep:])
		t.pages, t.kv = t.pages[:keep], t.kv[:keep]
	}
}

// Fork returns a branch of the first at positions, 0 ≤ at ≤ Len, that shares
// their pages. It takes no pages; whichever of the two writes a shared one next
// copies it in Grow.
func (b *Branch) Fork(at int) *Branch {
	b.alive()
	if at < 0 || at > b.len {
		panic(fmt.Sprintf("model: Fork at %d of a branch of length %d", at, b.len))
	}
	f := newBranch(b.cache, b.role)
	f.len = at
	n := pagesFor(at)
	for i := range b.table {
		t := &b.table[i]
		for _, p := range t.pages[:n] {
			p.refs.Add(1)
		}
		f.table[i] = table{slices.Clone(t.pages[:n]), slices.Clone(t.kv[:n])}
	}
	return f
}

// Release gives up all pages. The branch must not be used again; releasing it
// again does nothing.
func (b *Branch) Release() {
	if b.table == nil {
		return
	}
	b.Truncate(0)
	b.table = nil
}

func (b *Branch) alive() {
	if b.table == nil {
		panic("model: branch used after Release")
	}
}

// writable reports whether the positions [start, end) have pages, and whether
// no other branch shares those.
func (b *Branch) writable(start, end int) (grown, exclusive bool) {
	if end > b.grown() {
		return false, false
	}
	for i := range b.table {
		for _, p := range b.table[i].pages[start/PagePositions : pagesFor(end)] {
			if p.refs.Load() > 1 {
				return true, false
			}
		}
	}
	return true, true
}
