package attention

import (
	"fmt"
	"sync/atomic"
	"unsafe"

	"github.com/farlabs/inference/kernels/device"
	"github.com/farlabs/inference/kernels/tensor"
)

// Causal writes softmax(scale·q·Kᵀ)·V over the positions up to and including
// each row's own to dst; dst and query are [n, heads·headDim]. The pages hold
// the keys and values of those positions already (Store). Rows of no segment
// keep their contents. dst may be query. It borrows everything.
//
// Per row and head, for each block b of 256 positions that the row sees, of the
// positions j in it that the row sees, all of float32:
//
//	s[j] = (q·k[j])·scale        one chain of fma over the dimensions, from 0
//	m_b  = max s[j]              then softcap and bias, before it, where asked for
//	w[j] = exp(s[j] − m_b)
//	l_b  = Σ w[j]                16 lanes, lane = j mod 16
//	p    = Σ w[j]·v[j]           one chain of fma over j, ascending, from 0
//
// and in ascending order of b, with m = −∞, l = 0 and o = 0 at first,
//
//	m'   = max(m, m_b)           x = exp(m − m'), y = exp(m_b − m')
//	l    = l·x + l_b·y           three roundings
//	o    = fma(p, y, o·x)
//
// and dst = o/l in the end. A score that is not a number is no maximum. Blocks
// know nothing of each other, so that workers may share the blocks of one row.
// Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018.
func Causal(q *device.Queue, dst, query tensor.Buffer, p Params, segs []Segment) {
	l := p.layout()
	p.check("Causal", &l, query.Rows, query.Cols, p.Heads, segs)
	if dst.Rows != query.Rows || dst.Cols != query.Cols {
		panic(fmt.Sprintf("attention: Causal: [%d,%d] of [%d,%d]", dst.Rows, dst.Cols, query.Rows, query.Cols))
	}
	j := jobs.Get()
	j.q, j.dst, j.query, j.p, j.segs = q, dst.F32(), query.F32(), p, segs
	j.l, j.k, j.group = l, choose(l.kv), p.Heads/p.KVHeads
	j.schedule()
	j.q, j.dst, j.query, j.segs, j.p.Slopes = nil, nil, nil, nil, nil
	jobs.Put(j)
}

// job is one call of Causal; it is kept for reuse so that a call allocates nothing.
type job struct {
	q          *device.Queue
	dst, query []float32
	p          Params
	l          layout
	k          *kernels
	group      int // query heads per key and value head
	segs       []Segment
	first      []int // [len(segs)+1]; the number of a segment's first tile

	whole func(worker, lo, hi int)

	// Where tiles are few, runs of their blocks are dealt out, in waves.
	part   func(worker, lo, hi int)
	wave   int            // blocks of a wave
	run    int            // blocks of a run
	runs   int            // of a tile in a wave
	before int            // blocks of a tile done by earlier waves
	last   bool           // nothing comes after this wave
	left   []atomic.Int32 // [tiles]; runs of this wave that are not computed yet
	mem    []float32      // [tiles][1+wave][stateFloats]: a tile's state, then its blocks'
}

var jobs = device.NewSpare(func() *job {
	j := new(job)
	j.whole, j.part = j.wholes, j.parts
	return j
})

// tiles returns the number of tiles of a segment and key head.
func (j *job) tiles(s *Segment) int { return (s.N*j.group + maxRows - 1) / maxRows }

// A worker should have fewTiles tiles or more to choose from; else tiles are
// cut into runs of blocks, about as many, but not more than waveBlocks blocks a
// worker in one wave, for whose outputs there must be memory.
const (
	fewTiles   = 4
	waveBlocks = 32
)

// schedule computes all tiles.
func (j *job) schedule() {
	j.first = append(j.first[:0], 0)
	n, blocks := 0, 0
	for i := range j.segs {
		s := &j.segs[i]
		n += j.tiles(s) * j.p.KVHeads
		j.first = append(j.first, n)
		if s.N > 0 {
			blocks = max(blocks, (s.Start+s.N+blockSize-1)/blockSize-j.p.reach(s.Start)/blockSize)
		}
	}
	workers := j.q.Workers()
	if workers == 1 || n >= fewTiles*workers || blocks <= 1 {
		j.q.ParallelWorkers(n, 1, j.whole)
		return
	}
	j.wave = min(blocks, max(1, waveBlocks*workers/n))
	j.run = max(1, j.wave*n/(fewTiles*workers))
	j.runs = (j.wave + j.run - 1) / j.run
	if len(j.left) < n {
		j.left = make([]atomic.Int32, n)
	}
	if need := n * (1 + j.wave) * j.stateFloats(); len(j.mem) < need {
		j.mem = make([]float32, need)
	}
	for j.before = 0; j.before < blocks; j.before += j.wave {
		for i := range n {
			j.left[i].Store(int32(j.runs))
		}
		j.last = j.before+j.wave >= blocks
		j.q.ParallelWorkers(n*j.runs, 1, j.part)
	}
}

// wholes computes tiles [lo, hi), each from its first block to its last.
func (j *job) wholes(worker, lo, hi int) {
	mem := j.q.Scratch(worker, tileScratch+maxRows*(4+dimStride))
	var t tile
	s := stateIn(mem[tileScratch:], dimStride)
	b := stateIn(mem[tileScratch+maxRows*(2+dimStride):], dimStride)
	for u := lo; u < hi; u++ {
		j.open(&t, u, mem)
		t.load()
		b.o = t.p
		s.begin()
		first, end := t.span()
		for n := first; n < end; n++ {
			r0, r1 := t.active(n)
			t.block(n, r0, r1, n+1 < end, b.most, b.sum)
			s.add(j.k, &b, r0, r1, j.l.pad)
		}
		t.finish(&s)
	}
}

// stateFloats returns the size of a state in mem.
func (j *job) stateFloats() int { return maxRows * (j.l.pad + 2) }

// state returns a tile's state (i = 0), or that of its block i−1 of the wave.
func (j *job) state(tile, i int) state {
	return stateIn(j.mem[(tile*(1+j.wave)+i)*j.stateFloats():][:j.stateFloats()], j.l.pad)
}

// parts computes runs of blocks of tiles, and merges those of a tile where it
// has computed the last.
func (j *job) parts(worker, lo, hi int) {
	mem := j.q.Scratch(worker, tileScratch)
	var t tile
	for u := lo; u < hi; u++ {
		n, i := u/j.runs, u%j.runs*j.run
		j.open(&t, n, mem)
		t.load()
		first, end := t.span()
		first += j.before
		upto := min(i+j.run, j.wave, end-first)
		for ; i < upto; i++ {
			r0, r1 := t.active(first + i)
			s := j.state(n, 1+i)
			t.block(first+i, r0, r1, i+1 < upto, s.most, s.sum)
			for r := r0; r < r1; r++ {
				copy(s.o[r*s.stride:][:s.stride], t.p[r*dimStride:])
			}
		}
		if j.left[n].Add(-1) > 0 {
			continue
		}
		s := j.state(n, 0)
		if j.before == 0 {
			s.begin()
		}
		for i := range min(j.wave, end-first) {
			r0, r1 := t.active(first + i)
			b := j.state(n, 1+i)
			s.add(j.k, &b, r0, r1, j.l.pad)
		}
		if j.last {
			t.finish(&s)
		}
	}
}

// Pages are walked by assembly as slices of three words.
var _ = [1]struct{}{}[unsafe.Sizeof(Page(nil))-3*unsafe.Sizeof(uintptr(0))]
