package matmul

import (
	"math"
	"unsafe"
)

// Activations says what the activations are when they meet quantised weights.
// Weights of F32, F16 and BF16 always meet F32.
type Activations uint8

// The forms of activations.
const (
	Int8 Activations = iota // integers of eight bits, a scale per 32
	F32                     // as they are
	numActivations
)

// String returns "int8" or "f32".
func (a Activations) String() string {
	switch a {
	case Int8:
		return "int8"
	case F32:
		return "f32"
	}
	return "unknown activations"
}

// Rows of activations are columns to the kernels. They are laid out in tiles of
// up to so many columns, the width: [tile][block][column] of int8Block or
// f32Block. What stands in columns without a row is not used.

// int8Block is a block of 32 activations and what each kernel starts from.
type int8Block struct {
	q [blockLen]int8
	d float32 // the scale
	u float32 // d·float(Σq)
	// starts of an integer product, which take the offset off the codes:
	// −offset·Σq, for 32 in two halves.
	starts [6]int32
}

// The starts of an int8Block.
const (
	start8 = iota
	start16
	start128
	start32  // of elements 0–15
	start32b // of elements 16–31
)

// f32Block is a block of 32 activations and their sum.
type f32Block struct {
	x   [blockLen]float32
	sum float32
	_   [3]float32
}

const (
	int8Size = int(unsafe.Sizeof(int8Block{}))
	f32Size  = int(unsafe.Sizeof(f32Block{}))
)

// quantizeGeneric writes the blocks of x, whose length is a multiple of 32, to
// dst and every stride bytes from there.
func quantizeGeneric(dst unsafe.Pointer, stride int, x []float32) {
	for i := 0; i < len(x); i += blockLen {
		(*int8Block)(unsafe.Add(dst, i/blockLen*stride)).set((*[blockLen]float32)(x[i:]))
	}
}

// set quantises x.
func (b *int8Block) set(x *[blockLen]float32) {
	const infinity, magic = 0x7f80_0000, 3 << 22 // adding magic rounds to an integer, which is then in the low bits
	var most uint32
	for _, v := range x {
		most = max(most, math.Float32bits(v)&^(1<<31)) // ordered as the magnitudes are, NaN above all
	}
	if most >= infinity {
		*b = int8Block{d: float32(math.NaN()), u: float32(math.NaN())}
		return
	}
	a := math.Float32frombits(most)
	b.d = a / 127
	to := 127 / a
	if math.Float32bits(to) == infinity { // a is 0 or next to nothing
		to = 0
	}
	var low, high int32
	for k, v := range x {
		q := int32(math.Float32bits(float32(v*to)+magic)) - 0x4b40_0000
		b.q[k] = int8(q)
		if k < 16 {
			low += q
		} else {
			high += q
		}
	}
	sum := low + high
	b.u = b.d * float32(sum)
	b.starts = [6]int32{-8 * sum, -16 * sum, -128 * sum, -32 * low, -32 * high}
}

// spreadGeneric is quantizeGeneric for activations that stay as they are.
func spreadGeneric(dst unsafe.Pointer, stride int, x []float32) {
	for i := 0; i < len(x); i += blockLen {
		(*f32Block)(unsafe.Add(dst, i/blockLen*stride)).set((*[blockLen]float32)(x[i:]))
	}
}

func (b *f32Block) set(x *[blockLen]float32) {
	b.x, b.sum = *x, 0
	for _, v := range x {
		b.sum += v
	}
}
