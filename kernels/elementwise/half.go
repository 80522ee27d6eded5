package elementwise

import (
	"encoding/binary"

	"github.com/farlabs/inference/kernels/quant"
)

// PutBF16 writes x to dst, 2·len(x) bytes of little-endian bfloat16, rounded to
// nearest even. It runs on the calling goroutine.
func PutBF16(dst []byte, x []float32) {
	dst = dst[:2*len(x)]
	for i := putBF16Vectors(dst, x); i < len(x); i++ {
		binary.LittleEndian.PutUint16(dst[2*i:], quant.F32ToBF16(x[i]))
	}
}

// GetBF16 reads the len(x) numbers that PutBF16 wrote to src; it is exact. It
// runs on the calling goroutine.
func GetBF16(x []float32, src []byte) {
	src = src[:2*len(x)]
	for i := getBF16Vectors(x, src); i < len(x); i++ {
		x[i] = quant.BF16ToF32(binary.LittleEndian.Uint16(src[2*i:]))
	}
}

// PutF16 writes x to dst, 2·len(x) bytes of little-endian IEEE half precision,
// rounded to nearest even. It runs on the calling goroutine.
func PutF16(dst []byte, x []float32) {
	dst = dst[:2*len(x)]
	for i := putF16Vectors(dst, x); i < len(x); i++ {
		binary.LittleEndian.PutUint16(dst[2*i:], quant.F32ToF16(x[i]))
	}
}

// GetF16 reads the len(x) numbers that PutF16 wrote to src; it is exact. It
// runs on the calling goroutine.
func GetF16(x []float32, src []byte) {
	src = src[:2*len(x)]
	for i := getF16Vectors(x, src); i < len(x); i++ {
		x[i] = quant.F16ToF32(binary.LittleEndian.Uint16(src[2*i:]))
	}
}
