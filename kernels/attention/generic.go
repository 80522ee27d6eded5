package attention

import (
	"math"

	"github.com/farlabs/inference/kernels/canon"
	"github.com/farlabs/inference/kernels/quant"
)

// The functions below are what kernels names, in plain Go: the specification.

func scores(s, q []float32, rows int, pages []Page, head, dim int, l *layout, scale float32) {
	for i, page := range pages {
		var sum [maxRows][PageSize]float32
		var k [PageSize]float32
		b := page[head:]
		for d := range dim {
			l.keys(&k, b, d)
			for r := range rows {
				x, acc := q[r*dimStride+d], &sum[r]
				for t := range acc {
					acc[t] = canon.FMA(x, k[t], acc[t])
				}
			}
		}
		for r := range rows {
			for t, v := range sum[r] {
				s[r*scoreStride+i*PageSize+t] = v * scale
			}
		}
	}
}

func mix(p, w []float32, rows int, pages []Page, head int, l *layout, from, to, _ int) {
	var v [16]float32
	for c := 0; c < l.pad; c += 16 {
		for j := from; j < to; j++ {
			l.dims(&v, pages[j/PageSize][head:], j%PageSize, c)
			for r := range rows {
				x, acc := w[r*scoreStride+j], (*[16]float32)(p[r*dimStride+c:])
				for t := range acc {
					acc[t] = canon.FMA(x, v[t], acc[t])
				}
			}
		}
	}
}

func softcap(s []float32, limit float32) {
	for i, v := range s {
		s[i] = limit * canon.Tanh(v/limit)
	}
}

func bias(s []float32, slope, first float32) {
	for i := range s {
		s[i] += float32(slope * (first + float32(i)))
	}
}

func softmax(s []float32, most, sum *float32) {
	m := float32(math.Inf(-1))
	for _, v := range s {
		if v > m {
			m = v
		}
	}
	var lanes [canon.Lanes]float32
	for i, v := range s {
		s[i] = canon.Exp(v - m)
		lanes[i%canon.Lanes] += s[i]
	}
	*most, *sum = m, canon.Tree(&lanes)
}

func merge(o, p []float32, a, b float32) {
	for x, v := range p {
		o[x] = canon.FMA(v, b, float32(o[x]*a))
	}
}

func divide(dst, o []float32, l float32) {
	for x, v := range o {
		dst[x] = v / l
	}
}

func halves(dst []byte, src []float32) {
	for i, v := range src {
		put16(dst, i, quant.F32ToF16(v))
	}
}
