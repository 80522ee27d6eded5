package attention

import (
	"encoding/binary"
	"math"

	inference "github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/device"
	"github.com/farlabs/inference/kernels/quant"
	"github.com/farlabs/inference/kernels/tensor"
)

// Store writes rows of k and v [n, kvHeads·headDim] into the pages of their
// segments, rounded to the KV dtype: to nearest even for f16; for q8, 32
// dimensions of a head have d = f16(a/127), a the largest |x| of them, and
// codes round(x·(127/a)) to nearest even, or 0 where d is 0; where one is not
// finite, d is NaN. It borrows everything; the pages written must not be
// shared.
func Store(q *device.Queue, k, v tensor.Buffer, p Params, segs []Segment) {
	l := p.layout()
	p.check("Store", &l, k.Rows, k.Cols, p.KVHeads, segs)
	p.check("Store", &l, v.Rows, v.Cols, p.KVHeads, segs)
	j := stores.Get()
	j.q, j.k, j.v, j.dim, j.heads, j.l, j.segs = q, k.F32(), v.F32(), p.HeadDim, p.KVHeads, l, segs
	j.halves = choose(l.kv).halves
	n := 0
	for i := range segs {
		n += segs[i].N
	}
	q.ParallelWorkers(n, storeRows, j.run)
	j.q, j.k, j.v, j.segs = nil, nil, nil, nil
	stores.Put(j)
}

// storeRows is how many rows a worker takes at a time; a single row is not
// worth waking anybody.
const storeRows = 8

// store is one call of Store, kept for reuse.
type store struct {
	q          *device.Queue
	k, v       []float32
	dim, heads int
	l          layout
	halves     func(dst []byte, src []float32)
	segs       []Segment
	run        func(worker, lo, hi int)
}

var stores = device.NewSpare(func() *store {
	j := new(store)
	j.run = j.rows
	return j
})

// rows stores rows [lo, hi), counted over the segments.
func (j *store) rows(worker, lo, hi int) {
	tmp := j.q.Scratch(worker, MaxHeadDim/2) // the keys of a row and head as stored, at most 16-bit
	first := 0
	for i := range j.segs {
		s := &j.segs[i]
		for r := max(lo, first); r < min(hi, first+s.N); r++ {
			at := s.Start + r - first
			j.row(tmp, s.Pages[at/PageSize], at%PageSize, s.Row+r-first)
		}
		first += s.N
	}
}

// row stores one row as position t of a page.
func (j *store) row(tmp []float32, page Page, t, row int) {
	l, d := &j.l, j.dim
	for h := range j.heads {
		k, v := j.k[(row*j.heads+h)*d:][:d], j.v[(row*j.heads+h)*d:][:d]
		kb, vb := page[h*l.head:][:l.head], page[l.values+h*l.head:][:l.head]
		switch l.kv {
		case inference.KVF32:
			for x, e := range k {
				binary.LittleEndian.PutUint32(kb[4*(x*PageSize+t):], math.Float32bits(e))
			}
			vb = vb[4*t*l.pad:]
			for x, e := range v {
				binary.LittleEndian.PutUint32(vb[4*x:], math.Float32bits(e))
			}
		case inference.KVQ8:
			for x := 0; x < d; x += 32 {
				n, g := min(32, d-x), x/32
				scale, codes := quantize(k[x : x+n])
				put16(kb[PageSize*l.pad:], g*PageSize+t, scale)
				for i, c := range codes[:n] {
					kb[(x+i)*PageSize+t] = byte(c)
				}
				scale, codes = quantize(v[x : x+n])
				put16(vb[PageSize*l.pad:], t*l.groups+g, scale)
				for i, c := range codes[:n] {
					vb[t*l.pad+x+i] = byte(c)
				}
			}
		default:
			half := bytesOf(tmp)[:2*d]
			j.halves(half, k)
			for x := range d {
				put16(kb, x*PageSize+t, binary.LittleEndian.Uint16(half[2*x:]))
			}
			j.halves(vb[2*t*l.pad:][:2*d], v)
		}
	}
}

// quantize returns the scale, as f16 bits, and the codes of up to 32 numbers.
func quantize(x []float32) (scale uint16, codes [32]int8) {
	a := float32(0)
	for _, v := range x {
		v = math.Float32frombits(math.Float32bits(v) &^ (1 << 31))
		if !(v <= math.MaxFloat32) {
			return 0x7e00, codes
		}
		a = max(a, v)
	}
	scale = quant.F32ToF16(a / 127)
	if scale == 0 {
		return 0, codes
	}
	const magic = 3 << 22 // adding it rounds to an integer
	r := 127 / a
	for i, v := range x {
		codes[i] = int8(float32(v*r) + magic - magic)
	}
	return scale, codes
}
