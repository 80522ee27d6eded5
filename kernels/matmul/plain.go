package matmul

import (
	"encoding/binary"
	"math"
	"unsafe"
)

// Rows of the plain dtypes, converted eight at a time.

// littleEndian says that a float32 in memory looks as it does in a file.
var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// borrowF32 returns a row of F32 weights as it lies in memory, where it can be
// read there.
func borrowF32(raw []byte) (row []float32, ok bool) {
	p := unsafe.Pointer(unsafe.SliceData(raw))
	if !littleEndian || uintptr(p)%4 != 0 {
		return nil, false
	}
	return unsafe.Slice((*float32)(p), len(raw)/4), true
}

func convertF32(dst []float32, raw []byte) {
	for i := range dst {
		dst[i] = math.Float32frombits(le.Uint32(raw[4*i:]))
	}
}

func convertF16(dst []float32, raw []byte) {
	in, out := arrays[[16]byte](raw), arrays[[8]float32](dst)
	for i := range out {
		p, q := &in[i], &out[i]
		q[0], q[1], q[2], q[3] = half(p[0:]), half(p[2:]), half(p[4:]), half(p[6:])
		q[4], q[5], q[6], q[7] = half(p[8:]), half(p[10:]), half(p[12:]), half(p[14:])
	}
	for i := len(out) * 8; i < len(dst); i++ {
		dst[i] = half(raw[2*i:])
	}
}

func convertBF16(dst []float32, raw []byte) {
	in, out := arrays[[16]byte](raw), arrays[[8]float32](dst)
	for i := range out {
		p, q := &in[i], &out[i]
		q[0], q[1], q[2], q[3] = top(p[0:]), top(p[2:]), top(p[4:]), top(p[6:])
		q[4], q[5], q[6], q[7] = top(p[8:]), top(p[10:]), top(p[12:]), top(p[14:])
	}
	for i := len(out) * 8; i < len(dst); i++ {
		dst[i] = top(raw[2*i:])
	}
}

// top reads the bf16 at the head of b.
func top(b []byte) float32 { return math.Float32frombits(uint32(le.Uint16(b)) << 16) }
