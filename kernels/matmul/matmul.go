// Package matmul multiplies rows of activations by weights of any dtype.
//
// In: activations x [n, in] of float32 and [Weights] [out, in], packed once
// from the bytes of a model file. Out: x·Wᵀ [n, out] of float32. The weights
// are dequantised on the fly, to exactly the values of quant.Dequantize; no
// copy of a matrix is kept. Each output element is a sum over in of 16 lanes
// (package canon), whatever n, the worker and the tile.
//
// The package owns nothing but scratch memory, bounded per worker and call. It
// knows nothing of layers or names.
package matmul

import (
	"fmt"

	"github.com/farlabs/inference/kernels/canon"
	"github.com/farlabs/inference/kernels/device"
	"github.com/farlabs/inference/kernels/tensor"
)

const (
	// fewRows is the most rows that are multiplied without a tile; more of them
	// are worth one that is not full.
	fewRows = 3
	// packedLimit bounds the floats of x that are laid out at a time, unless a
	// single tile needs more: 4 MiB. Larger batches are cut.
	packedLimit = 1 << 20
	// panelLimit bounds the floats of weights that a worker dequantises at a
	// time, unless a single row has more: 256 KiB, a part of its L2 cache.
	panelLimit = 1 << 16
	// panelRows is the most rows of weights that a worker dequantises at a time.
	panelRows = 16
	// grain is the number of weights worth handing to another worker.
	grain = 1 << 14
)

// Linear writes x·Wᵀ + bias to dst: x [n, in], dst [n, out], both f32; bias has
// out elements or is nil. dst must not overlap x. It borrows everything.
func Linear(q *device.Queue, dst, x tensor.Buffer, w *Weights, bias []float32) {
	if x.Cols != w.in || dst.Cols != w.out || dst.Rows != x.Rows || bias != nil && len(bias) != w.out {
		panic(fmt.Sprintf("matmul: [%d,%d] = [%d,%d] × weights [%d,%d], %d biases",
			dst.Rows, dst.Cols, x.Rows, x.Cols, w.out, w.in, len(bias)))
	}
	j := jobs.Get()
	j.q, j.w, j.bias, j.k = q, w, bias, (w.in+canon.Lanes-1)/canon.Lanes
	rows := max(1, packedLimit/max(tileRows*canon.Lanes*j.k, 1)) * tileRows
	for lo := 0; lo < x.Rows; lo += rows {
		hi := min(lo+rows, x.Rows)
		j.n, j.x, j.dst = hi-lo, x.Slice(lo, hi).F32(), dst.Slice(lo, hi).F32()
		j.multiply()
	}
	j.q, j.w, j.bias, j.x, j.dst = nil, nil, nil, nil, nil
	jobs.Put(j)
}

// job is one call of Linear; it is kept for reuse so that a call allocates nothing.
type job struct {
	q            *device.Queue
	w            *Weights
	bias         []float32
	n            int // rows of x and dst
	x, dst       []float32
	k            int                 // elements per lane
	tiles        int                 // of x; the last may not be full
	packed       [][tileRows]float32 // [tiles][16][k]
	pack         func(lo, hi int)
	few, columns func(worker, lo, hi int)
}

var jobs = device.NewSpare(func() *job {
	j := new(job)
	j.pack, j.few, j.columns = j.packTiles, j.fewColumns, j.tileColumns
	return j
})

// multiply computes n rows.
func (j *job) multiply() {
	in, out := max(j.w.in, 1), j.w.out
	if j.n <= fewRows {
		j.q.ParallelWorkers(out, 1+grain/in, j.few)
		return
	}
	j.tiles = (j.n + tileRows - 1 - fewRows) / tileRows
	if size := j.tiles * canon.Lanes * j.k; cap(j.packed) < size {
		j.packed = make([][tileRows]float32, size)
	} else {
		j.packed = j.packed[:size]
	}
	j.q.Parallel(j.tiles, 1+grain/(tileRows*in), j.pack)
	j.q.ParallelWorkers(out, max(1, min(panelRows, panelLimit/max(canon.Lanes*j.k, 1))), j.columns)
}

// packTiles lays out tiles [lo, hi) of x.
func (j *job) packTiles(lo, hi int) {
	in, size := j.w.in, canon.Lanes*j.k
	for t := lo; t < hi; t++ {
		first := t * tileRows
		packTile(j.packed[t*size:(t+1)*size], j.x[first*in:], in, min(tileRows, j.n-first))
	}
}

// fewColumns computes columns [lo, hi) of at most fewRows rows of dst.
func (j *job) fewColumns(worker, lo, hi int) {
	mem := j.q.Scratch(worker, j.w.rowScratch())
	for o := lo; o < hi; o++ {
		j.w.dots(j.dst[o:], j.w.out, mem, o, j.x, j.n)
		j.addBias(o)
	}
}

// tileColumns computes columns [lo, hi) of dst.
func (j *job) tileColumns(worker, lo, hi int) {
	in, out, size := j.w.in, j.w.out, canon.Lanes*j.k
	mem := j.q.Scratch(worker, j.w.rowScratch()+(hi-lo)*size)
	panel, mem := mem[:(hi-lo)*size], mem[(hi-lo)*size:]
	rest := j.tiles * tileRows // the first row in no tile
	for o := lo; o < hi; o++ {
		j.w.lanes(panel[(o-lo)*size:(o-lo+1)*size], mem, o)
		if rest < j.n {
			j.w.dots(j.dst[rest*out+o:], out, mem, o, j.x[rest*in:], j.n-rest)
		}
	}
	var s [canon.Lanes][tileRows]float32
	for t := range j.tiles {
		tile, y := j.packed[t*size:(t+1)*size], j.dst[t*tileRows*out:]
		for o := lo; o < hi; o++ {
			dotTile(&s, panel[(o-lo)*size:(o-lo+1)*size], tile)
			for r := range min(tileRows, j.n-t*tileRows) {
				y[r*out+o] = treeTile(&s, r)
			}
		}
	}
	for o := lo; o < hi; o++ {
		j.addBias(o)
	}
}

// addBias adds to column o of all rows.
func (j *job) addBias(o int) {
	if j.bias == nil {
		return
	}
	for i := range j.n {
		j.dst[i*j.w.out+o] += j.bias[o]
	}
}
