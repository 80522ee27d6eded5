package wire

import (
	"encoding/binary"
	"math"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/elementwise"
)

// PutRows writes src into dst in the wire dtype, rounding to nearest even. dst
// holds len(src)·dtype.Bytes() bytes; dtype is f32 or bf16.
func PutRows(dst []byte, src []float32, dtype inference.WireDType) {
	if dtype == inference.WireBF16 {
		elementwise.PutBF16(dst, src)
		return
	}
	for i, v := range src {
		binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(v))
	}
}

// GetRows reads what PutRows wrote; it is exact.
func GetRows(dst []float32, src []byte, dtype inference.WireDType) {
	if dtype == inference.WireBF16 {
		elementwise.GetBF16(dst, src)
		return
	}
	for i := range dst {
		dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
	}
}
