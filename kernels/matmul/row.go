package matmul

import (
	"github.com/farlabs/inference/kernels/canon"
	"github.com/farlabs/inference/kernels/tensor"
)

// bytes returns row o as it lies in the file.
func (w *Weights) bytes(o int) []byte { return w.raw[o*w.rowBytes : (o+1)*w.rowBytes] }

// rowScratch returns the floats of scratch that row and dots want.
func (w *Weights) rowScratch() int {
	if w.format == nil {
		return w.in
	}
	return w.in + w.format.scratch(w.in)
}

// row returns row o dequantised, in mem or, where it lies ready, in the file.
func (w *Weights) row(mem []float32, o int) []float32 {
	raw, dst, f := w.bytes(o), mem[:w.in], w.format
	switch w.dtype {
	case tensor.F32:
		if row, ok := borrowF32(raw); ok {
			return row
		}
		convertF32(dst, raw)
	case tensor.F16:
		convertF16(dst, raw)
	case tensor.BF16:
		convertBF16(dst, raw)
	default:
		c := f.codesIn(mem[w.in:], w.in)
		f.unpack(c, raw)
		switch {
		case f.least:
			expandMin32(arrays[[32]float32](dst), arrays[[32]byte](c.code), c.scale, f.values)
		case f.group == 32:
			expand32(arrays[[32]float32](dst), arrays[[32]byte](c.code), c.scale, f.values)
		default:
			expand16(arrays[[16]float32](dst), arrays[[16]byte](c.code), c.scale, f.values)
		}
	}
	return dst
}

// dots writes the products of row o with n rows of x, w.in apart, to y, stride
// apart. Block formats are not dequantised to memory on the way.
func (w *Weights) dots(y []float32, stride int, mem []float32, o int, x []float32, n int) {
	in, f := w.in, w.format
	if f == nil {
		row := w.row(mem, o)
		for i := range n {
			y[i*stride] = canon.Dot(row, x[i*in:(i+1)*in])
		}
		return
	}
	c := f.codesIn(mem, in)
	f.unpack(c, w.bytes(o))
	for i := range n {
		xi := x[i*in : (i+1)*in]
		var s [canon.Lanes]float32
		switch {
		case f.least:
			dotMin32(&s, arrays[[32]byte](c.code), c.scale, arrays[[32]float32](xi), f.values)
		case f.group == 32:
			dot32(&s, arrays[[32]byte](c.code), c.scale, arrays[[32]float32](xi), f.values)
		default:
			dot16(&s, arrays[[16]byte](c.code), c.scale, arrays[[16]float32](xi), f.values)
		}
		y[i*stride] = canon.Tree(&s)
	}
}
