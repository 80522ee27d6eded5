// Package tensor holds the dtypes and buffers that kernels, the model and the
// wire share.
//
// A [Buffer] is a row-major matrix [Rows, Cols] of one [DType] over 64-byte
// aligned memory, taken from a [Pool] and given back by Release. A quantised
// dtype packs Cols elements of a row into RowBytes bytes, in ggml's block
// layout. Who owns a buffer stands in each signature: borrows, takes, returns.
//
// The package does no arithmetic and knows nothing of devices or models.
package tensor

import "fmt"

// DType is the type of a tensor's elements, or the block format they are
// packed in. The values are ours, not ggml's.
type DType uint8

// The dtypes. Those from Q4_0 on are ggml's quantised blocks.
const (
	Invalid DType = iota
	F32
	F16
	BF16
	I32
	Q4_0
	Q4_1
	Q5_0
	Q5_1
	Q8_0
	Q4_K
	Q5_K
	Q6_K
	I8 // raw bytes
	numDTypes
)

// layout of a dtype: elements and bytes of one block.
var layout = [numDTypes]struct {
	name         string
	elems, bytes int
}{
	F32:  {"F32", 1, 4},
	F16:  {"F16", 1, 2},
	BF16: {"BF16", 1, 2},
	I32:  {"I32", 1, 4},
	Q4_0: {"Q4_0", 32, 18},
	Q4_1: {"Q4_1", 32, 20},
	Q5_0: {"Q5_0", 32, 22},
	Q5_1: {"Q5_1", 32, 24},
	Q8_0: {"Q8_0", 32, 34},
	Q4_K: {"Q4_K", 256, 144},
	Q5_K: {"Q5_K", 256, 176},
	Q6_K: {"Q6_K", 256, 210},
	I8:   {"I8", 1, 1},
}

// String returns the name as GGUF spells it, "Q4_K".
func (d DType) String() string {
	if d < numDTypes && layout[d].name != "" {
		return layout[d].name
	}
	return fmt.Sprintf("dtype %d", uint8(d))
}

// BlockElems returns the elements in one block, 1 for plain types, 0 if d is unknown.
func (d DType) BlockElems() int {
	if d >= numDTypes {
		return 0
	}
	return layout[d].elems
}

// BlockBytes returns the bytes of one block, 0 if d is unknown.
func (d DType) BlockBytes() int {
	if d >= numDTypes {
		return 0
	}
	return layout[d].bytes
}

// RowBytes returns the bytes of a row of cols elements; cols is a multiple of
// BlockElems, which callers have checked.
func (d DType) RowBytes(cols int) int {
	if d >= numDTypes || layout[d].elems == 0 {
		return 0
	}
	return cols / layout[d].elems * layout[d].bytes
}

// ParseDType reads the form that String writes.
func ParseDType(s string) (DType, error) {
	for d := F32; d < numDTypes; d++ {
		if layout[d].name == s {
			return d, nil
		}
	}
	return Invalid, fmt.Errorf("unknown dtype %q", s)
}
