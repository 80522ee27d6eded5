package matmul

import (
	"encoding/binary"
	"math"

	"github.com/farlabs/inference/kernels/canon"
	"github.com/farlabs/inference/kernels/quant"
	"github.com/farlabs/inference/kernels/tensor"
)

// What docs/design/kernels.md says, transcribed as literally as can be, from
// the bytes of a file on.

// weight is one element of a row: w = s·c + m, or v alone.
type weight struct {
	c    int32
	s, m float32
	v    float32
}

func f16(b []byte) float32 { return quant.F16ToF32(binary.LittleEndian.Uint16(b)) }

// element reads element i of a row.
func element(d tensor.DType, raw []byte, i int) weight {
	nibble := func(q []byte, i int) int32 { return int32(q[i%16] >> (4 * (i / 16)) & 15) } // of 32 elements
	fifth := func(h []byte, i int) int32 { return int32(binary.LittleEndian.Uint32(h)>>i&1) << 4 }
	b := raw
	if n := d.BlockElems(); n > 1 {
		b, i = raw[i/n*d.BlockBytes():], i%n
	}
	switch d {
	case tensor.F32:
		return weight{v: math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))}
	case tensor.F16:
		return weight{v: f16(b[2*i:])}
	case tensor.BF16:
		return weight{v: quant.BF16ToF32(binary.LittleEndian.Uint16(b[2*i:]))}
	case tensor.Q4_0:
		return weight{c: nibble(b[2:], i) - 8, s: f16(b)}
	case tensor.Q4_1:
		return weight{c: nibble(b[4:], i), s: f16(b), m: f16(b[2:])}
	case tensor.Q5_0:
		return weight{c: nibble(b[6:], i) + fifth(b[2:], i) - 16, s: f16(b)}
	case tensor.Q5_1:
		return weight{c: nibble(b[8:], i) + fifth(b[4:], i), s: f16(b), m: f16(b[2:])}
	case tensor.Q8_0:
		return weight{c: int32(int8(b[2+i])), s: f16(b)}
	case tensor.Q6_K:
		h, k, l := i/128, i%128/32, i%32
		c := int32(b[64*h+32*(k%2)+l] >> (4 * (k / 2)) & 15)
		c |= int32(b[128+32*h+l]>>(2*k)&3) << 4
		return weight{c: c - 32, s: f16(b[208:]) * float32(int8(b[192+i/16]))}
	}
	// Q4_K and Q5_K
	g, p, q := i/32, b[4:16], b[16:]
	sc, mn := p[g%4]&63, p[g%4+4]&63
	if g >= 4 {
		sc, mn = p[g+4]&15|p[g-4]>>6<<4, p[g+4]>>4|p[g]>>6<<4
	}
	c := int32(0)
	if d == tensor.Q5_K {
		c, q = int32(b[16+i%32]>>g&1)<<4, b[48:]
	}
	c |= int32(q[32*(g/2)+i%32] >> (4 * (g % 2)) & 15)
	return weight{c: c, s: f16(b) * float32(sc), m: -(f16(b[2:]) * float32(mn))}
}

// definition returns one element of x·Wᵀ. raw is a row of weights.
func definition(d tensor.DType, raw []byte, x []float32, act Activations) float32 {
	var w []weight
	for i := range x {
		w = append(w, element(d, raw, i))
	}
	for len(w)%32 != 0 {
		w, x = append(w, weight{}), append(x[:len(x):len(x)], 0)
	}
	plain := d == tensor.F32 || d == tensor.F16 || d == tensor.BF16
	minima := d == tensor.Q4_1 || d == tensor.Q5_1 || d == tensor.Q4_K || d == tensor.Q5_K
	group := 32
	if d == tensor.Q6_K {
		group = 16
	}
	y := float32(0)
	for ; len(x) > 0; w, x = w[32:], x[32:] {
		switch {
		case plain:
			p := float32(0)
			for k := range 32 {
				p = canon.FMA(w[k].v, x[k], p)
			}
			y += p
		case act == F32:
			for h := 0; h < 32; h += group {
				p := float32(0)
				for k := h; k < h+group; k++ {
					p = canon.FMA(float32(w[k].c), x[k], p)
				}
				y = canon.FMA(p, w[h].s, y)
			}
			if minima {
				sum := float32(0)
				for k := range 32 {
					sum += x[k]
				}
				y = canon.FMA(w[0].m, sum, y)
			}
		default:
			q, dx, sum := quantizedBlock(x[:32])
			for h := 0; h < 32; h += group {
				p := int32(0)
				for k := h; k < h+group; k++ {
					p += w[k].c * q[k]
				}
				y = canon.FMA(float32(p)*w[h].s, dx, y)
			}
			if minima {
				y = canon.FMA(w[0].m, dx*float32(sum), y)
			}
		}
	}
	return y
}

// quantizedBlock quantises a block of activations.
func quantizedBlock(x []float32) (q [32]int32, d float32, sum int32) {
	a := float32(0)
	for _, v := range x {
		if v != v || math.IsInf(float64(v), 0) {
			return q, float32(math.NaN()), 0
		}
		a = max(a, v, -v)
	}
	d = a / 127
	if to := 127 / a; !math.IsInf(float64(to), 0) {
		for k, v := range x {
			q[k] = int32(math.RoundToEven(float64(v * to)))
			sum += q[k]
		}
	}
	return q, d, sum
}
