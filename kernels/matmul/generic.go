package matmul

import (
	"math"
	"unsafe"

	"github.com/farlabs/inference/kernels/canon"
)

// The kernels in plain Go: the specification in docs/design/kernels.md, for any
// format and width.

// operands returns the slices that a tile speaks of.
func operands[B any](f *format, t *tile) (codes, scales []byte, x []B) {
	codes = unsafe.Slice(t.codes, t.blocks*f.codes)
	if f.scales > 0 {
		scales = unsafe.Slice(t.scales, t.blocks/f.span*f.scales)
	}
	return codes, scales, unsafe.Slice((*B)(t.x), t.blocks*t.width)
}

// y returns the results of a column, as many as the panel has rows.
func (t *tile) column(c int) []float32 {
	y := unsafe.Slice((*float32)(unsafe.Add(unsafe.Pointer(t.y), c*t.stride)), t.rows)
	return y
}

// begin sets the results to zero where the sum begins.
func (t *tile) begin() {
	for c := 0; c < t.columns && t.load == 0; c++ {
		clear(t.column(c))
	}
}

// int8Generic multiplies quantised weights by quantised activations.
func (f *format) int8Generic(t *tile) {
	t.begin()
	codes, scales, x := operands[int8Block](f, t)
	for b := range t.blocks {
		w, s := codes[b*f.codes:], scales[b/f.span*f.scales:]
		for r := range t.rows {
			var c [blockLen]byte
			f.unpack(&c, w, r)
			d, m := f.factors(s, b%f.span, r)
			for i := range t.columns {
				x, y := &x[b*t.width+i], &t.column(i)[r]
				switch {
				case f.start == start32: // two scales
					low := dot16((*[16]byte)(c[:]), (*[16]int8)(x.q[:])) + x.starts[start32]
					high := dot16((*[16]byte)(c[16:]), (*[16]int8)(x.q[16:])) + x.starts[start32b]
					*y = canon.FMA(float32(low)*d[0], x.d, *y)
					*y = canon.FMA(float32(high)*d[1], x.d, *y)
				case f.minima:
					p := dot16((*[16]byte)(c[:]), (*[16]int8)(x.q[:])) + dot16((*[16]byte)(c[16:]), (*[16]int8)(x.q[16:]))
					*y = canon.FMA(float32(p)*d[0], x.d, *y)
					*y = canon.FMA(m, x.u, *y)
				default:
					p := dot16((*[16]byte)(c[:]), (*[16]int8)(x.q[:])) + dot16((*[16]byte)(c[16:]), (*[16]int8)(x.q[16:]))
					*y = canon.FMA(float32(p+x.starts[f.start])*d[0], x.d, *y)
				}
			}
		}
	}
}

// dot16 returns Σ c·q.
func dot16(c *[16]byte, q *[16]int8) int32 {
	a := int32(c[0])*int32(q[0]) + int32(c[1])*int32(q[1]) + int32(c[2])*int32(q[2]) + int32(c[3])*int32(q[3])
	b := int32(c[4])*int32(q[4]) + int32(c[5])*int32(q[5]) + int32(c[6])*int32(q[6]) + int32(c[7])*int32(q[7])
	a += int32(c[8])*int32(q[8]) + int32(c[9])*int32(q[9]) + int32(c[10])*int32(q[10]) + int32(c[11])*int32(q[11])
	b += int32(c[12])*int32(q[12]) + int32(c[13])*int32(q[13]) + int32(c[14])*int32(q[14]) + int32(c[15])*int32(q[15])
	return a + b
}

// f32Generic multiplies weights by activations that are not quantised.
func (f *format) f32Generic(t *tile) {
	t.begin()
	codes, scales, x := operands[f32Block](f, t)
	var w [blockLen][panelRows]float32 // codes, or weights of a plain dtype
	var s [2][panelRows]float32
	var m [panelRows]float32
	for b := range t.blocks {
		c := codes[b*f.codes:]
		if f.plain() {
			f.weights(&w, c)
		} else {
			for r := range panelRows {
				var code [blockLen]byte
				f.unpack(&code, c, r)
				for k, v := range code {
					w[k][r] = float32(int32(v) - f.offset)
				}
				var d [2]float32
				d, m[r] = f.factors(scales[b/f.span*f.scales:], b%f.span, r)
				s[0][r], s[1][r] = d[0], d[1]
			}
		}
		for i := range t.columns {
			x, y := &x[b*t.width+i], t.column(i)
			var p [panelRows]float32
			switch {
			case f.plain():
				chains(&p, w[:], x.x[:])
				for r := range y {
					y[r] += p[r]
				}
			case f.start == start32: // two scales
				for h := range 2 {
					p = [panelRows]float32{}
					chains(&p, w[16*h:16*(h+1)], x.x[16*h:])
					for r := range y {
						y[r] = canon.FMA(p[r], s[h][r], y[r])
					}
				}
			default:
				chains(&p, w[:], x.x[:])
				for r := range y {
					y[r] = canon.FMA(p[r], s[0][r], y[r])
					if f.minima {
						y[r] = canon.FMA(m[r], x.sum, y[r])
					}
				}
			}
		}
	}
}

// chains adds w[k][r]·x[k] to p[r], k ascending, each rounded once: canon.FMA,
// whose first half stands here so that it is no call.
func chains(p *[panelRows]float32, w [][panelRows]float32, x []float32) {
	x = x[:len(w)]
	for k := range w {
		v := float64(x[k])
		for r, c := range &w[k] {
			s := float64(float64(c)*v) + float64(p[r])
			if math.Float64bits(s)&(1<<28-1) != 0 {
				p[r] = float32(s)
			} else {
				p[r] = canon.FMA(c, x[k], p[r])
			}
		}
	}
}
