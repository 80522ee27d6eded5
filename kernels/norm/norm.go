// Package norm scales rows to unit size.
//
// In: rows [n, d] of float32 and a weight [d]. Out: rows of the same shape.
// The package keeps no state and knows nothing of where in a model a norm stands.
package norm

import (
	"fmt"
	"math"

	"github.com/farlabs/inference/kernels/canon"
	"github.com/farlabs/inference/kernels/device"
	"github.com/farlabs/inference/kernels/tensor"
)

// grain is the number of elements worth handing to another worker.
const grain = 8192

// RMS writes x/√(mean(x²)+eps)·weight, row by row, to dst [n, d]; x [n, d] may
// be dst. weight has d elements. It borrows everything.
//
// Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019. The sum of
// squares has 16 lanes; 1/√ is a square root and a division.
func RMS(q *device.Queue, dst, x tensor.Buffer, weight []float32, eps float32) {
	if dst.Rows != x.Rows || dst.Cols != x.Cols || len(weight) != x.Cols {
		panic(fmt.Sprintf("norm: [%d,%d] of [%d,%d] with %d weights", dst.Rows, dst.Cols, x.Rows, x.Cols, len(weight)))
	}
	if x.Rows == 0 || x.Cols == 0 {
		return
	}
	j := jobs.Get()
	j.dst, j.x, j.weight, j.eps = dst.F32(), x.F32(), weight, eps
	q.Parallel(x.Rows, 1+grain/x.Cols, j.run)
	j.dst, j.x, j.weight = nil, nil, nil
	jobs.Put(j)
}

// job is one call of RMS; it is kept for reuse so that a call allocates nothing.
type job struct {
	dst, x, weight []float32
	eps            float32
	run            func(lo, hi int)
}

var jobs = device.NewSpare(func() *job {
	j := new(job)
	j.run = j.rows
	return j
})

// rows computes rows [lo, hi).
func (j *job) rows(lo, hi int) {
	d := len(j.weight)
	for i := lo; i < hi; i++ {
		x, y := j.x[i*d:(i+1)*d], j.dst[i*d:(i+1)*d]
		mean := squares(x) / float32(d)
		scale := 1 / float32(math.Sqrt(float64(mean+j.eps))) // correctly rounded: float64 has more than twice the bits
		for k := scaleVectors(y, x, j.weight, scale); k < d; k++ {
			y[k] = float32(x[k]*scale) * j.weight[k]
		}
	}
}

// squares is canon.SumSquares.
func squares(x []float32) float32 {
	var s [canon.Lanes]float32
	done := squaresVectors(&s, x)
	if done == 0 {
		return canon.SumSquares(x)
	}
	for i, v := range x[done:] {
		s[i] += float32(v * v)
	}
	return canon.Tree(&s)
}
