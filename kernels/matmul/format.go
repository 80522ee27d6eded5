package matmul

import (
	"encoding/binary"
	"unsafe"

	"github.com/farlabs/inference/kernels/quant"
	"github.com/farlabs/inference/kernels/tensor"
)

// A row of a block format is read in two steps. First its quants are unpacked,
// eight at a time in a uint64, to one byte per element, its scales to pairs
// (scale, minimum) of float32, one per group of 16 or 32 elements. Then one
// loop, the same for every format, computes
//
//	w = values[code]·scale + minimum
//
// for all elements, either into memory or straight into the sums. values maps a
// code to its integer, offset taken off, so that the conversion is a load.

// format says how a block format's rows are read.
type format struct {
	group  int           // elements per scale: 16, or 32
	least  bool          // has minima; without, they are not added, since x + 0 is not always x
	values *[256]float32 // code → integer
	unpack func(c codes, raw []byte)
}

// codes is a row between the two steps.
type codes struct {
	code  []byte       // [in]
	scale [][2]float32 // [in/group]: scale, minimum
}

// formats of the block dtypes; the others have no unpack.
var formats = map[tensor.DType]*format{
	tensor.Q4_0: {32, false, integers(8), unpackQ4_0},
	tensor.Q4_1: {32, true, integers(0), unpackQ4_1},
	tensor.Q5_0: {32, false, integers(16), unpackQ5_0},
	tensor.Q5_1: {32, true, integers(0), unpackQ5_1},
	tensor.Q8_0: {32, false, signed(), unpackQ8_0},
	tensor.Q4_K: {32, true, integers(0), unpackQ4_K},
	tensor.Q5_K: {32, true, integers(0), unpackQ5_K},
	tensor.Q6_K: {16, false, integers(32), unpackQ6_K},
}

// integers returns the table of code − offset.
func integers(offset int) *[256]float32 {
	t := new([256]float32)
	for i := range t {
		t[i] = float32(i - offset)
	}
	return t
}

// signed returns the table of codes in two's complement.
func signed() *[256]float32 {
	t := new([256]float32)
	for i := range t {
		t[i] = float32(int8(i))
	}
	return t
}

// halves is the value of every f16.
var halves = func() *[1 << 16]float32 {
	t := new([1 << 16]float32)
	for i := range t {
		t[i] = quant.F16ToF32(uint16(i))
	}
	return t
}()

// half reads the f16 at the head of b.
func half(b []byte) float32 { return halves[binary.LittleEndian.Uint16(b)] }

// scratch returns the number of floats that hold the codes of a row of in elements.
func (f *format) scratch(in int) int { return in/4 + in/f.group*2 }

// codesIn lays the codes of a row of in elements out in scratch memory.
func (f *format) codesIn(mem []float32, in int) codes {
	n := in / f.group
	pairs, rest := mem[:2*n], mem[2*n:2*n+in/4]
	return codes{
		code:  unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(rest))), in),
		scale: unsafe.Slice((*[2]float32)(unsafe.Pointer(unsafe.SliceData(pairs))), n),
	}
}

// arrays returns s as whole arrays A of its elements E, in the same memory:
// indices into an array that are constants need no check.
func arrays[A, E any](s []E) []A {
	var a A
	var e E
	n := len(s) / int(unsafe.Sizeof(a)/unsafe.Sizeof(e))
	return unsafe.Slice((*A)(unsafe.Pointer(unsafe.SliceData(s))), n)
}
