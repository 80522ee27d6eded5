package kerneltest

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/farlabs/inference/kernels/quant"
	"github.com/farlabs/inference/kernels/tensor"
)

// Weights lists the dtypes that weights may have.
var Weights = []tensor.DType{
	tensor.F32, tensor.F16, tensor.BF16, tensor.Q4_0, tensor.Q4_1, tensor.Q5_0,
	tensor.Q5_1, tensor.Q8_0, tensor.Q4_K, tensor.Q5_K, tensor.Q6_K,
}

// Rand returns a generator for the seed.
func Rand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0xfa51ab5)) }

// Floats returns n numbers of the standard normal distribution.
func Floats(r *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	return x
}

// Special holds numbers at which arithmetic goes wrong first: zeros,
// subnormals, ties of bfloat16 and of half precision, the ends of the
// exponential, infinities, NaN.
var Special = []float32{
	0, float32(math.Copysign(0, -1)), 1e-45, -1e-45, 0x1p-126, -0x1p-126, 0x1.fffffcp-127,
	1, -1, 0x1.01p0, 0x1.03p0, 0x1.002p0, 0x1.006p0, 65519.996, 65520, 0x1p-24, 0x1p-25, 0x1.8p-25,
	88.72283, 88.72284, -87.33654, -87.33655, 104, -104, math.MaxFloat32, -math.MaxFloat32,
	float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN()),
}

// Bits returns the numbers whose bits are in data, 4 bytes each: what a fuzz
// target makes of its input. They begin 4 bytes past a multiple of 64 bytes,
// where no vector is aligned.
func Bits(data []byte) []float32 {
	n := len(data) / 4
	x := tensor.NewPool(0).Get(tensor.F32, 1, n+1).F32()[1:]
	for i := range x {
		x[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
	}
	return x
}

// Bytes is the inverse of [Bits], for a fuzz target's seeds.
func Bytes(x []float32) []byte {
	raw := make([]byte, 4*len(x))
	for i, v := range x {
		binary.LittleEndian.PutUint32(raw[4*i:], math.Float32bits(v))
	}
	return raw
}

// Buffer returns [rows, cols] of such numbers.
func Buffer(r *rand.Rand, rows, cols int) tensor.Buffer {
	return tensor.Of(Floats(r, rows*cols), rows, cols)
}

// Zeros returns a buffer [rows, cols] of zeros.
func Zeros(rows, cols int) tensor.Buffer { return tensor.Of(make([]float32, rows*cols), rows, cols) }

// halfFields are the offsets of the f16 scales in a block.
var halfFields = map[tensor.DType][]int{
	tensor.Q4_0: {0}, tensor.Q4_1: {0, 2}, tensor.Q5_0: {0}, tensor.Q5_1: {0, 2}, tensor.Q8_0: {0},
	tensor.Q4_K: {0, 2}, tensor.Q5_K: {0, 2}, tensor.Q6_K: {208},
}

// Raw returns n elements of dtype as a file holds them, n a multiple of its
// blocks: normal numbers of deviation 0.05 for the plain dtypes, random quants
// with scales of either sign between 2⁻¹⁰ and 2⁻⁵ for the others.
func Raw(r *rand.Rand, dtype tensor.DType, n int) []byte {
	raw := make([]byte, dtype.RowBytes(n))
	switch dtype {
	case tensor.F32, tensor.F16, tensor.BF16:
		for i := range n {
			v := float32(r.NormFloat64() * 0.05)
			switch dtype {
			case tensor.F32:
				binary.LittleEndian.PutUint32(raw[4*i:], math.Float32bits(v))
			case tensor.F16:
				binary.LittleEndian.PutUint16(raw[2*i:], quant.F32ToF16(v))
			default:
				binary.LittleEndian.PutUint16(raw[2*i:], quant.F32ToBF16(v))
			}
		}
		return raw
	}
	for i := range raw {
		raw[i] = byte(r.Uint32())
	}
	for b := 0; b < len(raw); b += dtype.BlockBytes() {
		for _, at := range halfFields[dtype] {
			h := uint16(r.Uint32())&0x83ff | uint16(5+r.IntN(5))<<10
			binary.LittleEndian.PutUint16(raw[b+at:], h)
		}
	}
	return raw
}

// Dequantized returns the n elements in raw.
func Dequantized(t testing.TB, dtype tensor.DType, raw []byte, n int) []float32 {
	t.Helper()
	x := make([]float32, n)
	if err := quant.Dequantize(x, dtype, raw); err != nil {
		t.Fatal(err)
	}
	return x
}
