//go:build amd64 && !purego

package matmul

import (
	"slices"
	"unsafe"

	"github.com/farlabs/inference/kernels/tensor"
)

// codedF32 adds the kernels of quantised weights and activations that are not
// quantised, for any width. They need AVX2; wider vectors multiply no faster
// on many processors, and these are not the kernels to be fast.
func codedF32(f *form) {
	for d, format := range formats {
		if format != nil && !format.plain() {
			f.kernels[d].one = slices.Repeat([]func(*tile){format.codedAVX2}, len(f.widths))
		}
	}
}

// codedAVX2 writes the codes of a block out as float32, then multiplies them.
func (f *format) codedAVX2(t *tile) {
	var (
		y       [maxWidth][panelRows]float32
		w       [blockLen * panelRows]float32
		factors [3][panelRows]float32
	)
	for c := 0; c < t.columns && t.load != 0; c++ {
		copy(y[c][:], t.column(c))
	}
	codes, scales, x := operands[f32Block](f, t)
	for b := range t.blocks {
		code := &codes[b*f.codes]
		switch f.bits {
		case 4:
			expand4AVX2(&w, code, uint32(f.offset))
		case 5:
			expand5AVX2(&w, code, uint32(f.offset))
		case 6:
			expand6AVX2(&w, code, uint32(f.offset))
		default:
			expand8AVX2(&w, code, uint32(f.offset))
		}
		record, column := &scales[b/f.span*f.scales], (*byte)(unsafe.Pointer(&x[b*t.width]))
		switch {
		case f.dtype == tensor.Q6_K:
			factors6AVX2(&factors, record, &scales[b/f.span*f.scales+32+32*(b%f.span)])
			chainsHalvesAVX2(&y[0], &w, &factors, column, t.columns)
		case f.span > 1:
			factorsKAVX2(&factors, record, &scales[b/f.span*f.scales+64+32*(b%f.span)])
			chainsMinimaAVX2(&y[0], &w, &factors, column, t.columns)
		case f.minima:
			factors2AVX2(&factors, record, nil)
			chainsMinimaAVX2(&y[0], &w, &factors, column, t.columns)
		default:
			factors1AVX2(&factors, record, nil)
			chainsAVX2(&y[0], &w, &factors, column, t.columns)
		}
	}
	for c := range t.columns {
		copy(t.column(c), y[c][:])
	}
}
