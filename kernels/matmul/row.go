package matmul

import (
	"github.com/farlabs/inference/kernels/canon"
	"github.com/farlabs/inference/kernels/tensor"
)

// bytes returns row o as it lies in the file.
func (w *Weights) bytes(o int) []byte { return w.raw[o*w.rowBytes : (o+1)*w.rowBytes] }

// rowScratch returns the floats of scratch that lanes and dots want.
func (w *Weights) rowScratch() int {
	if w.format == nil {
		return w.in
	}
	return w.format.scratch(w.in)
}

// plain returns row o of a plain dtype, converted in mem or, where it can be
// read there, in the file.
func (w *Weights) plain(mem []float32, o int) []float32 {
	raw, dst := w.bytes(o), mem[:w.in]
	switch w.dtype {
	case tensor.F16:
		convertF16(dst, raw)
	case tensor.BF16:
		convertBF16(dst, raw)
	default:
		if row, ok := borrowF32(raw); ok {
			return row
		}
		convertF32(dst, raw)
	}
	return dst
}

// lanes writes row o, dequantised and laid out by lane, to dst [16][⌈in/16⌉].
func (w *Weights) lanes(dst, mem []float32, o int) {
	f := w.format
	if f == nil {
		packRow(dst, w.plain(mem, o))
		return
	}
	c := f.codesIn(mem, w.in)
	f.unpack(c, w.bytes(o))
	code := arrays[[32]byte](c.code)
	switch {
	case f.least:
		lanesMin32(dst, code, c.scale, f.values)
	case f.group == 32:
		lanes32(dst, code, c.scale, f.values)
	default:
		lanes16(dst, code, arrays[[2][2]float32](c.scale), f.values)
	}
}

// dots writes the products of row o with n rows of x, w.in apart, to y, stride
// apart. Block formats are not dequantised to memory on the way.
func (w *Weights) dots(y []float32, stride int, mem []float32, o int, x []float32, n int) {
	in, f := w.in, w.format
	if f == nil {
		row := w.plain(mem, o)
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
