package matmul

import (
	"math"

	"github.com/farlabs/inference/kernels/quant"
	"github.com/farlabs/inference/kernels/tensor"
)

// What packers have written, read one row of a block at a time.

// unpack reads the codes of a row of a block, offset included.
func (f *format) unpack(c *[blockLen]byte, codes []byte, row int) {
	switch f.bits {
	case 4:
		unpack4(c, codes, row)
	case 5:
		unpack5(c, codes, row)
	case 6:
		unpack6(c, codes, row)
	default:
		unpack8(c, codes, row)
	}
}

func unpack8(c *[blockLen]byte, codes []byte, row int) {
	for g := range 8 {
		le.PutUint32(c[4*g:], le.Uint32(word(codes, g, row)))
	}
}

func unpack4(c *[blockLen]byte, codes []byte, row int) {
	for g := range 4 {
		v := le.Uint32(word(codes, g, row))
		le.PutUint32(c[4*g:], v&(nibbles&math.MaxUint32))
		le.PutUint32(c[16+4*g:], v>>4&(nibbles&math.MaxUint32))
	}
}

func unpack5(c *[blockLen]byte, codes []byte, row int) {
	unpack4(c, codes, row)
	h := le.Uint32(word(codes, 4, row))
	for g := range 8 {
		le.PutUint32(c[4*g:], le.Uint32(c[4*g:])|h>>g&(ones&math.MaxUint32)<<4)
	}
}

func unpack6(c *[blockLen]byte, codes []byte, row int) {
	unpack4(c, codes, row)
	for g := range 8 {
		h := le.Uint32(word(codes, 4+g/4, row))
		le.PutUint32(c[4*g:], le.Uint32(c[4*g:])|h>>(2*(g%4))&(pairs&math.MaxUint32)<<4)
	}
}

// half reads the f16 of a row.
func half(s []byte, row int) float32 { return quant.F16ToF32(le.Uint16(s[2*row:])) }

// factors1 reads a scale, factors2 a minimum as well.
func factors1(scales []byte, _, row int) (s [2]float32, m float32) {
	d := half(scales, row)
	return [2]float32{d, d}, 0
}

func factors2(scales []byte, _, row int) (s [2]float32, m float32) {
	d := half(scales, row)
	return [2]float32{d, d}, half(scales[32:], row)
}

// factorsK reads those of Q4_K and Q5_K. The minimum is negated because it is
// subtracted: x − m is x + (−m).
func factorsK(scales []byte, block, row int) (s [2]float32, m float32) {
	b := scales[64+32*block:]
	d := half(scales, row) * float32(b[row])
	return [2]float32{d, d}, -(half(scales[32:], row) * float32(b[16+row]))
}

func factors6(scales []byte, block, row int) (s [2]float32, m float32) {
	d, b := half(scales, row), scales[32+32*block:]
	return [2]float32{d * float32(int8(b[row])), d * float32(int8(b[16+row]))}, 0
}

// weights reads a block of a plain dtype: [k][row].
func (f *format) weights(w *[blockLen][panelRows]float32, codes []byte) {
	switch f.dtype {
	case tensor.F16:
		plainF16(w, codes)
	case tensor.BF16:
		plainBF16(w, codes)
	default:
		plainF32(w, codes)
	}
}

func plainF32(w *[blockLen][panelRows]float32, codes []byte) {
	for k := range w {
		c := codes[64*k : 64*(k+1)]
		for r := range w[k] {
			w[k][r] = math.Float32frombits(le.Uint32(c[4*r:]))
		}
	}
}

func plainF16(w *[blockLen][panelRows]float32, codes []byte) {
	for k := range w {
		for r := range w[k] {
			w[k][r] = half(codes[32*k:], r)
		}
	}
}

func plainBF16(w *[blockLen][panelRows]float32, codes []byte) {
	for k := range w {
		c := codes[32*k : 32*(k+1)]
		for r := range w[k] {
			w[k][r] = quant.BF16ToF32(le.Uint16(c[2*r:]))
		}
	}
}
