package model

import (
	"errors"
	"fmt"
	"sync/atomic"

	inference "github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/attention"
	"github.com/farlabs/inference/kernels/device"
	"github.com/farlabs/inference/kernels/rope"
	"github.com/farlabs/inference/kernels/tensor"
)

// ErrContext says that a position lies beyond what the model was made for.
var ErrContext = errors.New("beyond the model's context")

// Segment is N rows of a pass: positions Start to Start+N−1 of Branch, where
// Start is the branch's length.
type Segment struct {
	Branch *Branch
	Start  int
	N      int
}

// Pass is one forward pass of any number of branches. Several segments of one
// branch follow each other in order of position.
type Pass struct {
	Role     inference.BlockRange // blocks to run, those of every branch
	Wire     inference.WireDType  // the residual is rounded to it after every block
	Segments []Segment            // in the order of the rows of hidden
}

// rows returns the rows of all segments.
func (p *Pass) rows() (n int) {
	for _, g := range p.Segments {
		n += g.N
	}
	return n
}

// scratch is what a pass needs beside activations; reused, so that a pass of a
// size seen before allocates nothing.
type scratch struct {
	kv        inference.KVDType // of the branches' pages
	positions []int32           // of each row
	segments  []attention.Segment
	angles    []float32 // [rows][sines, cosines] of rotated
	rotated   []float32 // the frequencies whose angles these are; nil: none yet
}

// passes numbers passes; a branch's mark says in which it was last seen.
var passes atomic.Uint64

// Forward runs the blocks of p.Role over hidden [ΣN, d] in place and writes the
// branches' keys and values. Hidden rows come rounded to p.Wire, and leave so.
// Every branch has been grown to Start+N since it was last forked. On return
// its length is Start+N; after an error nothing has changed but, if the device
// failed, the contents of hidden and of positions from Start on.
//
// Forward waits for the queue. It borrows hidden and p.
func (s *Span) Forward(q *device.Queue, hidden tensor.Buffer, p Pass) error {
	if err := s.check(hidden, &p); err != nil {
		return fmt.Errorf("forward of blocks %s: %w", p.Role, err)
	}
	if hidden.Rows == 0 {
		return nil
	}
	w := s.borrow()
	defer s.giveBack(w)
	w.layout(&p)
	a := s.activations(hidden.Rows)
	defer a.release()
	for i := p.Role.Start; i < p.Role.End; i++ {
		w.pages(&p, i)
		s.layers[i-s.blocks.Start].forward(q, hidden, &a, w)
		round(q, hidden, p.Wire)
	}
	if err := q.Wait(); err != nil {
		return fmt.Errorf("forward of blocks %s: %w", p.Role, err)
	}
	for _, g := range p.Segments {
		g.Branch.len = g.Branch.next
	}
	return nil
}

// check reports what is wrong with a pass, and leaves in each branch's next the
// length it will have.
func (s *Span) check(hidden tensor.Buffer, p *Pass) error {
	if p.Role.Validate() != nil || !s.blocks.Contains(p.Role) {
		return fmt.Errorf("not within the span's %s: %w", s.blocks, inference.ErrInvalid)
	}
	if p.Wire != inference.WireF32 && p.Wire != inference.WireBF16 {
		return fmt.Errorf("%s is not computed: %w", p.Wire, inference.ErrInvalid)
	}
	if n := p.rows(); hidden.DType != tensor.F32 || hidden.Rows != n || hidden.Cols != s.spec.Hidden {
		return fmt.Errorf("hidden is [%d, %d] %s, want [%d, %d] F32: %w",
			hidden.Rows, hidden.Cols, hidden.DType, n, s.spec.Hidden, inference.ErrInvalid)
	}
	id := passes.Add(1)
	for _, g := range p.Segments {
		b := g.Branch
		if b == nil || b.table == nil || b.cache.span != s || b.role != p.Role {
			return fmt.Errorf("a branch of another span or role, or released: %w", inference.ErrInvalid)
		}
		if b.cache.kv != p.Segments[0].Branch.cache.kv {
			return fmt.Errorf("branches with KV of %s and %s: %w", p.Segments[0].Branch.cache.kv, b.cache.kv, inference.ErrInvalid)
		}
		if b.pass != id {
			b.pass, b.next = id, b.len
		}
		if g.N < 1 || g.Start != b.next {
			return fmt.Errorf("%d rows from position %d of a branch of length %d: %w",
				g.N, g.Start, b.next, inference.ErrInvalid)
		}
		if g.N > s.spec.Context-g.Start {
			return fmt.Errorf("positions %d:%d of %d: %w", g.Start, g.Start+g.N, s.spec.Context, ErrContext)
		}
		b.next += g.N
		if grown, exclusive := b.writable(g.Start, b.next); !grown || !exclusive {
			return fmt.Errorf("positions %d:%d of a branch not grown to them since its last fork: %w",
				g.Start, b.next, inference.ErrInvalid)
		}
	}
	return nil
}

// layout fills in what is the same for every block.
func (w *scratch) layout(p *Pass) {
	w.kv = p.Segments[0].Branch.cache.kv
	w.positions, w.segments, w.rotated = w.positions[:0], w.segments[:0], nil
	for _, g := range p.Segments {
		w.segments = append(w.segments, attention.Segment{Row: len(w.positions), N: g.N, Start: g.Start})
		for j := range g.N {
			w.positions = append(w.positions, int32(g.Start+j))
		}
	}
}

// pages points the segments at their pages of block i.
func (w *scratch) pages(p *Pass, i int) {
	for j, g := range p.Segments {
		kv := g.Branch.table[i-p.Role.Start].kv
		w.segments[j].Pages = kv[:pagesFor(g.Start+g.N)]
	}
}

// maxIdle bounds the scratches kept; more passes at once allocate theirs.
const maxIdle = 4

func (s *Span) borrow() *scratch {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.scratch); n > 0 {
		w := s.scratch[n-1]
		s.scratch = s.scratch[:n-1]
		return w
	}
	return &scratch{}
}

func (s *Span) giveBack(w *scratch) {
	clear(w.segments) // hold no pages
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.scratch) < maxIdle {
		s.scratch = append(s.scratch, w)
	}
}

// anglesOf returns the pass's angles for these frequencies [rows, 2·len], which
// blocks that rotate alike share.
func (w *scratch) anglesOf(q *device.Queue, frequencies []float32) tensor.Buffer {
	n, width := len(w.positions), 2*len(frequencies)
	if cap(w.angles) < n*width {
		w.angles = make([]float32, n*width)
	}
	t := tensor.Of(w.angles[:n*width], n, width)
	if width > 0 && (len(w.rotated) != len(frequencies) || &w.rotated[0] != &frequencies[0]) {
		rope.Angles(q, t, w.positions, frequencies)
		w.rotated = frequencies
	}
	return t
}
