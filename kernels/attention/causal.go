package attention

import (
	"fmt"
	"math"

	"github.com/farlabs/inference/kernels/canon"
	"github.com/farlabs/inference/kernels/device"
	"github.com/farlabs/inference/kernels/tensor"
)

// blockSize is the number of positions that share a maximum.
const blockSize = 256

// Causal writes softmax(scale·q·Kᵀ)·V over the positions up to and including
// each row's own to dst; dst and query are [n, heads·headDim]. The pages hold
// the keys and values of those positions already (Store). Rows of no segment
// keep their contents. dst may be query. It borrows everything.
//
// Per row and head, for each block b of 256 positions from 0 on, as far as the
// row's position reaches:
//
//	s[j] = (q·k[j])·scale        dot of 16 lanes
//	m'   = max(m, max s[j])      m = −∞ at first
//	c    = exp(m − m'), and w[j] = exp(s[j] − m')
//	l    = l·c + Σ w[j]          16 lanes, lane = j mod 16
//	o    = o·c + Σ w[j]·v[j]     16 lanes, lane = j mod 16
//
// and dst = o/l in the end. Milakov and Gimelshein, "Online normalizer
// calculation for softmax", 2018.
func Causal(q *device.Queue, dst, query tensor.Buffer, p Params, segs []Segment) {
	p.check("Causal", query.Rows, query.Cols, p.Heads, segs)
	if dst.Rows != query.Rows || dst.Cols != query.Cols {
		panic(fmt.Sprintf("attention: Causal: [%d,%d] of [%d,%d]", dst.Rows, dst.Cols, query.Rows, query.Cols))
	}
	j := jobs.Get()
	j.q, j.dst, j.query, j.p, j.segs = q, dst.F32(), query.F32(), p, segs
	n := 0
	for _, s := range segs {
		n += s.N
	}
	q.ParallelWorkers(n*p.Heads, 1, j.run)
	j.q, j.dst, j.query, j.segs = nil, nil, nil, nil
	jobs.Put(j)
}

// job is one call of Causal; it is kept for reuse so that a call allocates nothing.
type job struct {
	q          *device.Queue
	dst, query []float32
	p          Params
	segs       []Segment
	run        func(worker, lo, hi int)
}

var jobs = device.NewSpare(func() *job {
	j := new(job)
	j.run = j.units
	return j
})

// units computes pairs of row and head [lo, hi), counted over the segments.
func (j *job) units(worker, lo, hi int) {
	seg, first := 0, 0
	for u := lo; u < hi; u++ {
		i, h := u/j.p.Heads, u%j.p.Heads
		for i >= first+j.segs[seg].N {
			first += j.segs[seg].N
			seg++
		}
		s := &j.segs[seg]
		j.head(worker, s, i-first, h)
	}
}

// head computes head h of row i of a segment.
func (j *job) head(worker int, s *Segment, i, h int) {
	d := j.p.HeadDim
	at := ((s.Row+i)*j.p.Heads + h) * d
	q, end := j.query[at:at+d], s.Start+i+1
	mem := j.q.Scratch(worker, blockSize+(1+PageSize)*d)
	w, o, lanes := (*[blockSize]float32)(mem), mem[blockSize:][:d], mem[blockSize+d:]
	kv := h / (j.p.Heads / j.p.KVHeads) * PageSize * d // where a page holds the head
	clear(o)
	m, l := float32(math.Inf(-1)), float32(0)
	for first := 0; first < end; first += blockSize {
		n := min(blockSize, end-first)
		pages := s.Pages[first/PageSize:]
		was := m
		for k := 0; k < n; k += PageSize {
			keys := pages[k/PageSize].K[kv:]
			for t := range min(PageSize, n-k) {
				v := canon.Dot(q, keys[t*d:(t+1)*d]) * j.p.Scale
				w[k+t] = v
				m = max(m, v)
			}
		}
		var sum [PageSize]float32
		for k := range n {
			w[k] = canon.Exp(w[k] - m)
			sum[k%PageSize] += w[k]
		}
		mix(lanes, w[:n], pages, kv, d)
		c := canon.Exp(was - m)
		l = float32(l*c) + canon.Tree(&sum)
		for x, v := range lanes[:d] {
			o[x] = float32(o[x]*c) + v
		}
	}
	for x, v := range o {
		j.dst[at+x] = v / l
	}
}
