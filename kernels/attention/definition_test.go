package attention

import (
	"math"

	inference "github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/canon"
	"github.com/farlabs/inference/kernels/kerneltest"
	"github.com/farlabs/inference/kernels/quant"
	"github.com/farlabs/inference/kernels/tensor"
)

// kept returns what a page gives back for one head of one position.
func kept(kv inference.KVDType, x []float32) []float32 {
	out := make([]float32, len(x))
	for i := range x {
		switch kv {
		case inference.KVF32:
			out[i] = x[i]
		case inference.KVF16:
			out[i] = quant.F16ToF32(quant.F32ToF16(x[i]))
		case inference.KVQ8:
			g := x[i/32*32 : min(i/32*32+32, len(x))]
			a := float32(0)
			for _, v := range g {
				a = max(a, float32(math.Abs(float64(v))))
			}
			if d := quant.F16ToF32(quant.F32ToF16(a / 127)); d != 0 {
				out[i] = float32(math.RoundToEven(float64(x[i]*(127/a)))) * d
			}
		}
	}
	return out
}

// kept returns the branch as pages give it back.
func (b branch) kept(p Params) branch {
	round := func(x tensor.Buffer) tensor.Buffer {
		out := kerneltest.Zeros(x.Rows, x.Cols)
		for at := 0; at < len(x.F32()); at += p.HeadDim {
			copy(out.F32()[at:], kept(p.KV, x.F32()[at:at+p.HeadDim]))
		}
		return out
	}
	return branch{b.q, round(b.k), round(b.v)}
}

// definition computes the comment of Causal word by word, without pages, for
// one position of a branch of what they keep.
func definition(b branch, p Params, i int) []float32 {
	d, row := p.HeadDim, make([]float32, p.Heads*p.HeadDim)
	for h := range p.Heads {
		kv := h / (p.Heads / p.KVHeads) * d
		q, out := b.q.Row(i)[h*d:(h+1)*d], row[h*d:(h+1)*d]
		m, l := float32(math.Inf(-1)), float32(0)
		start := 0
		if p.Window > 0 {
			start = max(0, i-p.Window+1)
		}
		for block := start / 256; block <= i/256; block++ {
			lo, hi := max(start, block*256), min(block*256+256, i+1)
			w, most := make([]float32, hi-lo), float32(math.Inf(-1))
			for j := range w {
				for x, k := range b.k.Row(lo + j)[kv : kv+d] {
					w[j] = canon.FMA(q[x], k, w[j])
				}
				w[j] *= p.Scale
				if p.Softcap != 0 {
					w[j] = p.Softcap * canon.Tanh(w[j]/p.Softcap)
				}
				if p.Slopes != nil {
					w[j] += float32(p.Slopes[h] * float32(lo+j-i))
				}
				most = max(most, w[j])
			}
			var sum [16]float32
			o := make([]float32, d)
			for j := range w {
				w[j] = canon.Exp(w[j] - most)
				sum[(lo+j)%16] += w[j]
				for x, v := range b.v.Row(lo + j)[kv : kv+d] {
					o[x] = canon.FMA(w[j], v, o[x])
				}
			}
			next := max(m, most)
			x, y := canon.Exp(m-next), canon.Exp(most-next)
			m, l = next, float32(l*x)+float32(canon.Tree(&sum)*y)
			for e := range out {
				out[e] = canon.FMA(o[e], y, float32(out[e]*x))
			}
		}
		for x := range out {
			out[x] /= l
		}
	}
	return row
}
