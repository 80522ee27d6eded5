// Package matmul multiplies rows of activations by weights of any dtype.
//
// In: activations x [n, in] of float32 and [Weights] [out, in], packed once
// from the bytes of a model file. Out: x·Wᵀ [n, out] of float32. The weights
// are dequantised on the fly, to exactly the values of quant.Dequantize; no
// copy of a matrix is kept. Each output element is a sum over in of 16 lanes
// (package canon), whatever n, the worker and the tile.
//
// The package owns nothing but its scratch memory, of a bounded size per
// worker. It knows nothing of layers or names.
package matmul

import (
	"fmt"
	"sync"

	"github.com/farlabs/inference/kernels/canon"
	"github.com/farlabs/inference/kernels/device"
	"github.com/farlabs/inference/kernels/tensor"
)

// Linear writes x·Wᵀ + bias to dst: x [n, in], dst [n, out], both f32; bias has
// out elements or is nil. dst must not overlap x. It borrows everything.
func Linear(q *device.Queue, dst, x tensor.Buffer, w *Weights, bias []float32) {
	if x.Cols != w.in || dst.Cols != w.out || dst.Rows != x.Rows || bias != nil && len(bias) != w.out {
		panic(fmt.Sprintf("matmul: [%d,%d] = [%d,%d] × weights [%d,%d], %d biases",
			dst.Rows, dst.Cols, x.Rows, x.Cols, w.out, w.in, len(bias)))
	}
	if x.Rows == 0 || w.out == 0 {
		return
	}
	j := jobs.Get().(*job)
	j.q, j.dst, j.x, j.w, j.bias, j.n = q, dst.F32(), x.F32(), w, bias, x.Rows
	q.ParallelWorkers(w.out, 16, j.run)
	j.q, j.dst, j.x, j.w, j.bias = nil, nil, nil, nil, nil
	jobs.Put(j)
}

// job is one call of Linear; it is kept for reuse so that a call allocates nothing.
type job struct {
	q            *device.Queue
	dst, x, bias []float32
	w            *Weights
	n            int // rows of x
	run          func(worker, lo, hi int)
}

var jobs = sync.Pool{New: func() any {
	j := new(job)
	j.run = j.outputs
	return j
}}

// outputs computes columns [lo, hi) of dst.
func (j *job) outputs(worker, lo, hi int) {
	in, out := j.w.in, j.w.out
	row := j.q.Scratch(worker, in)
	for o := lo; o < hi; o++ {
		j.w.Row(row, o)
		for i := range j.n {
			y := canon.Dot(row, j.x[i*in:(i+1)*in])
			if j.bias != nil {
				y += j.bias[o]
			}
			j.dst[i*out+o] = y
		}
	}
}
