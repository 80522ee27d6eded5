// Package attention mixes each position's values with those of its past.
//
// In: queries [n, heads·headDim] of float32, and keys and values in pages of 16
// positions of one block of the model. Rows belong to segments: runs of
// consecutive positions of one branch, so that one call serves many sessions,
// prompts and single steps alike. Out: rows like the queries. Several query
// heads may share a key and value head (grouped-query attention).
//
// The result for a position depends on the positions up to it, not on how they
// were cut into calls: the past is taken in blocks of 256 positions counted
// from position 0, see [Causal].
//
// The package owns no page and knows nothing of sessions, layers or budgets.
package attention

import (
	"fmt"

	"github.com/farlabs/inference/kernels/device"
	"github.com/farlabs/inference/kernels/tensor"
)

// PageSize is the number of positions of a page.
const PageSize = 16

// Page holds the keys and the values of 16 consecutive positions of one block:
// each [kvHeads][16][headDim].
type Page struct{ K, V []float32 }

// Segment is a run of rows of one branch: rows [Row, Row+N) of the query (and
// of k and v) are its positions Start, Start+1, … Pages hold its positions from
// 0 on, at least up to Start+N.
type Segment struct {
	Row, N, Start int
	Pages         []Page
}

// Params are the dimensions of a block's attention. Heads is a multiple of
// KVHeads; query head h reads key and value head h/(Heads/KVHeads). Scale
// multiplies the scores, usually 1/√HeadDim.
type Params struct {
	Heads, KVHeads, HeadDim int
	Scale                   float32
}

// check panics unless the segments and a buffer of that shape fit together.
func (p Params) check(op string, rows, cols, heads int, segs []Segment) {
	if p.KVHeads <= 0 || p.HeadDim <= 0 || p.Heads <= 0 || p.Heads%p.KVHeads != 0 || cols != heads*p.HeadDim {
		panic(fmt.Sprintf("attention: %s of [%d,%d] with %d heads, %d for keys, of %d", op, rows, cols, p.Heads, p.KVHeads, p.HeadDim))
	}
	size := p.KVHeads * PageSize * p.HeadDim
	for i, s := range segs {
		if s.Row < 0 || s.N < 0 || s.Start < 0 || s.Row+s.N > rows || len(s.Pages)*PageSize < s.Start+s.N {
			panic(fmt.Sprintf("attention: %s: segment %d: rows %d+%d of %d, positions from %d, %d pages", op, i, s.Row, s.N, rows, s.Start, len(s.Pages)))
		}
		for _, page := range s.Pages[:(s.Start+s.N+PageSize-1)/PageSize] {
			if len(page.K) != size || len(page.V) != size {
				panic(fmt.Sprintf("attention: %s: segment %d: page of %d and %d elements, want %d", op, i, len(page.K), len(page.V), size))
			}
		}
	}
}

// Store writes rows of k and v [n, kvHeads·headDim] into the pages of their
// segments. It borrows everything; the pages written must not be shared.
func Store(_ *device.Queue, k, v tensor.Buffer, p Params, segs []Segment) {
	p.check("Store", k.Rows, k.Cols, p.KVHeads, segs)
	p.check("Store", v.Rows, v.Cols, p.KVHeads, segs)
	d := p.HeadDim
	kd, vd := k.F32(), v.F32()
	for _, s := range segs {
		for i := range s.N {
			page, slot := s.Pages[(s.Start+i)/PageSize], (s.Start+i)%PageSize
			row := (s.Row + i) * p.KVHeads * d
			for h := range p.KVHeads {
				at := (h*PageSize + slot) * d
				copy(page.K[at:at+d], kd[row+h*d:])
				copy(page.V[at:at+d], vd[row+h*d:])
			}
		}
	}
}
