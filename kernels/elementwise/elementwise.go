// Package elementwise holds the ops that take each element by itself.
//
// In and out: float32 buffers of one shape. Nothing is added up, so no result
// depends on a neighbour. The package keeps no state.
package elementwise

import (
	"fmt"
	"math"

	"github.com/farlabs/inference/kernels/canon"
	"github.com/farlabs/inference/kernels/device"
	"github.com/farlabs/inference/kernels/tensor"
)

// Elements worth handing to another worker: of a cheap op, and of one that
// computes an exponential.
const (
	grain    = 16384
	grainExp = 1024
)

// Add adds x to dst, both [n, d].
func Add(q *device.Queue, dst, x tensor.Buffer) {
	check("Add", dst, x)
	do(q, grain, add, dst.F32(), x.F32(), nil)
}

// GateSiLU writes silu(gate)·up to dst, all [n, d]; silu(x) = x/(1+e⁻ˣ). dst
// may be gate or up.
//
// Shazeer, "GLU Variants Improve Transformer", 2020 (SwiGLU).
func GateSiLU(q *device.Queue, dst, gate, up tensor.Buffer) {
	check("GateSiLU", dst, gate)
	check("GateSiLU", dst, up)
	do(q, grainExp, gateSiLU, dst.F32(), gate.F32(), up.F32())
}

// RoundBF16 rounds each element of x [n, d] to the nearest bfloat16, ties to
// even. A NaN stays one.
func RoundBF16(q *device.Queue, x tensor.Buffer) {
	do(q, grain, roundBF16, x.F32(), nil, nil)
}

func check(op string, a, b tensor.Buffer) {
	if a.Rows != b.Rows || a.Cols != b.Cols {
		panic(fmt.Sprintf("elementwise: %s of [%d,%d] and [%d,%d]", op, a.Rows, a.Cols, b.Rows, b.Cols))
	}
}

func add(dst, x, _ []float32) {
	x = x[:len(dst)]
	for i := addVectors(dst, x); i < len(dst); i++ {
		dst[i] += x[i]
	}
}

func gateSiLU(dst, gate, up []float32) {
	gate, up = gate[:len(dst)], up[:len(dst)]
	for i := gateSiLUVectors(dst, gate, up); i < len(dst); i++ {
		dst[i] = canon.SiLU(gate[i]) * up[i]
	}
}

func roundBF16(x, _, _ []float32) {
	for i := roundBF16Vectors(x); i < len(x); i++ {
		v := x[i]
		u := math.Float32bits(v)
		if v == v {
			u += 0x7fff + u>>16&1
		} else {
			u |= 1 << 22 // quiet, so that cutting the payload leaves a NaN
		}
		x[i] = math.Float32frombits(u &^ 0xffff)
	}
}

// job is one call of an op; it is kept for reuse so that a call allocates nothing.
type job struct {
	op      func(a, b, c []float32)
	a, b, c []float32 // b and c may be nil
	run     func(lo, hi int)
}

var jobs = device.NewSpare(func() *job {
	j := new(job)
	j.run = j.part
	return j
})

func do(q *device.Queue, grain int, op func(a, b, c []float32), a, b, c []float32) {
	j := jobs.Get()
	j.op, j.a, j.b, j.c = op, a, b, c
	q.Parallel(len(a), grain, j.run)
	j.op, j.a, j.b, j.c = nil, nil, nil, nil
	jobs.Put(j)
}

// part computes elements [lo, hi).
func (j *job) part(lo, hi int) {
	a, b, c := j.a[lo:hi], j.b, j.c
	if b != nil {
		b = b[lo:hi]
	}
	if c != nil {
		c = c[lo:hi]
	}
	j.op(a, b, c)
}
