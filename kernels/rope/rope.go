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

// grain is the number of elements worth handing to another worker.
const grain = 4096

// Apply rotates the first 2·len(inv) dimensions of every head of x
// [n, heads·headDim] in place: pair j of row i by the angle positions[i]·inv[j],
// a product in float32, of which sine and cosine are correctly rounded. It
// borrows everything.
//
// Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding", 2021.
func Apply(q *device.Queue, x tensor.Buffer, heads, headDim int, positions []int32, inv []float32, style Style) {
	if x.Cols != heads*headDim || len(positions) != x.Rows || 2*len(inv) > headDim || style > Interleaved {
		panic(fmt.Sprintf("rope: %s rotation of %d dimensions of [%d,%d], %d heads of %d, %d positions",
			style, 2*len(inv), x.Rows, x.Cols, heads, headDim, len(positions)))
	}
	if len(x.Data) == 0 || len(inv) == 0 {
		return
	}
	j := jobs.Get()
	j.x, j.heads, j.headDim, j.positions, j.inv, j.style = x.F32(), heads, headDim, positions, inv, style
	j.q = q
	q.ParallelWorkers(x.Rows, 1+grain/x.Cols, j.run)
	j.x, j.positions, j.inv, j.q = nil, nil, nil, nil
	jobs.Put(j)
}

// job is one call of Apply; it is kept for reuse so that a call allocates nothing.
type job struct {
	q              *device.Queue
	x, inv         []float32
	heads, headDim int
	positions      []int32
	style          Style
	run            func(worker, lo, hi int)
}

var jobs = device.NewSpare(func() *job {
	j := new(job)
	j.run = j.rows
	return j
})

// rows rotates rows [lo, hi). Sines and cosines are computed once per row, for
// all its heads: too little work for a table to pay.
func (j *job) rows(worker, lo, hi int) {
	half := len(j.inv)
	t := j.q.Scratch(worker, 2*half)
	sin, cos := t[:half], t[half:]
	last := int32(-1)
	for i := lo; i < hi; i++ {
		if p := j.positions[i]; p != last || i == lo {
			for k, f := range j.inv {
				sin[k], cos[k] = canon.Sincos(float32(p) * f)
			}
			last = p
		}
		row := j.x[i*j.heads*j.headDim:][:j.heads*j.headDim]
		for h := range j.heads {
			head := row[h*j.headDim:][:2*half]
			if j.style == Half {
				rotateHalf(head[:half], head[half:], sin, cos)
			} else {
				rotateInterleaved(head, sin, cos)
			}
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
