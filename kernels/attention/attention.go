// Package attention mixes each position's values with those of its past.
//
// In: queries [n, heads·headDim] of float32, and keys and values in pages of 16
// positions of one block of the model, as float32, float16 or int8 ([Page]).
// Rows belong to segments: runs of consecutive positions of one branch, so that
// one call serves many sessions, prompts and single steps alike. Out: rows like
// the queries. Several query heads may share a key and value head
// (grouped-query attention).
//
// The result for a position depends on the positions up to it, not on how they
// were cut into calls, on the workers or on the implementation: the past is
// taken in blocks of 256 positions counted from position 0, see [Causal]. The
// plain Go in generic.go is the specification; the assembly of AVX2 and AVX-512
// gives the same bits.
//
// The package owns no page and knows nothing of sessions, layers or budgets.
package attention

import (
	"fmt"

	inference "github.com/farlabs/inference"
)

// MaxHeadDim is the widest head that the op takes.
const MaxHeadDim = 512

// Segment is a run of rows of one branch: rows [Row, Row+N) of the query (and
// of k and v) are its positions Start, Start+1, … Pages hold its positions from
// 0 on, at least up to Start+N. Pages that lie wholly before the window of the
// first row are not read.
type Segment struct {
	Row, N, Start int
	Pages         []Page
}

// Params are the dimensions and the behaviour of a block's attention. Heads is
// a multiple of KVHeads; query head h reads key and value head
// h/(Heads/KVHeads).
type Params struct {
	Heads, KVHeads, HeadDim int
	KV                      inference.KVDType // of the pages

	Scale   float32   // multiplies the scores, usually 1/√HeadDim
	Softcap float32   // then s becomes Softcap·tanh(s/Softcap); 0: it does not
	Slopes  []float32 // then slope[head]·(j − i) is added, j the key's and i the query's position; nil: nothing is
	Window  int       // positions that a row sees, itself included; 0: all
}

// layout returns how pages look.
func (p *Params) layout() layout { return newLayout(p.KV, p.KVHeads, p.HeadDim) }

// check panics unless the segments and a buffer of that shape fit together.
func (p *Params) check(op string, l *layout, rows, cols, heads int, segs []Segment) {
	if p.KVHeads <= 0 || p.HeadDim <= 0 || p.HeadDim > MaxHeadDim || p.Heads <= 0 || p.Heads%p.KVHeads != 0 || cols != heads*p.HeadDim {
		panic(fmt.Sprintf("attention: %s of [%d,%d] with %d heads, %d for keys, of %d", op, rows, cols, p.Heads, p.KVHeads, p.HeadDim))
	}
	if p.KV.Validate() != nil || p.Window < 0 || !(p.Softcap >= 0) || p.Slopes != nil && len(p.Slopes) != p.Heads {
		panic(fmt.Sprintf("attention: %s with KV of %s, window %d, softcap %v, %d slopes", op, p.KV, p.Window, p.Softcap, len(p.Slopes)))
	}
	for i := range segs {
		s := &segs[i]
		if s.Row < 0 || s.N < 0 || s.Start < 0 || s.Row+s.N > rows || len(s.Pages)*PageSize < s.Start+s.N {
			panic(fmt.Sprintf("attention: %s: segment %d: rows %d+%d of %d, positions from %d, %d pages", op, i, s.Row, s.N, rows, s.Start, len(s.Pages)))
		}
		if s.N == 0 {
			continue
		}
		for _, page := range s.Pages[p.reach(s.Start)/PageSize : (s.Start+s.N+PageSize-1)/PageSize] {
			if len(page) != l.bytes {
				panic(fmt.Sprintf("attention: %s: segment %d: page of %d bytes, want %d", op, i, len(page), l.bytes))
			}
		}
	}
}

// reach returns the first position that the row at a position sees.
func (p *Params) reach(at int) int {
	if p.Window == 0 {
		return 0
	}
	return max(0, at-p.Window+1)
}
