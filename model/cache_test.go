package model

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"sync"
	"testing"

	inference "github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/attention"
	"github.com/farlabs/inference/model/arch"
	"pgregory.net/rapid"
)

// bareCache has pages of 16 positions of 1 head of 2, and no weights.
func bareCache(tb testing.TB, blocksHeld, pages int) *Cache {
	s := &Span{spec: &arch.Spec{KVHeads: 1, HeadDim: 2}, blocks: blocks(3, 3+blocksHeld)}
	pageBytes := PageBytes(s.spec, inference.KVF32)
	c, err := s.NewCache(int64(pages)*pageBytes+pageBytes-1, inference.KVF32)
	if err != nil {
		tb.Fatal(err)
	}
	if c.PageBytes() != pageBytes || c.TotalPages() != pages || c.FreePages() != pages {
		tb.Fatalf("%d bytes a page, %d pages, %d free, want %d, %d, %d",
			c.PageBytes(), c.TotalPages(), c.FreePages(), pageBytes, pages, pages)
	}
	return c
}

func put(p attention.Page, i int, v float32) {
	binary.LittleEndian.PutUint32(p[4*i:], math.Float32bits(v))
}

func get(p attention.Page, i int) float32 {
	return math.Float32frombits(binary.LittleEndian.Uint32(p[4*i:]))
}

// write stands in for a pass: position i of every block gets values[i].
func write(b *Branch, values ...float32) {
	if grown, exclusive := b.writable(b.len, b.len+len(values)); !grown || !exclusive {
		panic("not writable")
	}
	for _, v := range values {
		for i := range b.table {
			p := b.table[i].kv[b.len/PagePositions]
			at := b.len % PagePositions
			put(p, at, v)
			put(p, len(p)/8+at, -v-float32(i))
		}
		b.len++
	}
}

// holds reports whether the branch has just these values.
func holds(b *Branch, values []float32) bool {
	for pos, v := range values {
		for i := range b.table {
			p := b.table[i].kv[pos/PagePositions]
			at := pos % PagePositions
			if get(p, at) != v || get(p, len(p)/8+at) != -v-float32(i) {
				return false
			}
		}
	}
	return b.Len() == len(values)
}

// ledger is the plain model of one branch: what it holds, and which pages (of
// one block) it shares by number.
type ledger struct {
	branch *Branch
	values []float32
	pages  []int
}

// TestCacheAccountsForEveryPage runs random operations against a plain model:
// contents, free pages and refusals agree after each, and nothing is left over.
func TestCacheAccountsForEveryPage(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nBlocks := rapid.IntRange(1, 3).Draw(t, "blocks")
		total := rapid.IntRange(nBlocks, 40).Draw(t, "pages")
		s := &Span{spec: &arch.Spec{KVHeads: 1, HeadDim: 2}, blocks: blocks(3, 3+nBlocks)}
		c, err := s.NewCache(int64(total)*PageBytes(s.spec, inference.KVF32), inference.KVF32)
		if err != nil {
			t.Fatal(err)
		}
		var live []*ledger
		next, written := 0, float32(0)
		refs := func(page int) (n int) {
			for _, l := range live {
				if slices.Contains(l.pages, page) {
					n++
				}
			}
			return n
		}
		used := func() int {
			set := map[int]bool{}
			for _, l := range live {
				for _, p := range l.pages {
					set[p] = true
				}
			}
			return len(set) * nBlocks
		}
		pick := func() *ledger {
			if len(live) == 0 {
				t.Skip("no branch")
			}
			return live[rapid.IntRange(0, len(live)-1).Draw(t, "branch")]
		}
		t.Repeat(map[string]func(*rapid.T){
			"new": func(t *rapid.T) {
				live = append(live, &ledger{branch: c.NewBranch(s.blocks)})
			},
			"grow": func(t *rapid.T) {
				l := pick()
				n := rapid.IntRange(0, 100).Draw(t, "n")
				pages, copies := slices.Clone(l.pages), 0
				if n > len(l.values) {
					for j := len(l.values) / 16; j < (n+15)/16; j++ {
						switch {
						case j >= len(pages):
							pages = append(pages, next)
						case refs(pages[j]) > 1:
							pages[j] = next
						default:
							continue
						}
						next++
						copies++
					}
				}
				fits := copies*nBlocks <= total-used()
				switch err := l.branch.Grow(n); {
				case fits && err != nil:
					t.Fatalf("grow to %d: %v with %d of %d used", n, err, used(), total)
				case !fits && !errors.Is(err, ErrNoPages):
					t.Fatalf("grow to %d: %v, want ErrNoPages", n, err)
				case fits:
					l.pages = pages
				}
			},
			"write": func(t *rapid.T) {
				l := pick()
				n := rapid.IntRange(1, 40).Draw(t, "n")
				if l.branch.Grow(len(l.values)+n) != nil {
					t.Skip("full")
				}
				for j := len(l.values) / 16; j < (len(l.values)+n+15)/16; j++ {
					if j >= len(l.pages) {
						l.pages = append(l.pages, next)
					} else if refs(l.pages[j]) > 1 {
						l.pages[j] = next
					}
					next++
				}
				var values []float32
				for range n {
					written++
					values = append(values, written)
				}
				write(l.branch, values...)
				l.values = append(l.values, values...)
			},
			"fork": func(t *rapid.T) {
				l := pick()
				at := rapid.IntRange(0, len(l.values)).Draw(t, "at")
				live = append(live, &ledger{l.branch.Fork(at), slices.Clone(l.values[:at]), slices.Clone(l.pages[:(at+15)/16])})
			},
			"truncate": func(t *rapid.T) {
				l := pick()
				n := rapid.IntRange(-1, 110).Draw(t, "n")
				l.branch.Truncate(n)
				n = max(n, 0)
				l.values = l.values[:min(n, len(l.values))]
				l.pages = l.pages[:min((n+15)/16, len(l.pages))]
			},
			"release": func(t *rapid.T) {
				l := pick()
				l.branch.Release()
				l.branch.Release()
				live = slices.DeleteFunc(live, func(x *ledger) bool { return x == l })
			},
			"": func(t *rapid.T) {
				if got, want := c.FreePages(), total-used(); got != want {
					t.Fatalf("%d free pages, want %d", got, want)
				}
				for _, l := range live {
					if !holds(l.branch, l.values) {
						t.Fatalf("a branch of length %d does not hold what was written to it", l.branch.Len())
					}
				}
			},
		})
		for _, l := range live {
			l.branch.Release()
		}
		if c.FreePages() != total {
			t.Fatalf("%d of %d pages free after everything was released", c.FreePages(), total)
		}
	})
}

// TestBranchesMayBeUsedByDifferentGoroutines forks one branch many times; the
// forks grow, copy shared pages and release at once, each seeing only its own.
func TestBranchesMayBeUsedByDifferentGoroutines(t *testing.T) {
	c := bareCache(t, 2, 400)
	base := c.NewBranch(blocks(3, 5))
	if err := base.Grow(24); err != nil {
		t.Fatal(err)
	}
	var common []float32
	for i := range 24 {
		common = append(common, float32(i))
	}
	write(base, common...)
	var wg sync.WaitGroup
	for g := range 8 {
		b := base.Fork(24)
		wg.Add(1)
		go func() {
			defer wg.Done()
			defer b.Release()
			values := slices.Clone(common)
			for round := range 200 {
				v := float32(1000*g + round)
				if err := b.Grow(b.Len() + 3); err != nil {
					t.Error(err)
					return
				}
				write(b, v, v, v)
				values = append(values, v, v, v)
				if f := b.Fork(b.Len() - 1); !holds(f, values[:len(values)-1]) {
					t.Error("a fork does not hold what its branch did")
				} else {
					f.Release()
				}
				if len(values) > 60 {
					b.Truncate(20 + round%9)
					values = values[:b.Len()]
				}
				if !holds(b, values) {
					t.Error("a branch holds what another wrote")
					return
				}
			}
		}()
	}
	wg.Wait()
	if !holds(base, common) {
		t.Error("the branch that was forked changed")
	}
	base.Release()
	if c.FreePages() != c.TotalPages() {
		t.Errorf("%d pages leaked", c.TotalPages()-c.FreePages())
	}
}

func TestCacheTakesMemoryOnlyForPositionsGrown(t *testing.T) {
	const mib = 1 << 20
	s := &Span{spec: &arch.Spec{KVHeads: 8, HeadDim: 128}, blocks: blocks(0, 1)}
	c, err := s.NewCache(1<<50, inference.KVF32)
	if err != nil {
		t.Fatal(err)
	}
	made := func() int64 { return int64(c.total-c.spare) * c.PageBytes() }
	if made() != 0 {
		t.Errorf("%d bytes before any position", made())
	}
	b := c.NewBranch(blocks(0, 1))
	for range 3 { // the second time, released pages serve
		if err := b.Grow(1000); err != nil {
			t.Fatal(err)
		}
		b.Truncate(0)
	}
	if made() > 12*mib {
		t.Errorf("%d bytes for 1000 positions of 8 KiB", made())
	}
}

func TestCacheRefusesABudgetBelowOnePosition(t *testing.T) {
	s := &Span{spec: &arch.Spec{KVHeads: 1, HeadDim: 2}, blocks: blocks(0, 4)}
	for kv := inference.KVF16; kv <= inference.KVQ8; kv++ {
		page := PageBytes(s.spec, kv)
		for _, budget := range []int64{-1, 0, 4*page - 1} {
			if _, err := s.NewCache(budget, kv); err == nil {
				t.Errorf("a budget of %d bytes was taken", budget)
			}
		}
		if c, err := s.NewCache(4*page, kv); err != nil || c.TotalPages() != 4 {
			t.Errorf("%s: a budget of one position: %v", kv, err)
		}
	}
	if _, err := s.NewCache(1<<20, 0); err == nil {
		t.Error("a cache of no dtype")
	}
}

// TestPagesTakeWhatTheirDTypeTakes: 16 positions of 4 heads of 64.
func TestPagesTakeWhatTheirDTypeTakes(t *testing.T) {
	for kv, want := range map[inference.KVDType]int64{
		inference.KVF32: 2 * 16 * 4 * 64 * 4,
		inference.KVF16: 2 * 16 * 4 * 64 * 2,
		inference.KVQ8:  2 * 16 * 4 * (64 + 2*2),
	} {
		if got := PageBytes(&arch.Spec{KVHeads: 4, HeadDim: 64}, kv); got != want {
			t.Errorf("%s: %d bytes, want %d", kv, got, want)
		}
	}
}

func TestCacheClosesWhenNobodyUsesIt(t *testing.T) {
	c := bareCache(t, 2, 400)
	b := c.NewBranch(blocks(3, 5))
	if err := b.Grow(24); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err == nil {
		t.Error("a cache in use was closed")
	}
	write(b, 1, 2, 3)
	b.Release()
	for range 2 {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	if c.TotalPages() != 0 || c.FreePages() != 0 || len(c.memory.slabs) != 0 {
		t.Errorf("%d pages, %d free, %d slabs", c.TotalPages(), c.FreePages(), len(c.memory.slabs))
	}
	if err := c.NewBranch(blocks(3, 5)).Grow(1); !errors.Is(err, ErrNoPages) {
		t.Errorf("a closed cache: %v", err)
	}
}
