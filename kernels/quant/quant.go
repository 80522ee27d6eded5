// Package quant turns weights as they lie in a file into float32.
//
// [Dequantize] reads a run of elements of one [tensor.DType], plain or packed
// in ggml's little-endian blocks, and writes the same number of float32 values.
// Its results are those of ggml's reference routines bit for bit, which are
// those of the Python package gguf: every product is rounded before it is
// added, on every platform. [F16ToF32], [F32ToF16], [BF16ToF32] and
// [F32ToBF16] convert single values and round to nearest even.
//
// The package owns no memory and keeps no state. It knows nothing of files,
// tensors' names or models, and it does not quantise.
package quant

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/farlabs/inference/kernels/tensor"
)

// Dequantize writes len(dst) elements of dtype, packed in raw, to dst. len(dst)
// must be a multiple of dtype.BlockElems and len(raw) exactly
// dtype.RowBytes(len(dst)); otherwise, and for I32 or an unknown dtype, it
// returns an error and leaves dst alone. It borrows both slices and allocates
// nothing.
func Dequantize(dst []float32, dtype tensor.DType, raw []byte) error {
	f := decoder(dtype)
	if f == nil {
		return fmt.Errorf("dequantize: %s holds no weights that this package can read", dtype)
	}
	if n := dtype.BlockElems(); len(dst)%n != 0 {
		return fmt.Errorf("dequantize: %d elements are no whole number of %s blocks of %d", len(dst), dtype, n)
	}
	if want := dtype.RowBytes(len(dst)); len(raw) != want {
		return fmt.Errorf("dequantize: %d elements of %s take %d bytes, not %d", len(dst), dtype, want, len(raw))
	}
	f(dst, raw)
	return nil
}

// Supported reports whether Dequantize reads dtype.
func Supported(dtype tensor.DType) bool { return decoder(dtype) != nil }

// decoder returns the routine for dtype; it gets slices of matching lengths.
func decoder(dtype tensor.DType) func(dst []float32, raw []byte) {
	switch dtype {
	case tensor.F32:
		return f32
	case tensor.F16:
		return f16
	case tensor.BF16:
		return bf16
	case tensor.Q4_0:
		return q4_0
	case tensor.Q4_1:
		return q4_1
	case tensor.Q5_0:
		return q5_0
	case tensor.Q5_1:
		return q5_1
	case tensor.Q8_0:
		return q8_0
	case tensor.Q4_K:
		return q4_K
	case tensor.Q5_K:
		return q5_K
	case tensor.Q6_K:
		return q6_K
	}
	return nil
}

func f32(dst []float32, raw []byte) {
	for i := range dst {
		dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
	}
}

func f16(dst []float32, raw []byte) {
	for i := range dst {
		dst[i] = F16ToF32(binary.LittleEndian.Uint16(raw[2*i:]))
	}
}

func bf16(dst []float32, raw []byte) {
	for i := range dst {
		dst[i] = BF16ToF32(binary.LittleEndian.Uint16(raw[2*i:]))
	}
}

// half reads the f16 at the head of b: the scale or minimum of a block.
func half(b []byte) float32 { return F16ToF32(binary.LittleEndian.Uint16(b)) }
