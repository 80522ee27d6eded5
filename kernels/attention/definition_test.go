package attention

import (
	"math"

	"github.com/farlabs/inference/kernels/canon"
)

// definition computes the comment of Causal word by word, without pages, for
// one position.
func definition(b branch, p Params, i int) []float32 {
	d, row := p.HeadDim, make([]float32, p.Heads*p.HeadDim)
	for h := range p.Heads {
		kv := h / (p.Heads / p.KVHeads) * d
		q, out := b.q.Row(i)[h*d:(h+1)*d], row[h*d:(h+1)*d]
		m, l := float32(math.Inf(-1)), float32(0)
		for lo := 0; lo <= i; lo += 256 {
			hi := min(lo+256, i+1)
			w, was := make([]float32, hi-lo), m
			for j := range w {
				w[j] = canon.Dot(q, b.k.Row(lo + j)[kv:kv+d]) * p.Scale
				m = max(m, w[j])
			}
			c := canon.Exp(was - m)
			var sum [16]float32
			for j := range w {
				w[j] = canon.Exp(w[j] - m)
				sum[j%16] += w[j]
			}
			l = float32(l*c) + canon.Tree(&sum)
			for x := range out {
				var sum [16]float32
				for j := range w {
					sum[j%16] += float32(w[j] * b.v.Row(lo + j)[kv+x])
				}
				out[x] = float32(out[x]*c) + canon.Tree(&sum)
			}
		}
		for x := range out {
			out[x] /= l
		}
	}
	return row
}
