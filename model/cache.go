package model

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	inference "github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/attention"
)

// PagePositions is the number of positions in one page, 16.
const PagePositions = attention.PageSize

// slabPages is how many pages are allocated at a time: memory is taken when
// positions need it, not when the cache is made.
const slabPages = 32

// ErrNoPages says that the cache is full. Nothing was changed.
var ErrNoPages = errors.New("out of KV pages")

// Cache holds keys and values in pages of 16 positions of one block, at most
// its budget of them. It allocates as positions come and keeps what it has.
//
// A Cache, and different branches of it, may be used by several goroutines at
// once. One [Branch] belongs to one goroutine at a time, and to the pass while
// [Span.Forward] runs it; Fork counts as a use of the branch that is forked.
type Cache struct {
	span   *Span
	floats int // of one page: keys, then values
	total  int

	mu    sync.Mutex
	free  []*page // made and unused
	spare int     // not made yet
}

// page is 16 positions of one block. Branches that share it count in refs; only
// a page with one owner may be written.
type page struct {
	kv   attention.Page
	refs atomic.Int32
}

// NewCache returns a cache of at most budget bytes for the blocks of s.
func (s *Span) NewCache(budget int64) (*Cache, error) {
	c := &Cache{span: s, floats: int(PageBytes(s.spec) / 4)}
	n := budget / c.PageBytes()
	if n < int64(s.blocks.Len()) {
		return nil, fmt.Errorf("KV budget of %d bytes: blocks %s need at least %d",
			budget, s.blocks, int64(s.blocks.Len())*c.PageBytes())
	}
	const maxPages = 1 << 30
	c.total = int(min(n, maxPages))
	c.spare = c.total
	return c, nil
}

// PageBytes returns the size of one page.
func (c *Cache) PageBytes() int64 { return 4 * int64(c.floats) }

// TotalPages returns the pages that the budget holds.
func (c *Cache) TotalPages() int { return c.total }

// FreePages returns the pages that no branch uses.
func (c *Cache) FreePages() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.free) + c.spare
}

// NewBranch returns an empty branch of the blocks of role, which lie within the
// span's. It holds no pages yet.
func (c *Cache) NewBranch(role inference.BlockRange) *Branch {
	if role.Validate() != nil || !c.span.blocks.Contains(role) {
		panic(fmt.Sprintf("model: NewBranch: role %s of a span of blocks %s", role, c.span.blocks))
	}
	return newBranch(c, role)
}

// take returns n pages with one owner each in dst[:n], or false and takes none.
// The caller holds c.mu.
func (c *Cache) take(dst []*page) bool {
	if len(dst) > len(c.free)+c.spare {
		return false
	}
	for i := range dst {
		if len(c.free) == 0 {
			c.grow()
		}
		last := len(c.free) - 1
		p := c.free[last]
		c.free[last] = nil
		c.free = c.free[:last]
		p.refs.Store(1)
		dst[i] = p
	}
	return true
}

// grow makes a slab of pages. The caller holds c.mu and knows that spare > 0.
func (c *Cache) grow() {
	n := min(slabPages, c.spare)
	c.spare -= n
	half := c.floats / 2
	mem := make([]float32, n*c.floats)
	slab := make([]page, n)
	for i := range slab {
		kv := mem[i*c.floats : (i+1)*c.floats : (i+1)*c.floats]
		slab[i].kv = attention.Page{K: kv[:half:half], V: kv[half:]}
		c.free = append(c.free, &slab[i])
	}
}

// drop gives up one share of each page; those without an owner become free.
func (c *Cache) drop(pages []*page) {
	if len(pages) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range pages {
		switch n := p.refs.Add(-1); {
		case n == 0:
			c.free = append(c.free, p)
		case n < 0:
			panic("model: KV page released twice")
		}
	}
}
