package model

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	inference "github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/attention"
	"github.com/farlabs/inference/kernels/device"
)

// PagePositions is the number of positions in one page, 16.
const PagePositions = attention.PageSize

// A slab is what is mapped at a time: slabPages pages, or slabBytes of them if
// those are more. The system provides memory only as pages are written.
const (
	slabPages = 32
	slabBytes = 4 << 20
)

// ErrNoPages says that the cache is full. Nothing was changed.
var ErrNoPages = errors.New("out of KV pages")

// Cache holds keys and values in pages of 16 positions of one block, at most
// its budget of them, outside the Go heap where the system allows. It takes
// memory as positions come and keeps what it has until Close.
//
// A Cache, and different branches of it, may be used by several goroutines at
// once. One [Branch] belongs to one goroutine at a time, and to the pass while
// [Span.Forward] runs it; Fork counts as a use of the branch that is forked.
type Cache struct {
	span  *Span
	kv    inference.KVDType
	bytes int // of one page
	total int

	mu     sync.Mutex
	memory *memory
	free   []*page // mapped and unused
	spare  int     // not mapped yet
}

// page is 16 positions of one block. Branches that share it count in refs; only
// a page with one owner may be written.
type page struct {
	kv   attention.Page
	refs atomic.Int32
}

// NewCache returns a cache of at most budget bytes for the blocks of s, keys and
// values kept as kv.
func (s *Span) NewCache(budget int64, kv inference.KVDType) (*Cache, error) {
	if err := kv.Validate(); err != nil {
		return nil, err
	}
	c := &Cache{span: s, kv: kv, bytes: int(PageBytes(s.spec, kv)), memory: new(memory)}
	n := budget / c.PageBytes()
	if n < int64(s.blocks.Len()) {
		return nil, fmt.Errorf("KV budget of %d bytes: blocks %s need at least %d",
			budget, s.blocks, int64(s.blocks.Len())*c.PageBytes())
	}
	const maxPages = 1 << 30
	c.total = int(min(n, maxPages))
	c.spare = c.total
	// A cache that nobody closes gives its memory back when nobody can reach it:
	// branches hold their cache.
	runtime.AddCleanup(c, func(m *memory) { _ = m.close() }, c.memory)
	return c, nil
}

// KV returns the dtype of keys and values.
func (c *Cache) KV() inference.KVDType { return c.kv }

// PageBytes returns the size of one page.
func (c *Cache) PageBytes() int64 { return int64(c.bytes) }

// Close gives the memory back to the system. All branches have been released;
// if not, it fails and changes nothing. A closed cache has no pages.
func (c *Cache) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := c.total - len(c.free) - c.spare; n > 0 {
		return fmt.Errorf("KV cache closed with %d pages in use", n)
	}
	c.total, c.spare, c.free = 0, 0, nil
	return c.memory.close()
}

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

// take returns n pages with one owner each in dst[:n], or an error and takes
// none. The caller holds c.mu.
func (c *Cache) take(dst []*page) error {
	if have := len(c.free) + c.spare; len(dst) > have {
		return fmt.Errorf("%w: %d needed, %d of %d free", ErrNoPages, len(dst), have, c.total)
	}
	for len(c.free) < len(dst) {
		if err := c.grow(); err != nil {
			return err
		}
	}
	rest := len(c.free) - len(dst)
	for i := range dst {
		dst[i] = c.free[len(c.free)-1-i]
		dst[i].refs.Store(1)
	}
	clear(c.free[rest:])
	c.free = c.free[:rest]
	return nil
}

// grow maps a slab of pages. The caller holds c.mu and knows that spare > 0.
func (c *Cache) grow() error {
	n := min(max(slabPages, slabBytes/c.bytes), c.spare)
	mem, err := device.Map(n * c.bytes)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoPages, err)
	}
	c.memory.slabs = append(c.memory.slabs, mem)
	c.spare -= n
	slab := make([]page, n)
	for i := n - 1; i >= 0; i-- { // taken from the end: the first of the slab first
		slab[i].kv = attention.Page(mem[i*c.bytes : (i+1)*c.bytes : (i+1)*c.bytes])
		c.free = append(c.free, &slab[i])
	}
	return nil
}

// memory is what a cache has mapped.
type memory struct{ slabs [][]byte }

// close unmaps everything; it may be called again.
func (m *memory) close() error {
	var errs []error
	for _, mem := range m.slabs {
		errs = append(errs, device.Unmap(mem))
	}
	m.slabs = nil
	return errors.Join(errs...)
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
