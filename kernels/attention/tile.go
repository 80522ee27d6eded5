package attention

import (
	"math"

	"github.com/farlabs/inference/kernels/canon"
)

// tile is up to maxRows queries of one segment that read the same key and value
// head, numbered by row, then head. Its slices are a worker's scratch.
type tile struct {
	j     *job
	seg   *Segment
	kv    int // key and value head
	first int // the first query of the tile
	rows  int

	lo, hi [maxRows]int // the positions that each sees, [lo, hi)

	q, s, p []float32 // queries [dimStride], scores [scoreStride], outputs of a block [dimStride]
}

// tileScratch is how many floats the slices of a tile have, and a few more that
// scores may write to.
const tileScratch = maxRows*(2*dimStride+scoreStride) + 48

// open finds tile u of the call and the positions that it sees.
func (j *job) open(t *tile, u int, mem []float32) {
	lo, hi := 0, len(j.segs) // first[lo] ≤ u < first[hi]
	for hi-lo > 1 {
		if mid := (lo + hi) / 2; j.first[mid] <= u {
			lo = mid
		} else {
			hi = mid
		}
	}
	s := &j.segs[lo]
	n := j.tiles(s)
	u -= j.first[lo]
	t.j, t.seg, t.kv = j, s, u/n
	t.first = (n - 1 - u%n) * maxRows // the longest first
	t.rows = min(maxRows, s.N*j.group-t.first)
	for r := range t.rows {
		at := s.Start + (t.first+r)/j.group
		t.lo[r], t.hi[r] = j.p.reach(at), at+1
	}
	t.q, t.p, t.s = mem[:maxRows*dimStride], mem[maxRows*dimStride:][:maxRows*dimStride], mem[2*maxRows*dimStride:][:maxRows*scoreStride]
}

// at returns where query r of the tile lies in rows of all heads, and its head.
func (t *tile) at(r int) (offset, head int) {
	j, v := t.j, t.first+r
	head = t.kv*j.group + v%j.group
	return ((t.seg.Row+v/j.group)*j.p.Heads + head) * j.p.HeadDim, head
}

// load copies the queries into the scratch.
func (t *tile) load() {
	d := t.j.p.HeadDim
	for r := range t.rows {
		at, _ := t.at(r)
		copy(t.q[r*dimStride:][:d], t.j.query[at:at+d])
	}
}

// span returns the blocks that the tile sees, [lo, hi).
func (t *tile) span() (lo, hi int) {
	return t.lo[0] / blockSize, (t.hi[t.rows-1] + blockSize - 1) / blockSize
}

// active returns the queries [r0, r1) that see positions of block b: each sees
// a run of positions that begins and ends no earlier than that of the one
// before.
func (t *tile) active(b int) (r0, r1 int) {
	base := b * blockSize
	for r0 < t.rows && t.hi[r0] <= base {
		r0++
	}
	for r1 = r0; r1 < t.rows && t.lo[r1] < base+blockSize; r1++ {
	}
	return r0, r1
}

// block computes the queries [r0, r1) over block b: their outputs to p, their
// maxima and sums to most and sum. more says that block b+1 comes next.
func (t *tile) block(b, r0, r1 int, more bool, most, sum *[maxRows]float32) {
	j, l, k := t.j, &t.j.l, t.j.k
	base := b * blockSize
	var from, to [maxRows]int // within the block
	for r := r0; r < r1; r++ {
		from[r], to[r] = max(t.lo[r]-base, 0), min(t.hi[r]-base, blockSize)
	}
	begin, end := from[r0]/PageSize, (to[r1-1]+PageSize-1)/PageSize
	pages := t.seg.Pages[base/PageSize:][:end]
	k.scores(t.s[r0*scoreStride+begin*PageSize:], t.q[r0*dimStride:], r1-r0, pages[begin:], t.kv*l.head, j.p.HeadDim, l, j.p.Scale)
	for r := r0; r < r1; r++ {
		lo := from[r] &^ (PageSize - 1)
		s := t.s[r*scoreStride:][lo : (to[r]+PageSize-1)&^(PageSize-1)]
		if j.p.Softcap != 0 {
			k.softcap(s, j.p.Softcap)
		}
		if j.p.Slopes != nil {
			_, head := t.at(r)
			k.bias(s, j.p.Slopes[head], float32(base+lo-(t.hi[r]-1)))
		}
		for i := lo; i < from[r]; i++ {
			s[i-lo] = inf
		}
		for i := to[r] - lo; i < len(s); i++ {
			s[i] = inf
		}
		k.softmax(s, &most[r], &sum[r])
	}
	ahead := 0
	if more {
		// Where the next block has fewer pages, the last of this one fetch them.
		rest := (t.hi[t.rows-1]+PageSize-1)/PageSize - (b+1)*blockSize/PageSize
		ahead = max(0, min(rest, blockSize/PageSize))
	}
	t.mix(pages, r0, r1, ahead, &from, &to)
}

// inf is the score of a position that does not take part.
var inf = float32(math.Inf(-1))

// mix computes p of the queries [r0, r1): together over the positions that all
// see, alone over the rest.
func (t *tile) mix(pages []Page, r0, r1, ahead int, from, to *[maxRows]int) {
	l, k := &t.j.l, t.j.k
	head := l.values + t.kv*l.head
	one := func(r, lo, hi int) {
		if lo < hi {
			k.mix(t.p[r*dimStride:], t.s[r*scoreStride:], 1, pages, head, l, lo, hi, 0)
		}
	}
	for r := r0; r < r1; r++ {
		clear(t.p[r*dimStride:][:l.pad])
	}
	lo, hi := from[r1-1], to[r0]
	if lo >= hi {
		for r := r0; r < r1; r++ {
			one(r, from[r], to[r])
		}
		return
	}
	for r := r0; r < r1; r++ {
		one(r, from[r], lo)
	}
	k.mix(t.p[r0*dimStride:], t.s[r0*scoreStride:], r1-r0, pages, head, l, lo, hi, ahead)
	for r := r0; r < r1; r++ {
		one(r, hi, to[r])
	}
}

// state is what the queries of a tile have gathered from the blocks so far:
// maxima, sums and outputs [dimStride or pad].
type state struct {
	most, sum *[maxRows]float32
	o         []float32
	stride    int
}

// stateIn returns a state over mem; its outputs may be empty.
func stateIn(mem []float32, stride int) state {
	return state{(*[maxRows]float32)(mem), (*[maxRows]float32)(mem[maxRows:]), mem[2*maxRows:], stride}
}

// begin sets the state to that of no block.
func (s *state) begin() {
	for r := range s.most {
		s.most[r], s.sum[r] = inf, 0
	}
	clear(s.o)
}

// add merges a block, of which the queries [r0, r1) have seen something.
func (s *state) add(k *kernels, b *state, r0, r1, pad int) {
	for r := r0; r < r1; r++ {
		m := s.most[r]
		if b.most[r] > m {
			m = b.most[r]
		}
		x, y := canon.Exp(s.most[r]-m), canon.Exp(b.most[r]-m)
		s.most[r] = m
		s.sum[r] = float32(s.sum[r]*x) + float32(b.sum[r]*y)
		k.merge(s.o[r*s.stride:][:pad], b.o[r*b.stride:][:pad], x, y)
	}
}

// finish writes the results.
func (t *tile) finish(s *state) {
	d := t.j.p.HeadDim
	for r := range t.rows {
		at, _ := t.at(r)
		t.j.k.divide(t.j.dst[at:at+d], s.o[r*s.stride:][:d], s.sum[r])
	}
}
