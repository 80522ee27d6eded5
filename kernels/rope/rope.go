// Package rope rotates queries and keys by their positions.
//
// In: rows [n, heads·headDim] of float32 with a position each, and one angular
// frequency per pair of dimensions. Out: the same rows, rotated in place. The
// package keeps no state and knows nothing of how a model scales its frequencies.
package rope

import (
	"fmt"

	"github.com/farlabs/inference/kernels/canon"
	"github.com/farlabs/inference/kernels/device"
	"github.com/farlabs/inference/kernels/tensor"
)

// Style says which two dimensions of a head form pair j of half pairs.
type Style uint8

const (
	Half        Style = iota // j and j+half (GPT-NeoX, Hugging Face)
	Interleaved              // 2j and 2j+1 (the paper, ggml's "norm")
)

// String returns "half" or "interleaved".
func (s Style) String() string {
	switch s {
	case Half:
		return "half"
	case Interleaved:
		return "interleaved"
	}
	return fmt.Sprintf("style %d", uint8(s))
}

// Elements worth handing to another worker, and angles.
const (
	grain       = 4096
	grainSincos = 256
)

// Apply rotates the first 2·len(inv) dimensions of every head of x
// [n, heads·headDim] in place: pair j of row i by the angle positions[i]·inv[j],
// a product in float32, of which sine and cosine are correctly rounded. It
// borrows everything. Where several tensors turn by the same angles, [Angles]
// and [Rotate] compute sines and cosines once.
//
// Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding", 2021.
func Apply(q *device.Queue, x tensor.Buffer, heads, headDim int, positions []int32, inv []float32, style Style) {
	check(x, heads, headDim, len(positions), len(inv), style)
	if len(x.Data) == 0 || len(inv) == 0 {
		return
	}
	j := jobs.Get()
	j.x, j.heads, j.headDim, j.half, j.style = x.F32(), heads, headDim, len(inv), style
	j.positions, j.inv, j.q = positions, inv, q
	q.ParallelWorkers(x.Rows, 1+grain/x.Cols, j.apply)
	j.x, j.positions, j.inv, j.q = nil, nil, nil, nil
	jobs.Put(j)
}

// Angles writes to dst [n, 2·len(inv)] what [Rotate] needs: in row i the sines,
// then the cosines, of positions[i]·inv[j]. It borrows everything.
func Angles(q *device.Queue, dst tensor.Buffer, positions []int32, inv []float32) {
	if dst.Rows != len(positions) || dst.Cols != 2*len(inv) {
		panic(fmt.Sprintf("rope: angles of %d positions and %d frequencies to [%d,%d]", len(positions), len(inv), dst.Rows, dst.Cols))
	}
	if len(dst.Data) == 0 {
		return
	}
	j := jobs.Get()
	j.angles, j.half, j.positions, j.inv = dst.F32(), len(inv), positions, inv
	q.Parallel(dst.Rows, 1+grainSincos/len(inv), j.fill)
	j.angles, j.positions, j.inv = nil, nil, nil
	jobs.Put(j)
}

// Rotate is [Apply] with sines and cosines from [Angles], one row of angles
// [n, 2·pairs] for each row of x. It borrows everything.
func Rotate(q *device.Queue, x tensor.Buffer, heads, headDim int, angles tensor.Buffer, style Style) {
	check(x, heads, headDim, angles.Rows, angles.Cols/2, style)
	if len(x.Data) == 0 || angles.Cols == 0 {
		return
	}
	j := jobs.Get()
	j.x, j.heads, j.headDim, j.half, j.style, j.angles = x.F32(), heads, headDim, angles.Cols/2, style, angles.F32()
	q.Parallel(x.Rows, 1+grain/x.Cols, j.rotate)
	j.x, j.angles = nil, nil
	jobs.Put(j)
}

func check(x tensor.Buffer, heads, headDim, positions, pairs int, style Style) {
	if x.Cols != heads*headDim || positions != x.Rows || 2*pairs > headDim || style > Interleaved {
		panic(fmt.Sprintf("rope: %s rotation of %d dimensions of [%d,%d], %d heads of %d, %d positions",
			style, 2*pairs, x.Rows, x.Cols, heads, headDim, positions))
	}
}

// job is one call of an op; it is kept for reuse so that a call allocates nothing.
type job struct {
	q                    *device.Queue
	x, inv, angles       []float32
	heads, headDim, half int
	positions            []int32
	style                Style
	apply                func(worker, lo, hi int)
	fill, rotate         func(lo, hi int)
}

var jobs = device.NewSpare(func() *job {
	j := new(job)
	j.apply, j.fill, j.rotate = j.applyRows, j.fillRows, j.rotateRows
	return j
})

// applyRows rotates rows [lo, hi); sines and cosines are computed once per row,
// for all its heads.
func (j *job) applyRows(worker, lo, hi int) {
	t := j.q.Scratch(worker, 2*j.half)
	for i := lo; i < hi; i++ {
		if i == lo || j.positions[i] != j.positions[i-1] {
			sincos(t, j.positions[i], j.inv)
		}
		j.row(i, t)
	}
}

// fillRows computes rows [lo, hi) of the angles.
func (j *job) fillRows(lo, hi int) {
	for i := lo; i < hi; i++ {
		sincos(j.angles[2*j.half*i:][:2*j.half], j.positions[i], j.inv)
	}
}

// rotateRows rotates rows [lo, hi) by angles that are there.
func (j *job) rotateRows(lo, hi int) {
	for i := lo; i < hi; i++ {
		j.row(i, j.angles[2*j.half*i:][:2*j.half])
	}
}

// sincos writes a row of angles: sines, then cosines.
func sincos(t []float32, position int32, inv []float32) {
	sin, cos := t[:len(inv)], t[len(inv):]
	for k, f := range inv {
		sin[k], cos[k] = canon.Sincos(float32(position) * f)
	}
}

// row rotates row i by a row of angles.
func (j *job) row(i int, t []float32) {
	row := j.x[i*j.heads*j.headDim:][:j.heads*j.headDim]
	sin, cos := t[:j.half], t[j.half:]
	if rotateVectors(row, j.headDim, sin, cos, j.style) {
		return
	}
	for h := range j.heads {
		head := row[h*j.headDim:][:2*j.half]
		if j.style == Half {
			rotateHalf(head[:j.half], head[j.half:], sin, cos)
		} else {
			rotateInterleaved(head, sin, cos)
		}
	}
}

func rotateHalf(x, y, sin, cos []float32) {
	y, sin, cos = y[:len(x)], sin[:len(x)], cos[:len(x)]
	for k, a := range x {
		b, s, c := y[k], sin[k], cos[k]
		x[k] = float32(a*c) - float32(b*s)
		y[k] = float32(b*c) + float32(a*s)
	}
}

func rotateInterleaved(x, sin, cos []float32) {
	sin = sin[:len(cos)]
	for k, c := range cos {
		a, b, s := x[2*k], x[2*k+1], sin[k]
		x[2*k] = float32(a*c) - float32(b*s)
		x[2*k+1] = float32(b*c) + float32(a*s)
	}
}
