package matmul

import "github.com/farlabs/inference/kernels/tensor"

// Rows are taken panelRows at a time, and in each the elements blockLen at a
// time. docs/design/kernels.md has the tables that this file and its neighbours
// speak of.
const (
	panelRows = 16
	blockLen  = 32
)

// dtypes bounds the values of the dtypes of weights.
const dtypes = int(tensor.Q6_K) + 1

// format says how the blocks of a dtype lie in a panel and how they are read.
type format struct {
	dtype  tensor.DType
	span   int  // blocks that share a record of scales: those of one block of the file
	codes  int  // bytes of the codes of a block, all rows of the panel
	scales int  // bytes of a record of scales, all rows; 0 for the plain dtypes
	bits   int  // of a code; 0 for the plain dtypes
	minima bool // w = s·c + m; without, w = s·c
	start  int  // which start of an activation's block takes the offset off the codes
	offset int32

	// pack writes the codes and scales of a panel from rows of the file, which
	// lie rowBytes apart; there may be fewer than panelRows of them.
	pack func(codes, scales, raw []byte, rows, rowBytes int)
	// factors reads the scales of a row's block, the first or a later one of its
	// span: of its first 16 elements, of its others, and its minimum.
	factors func(scales []byte, block, row int) (s [2]float32, m float32)
}

var formats = [dtypes]*format{
	tensor.F32:  {span: 1, codes: 2048, pack: packF32},
	tensor.F16:  {span: 1, codes: 1024, pack: packHalves},
	tensor.BF16: {span: 1, codes: 1024, pack: packHalves},
	tensor.Q4_0: {span: 1, codes: 256, scales: 32, start: start8, offset: 8, pack: packQ4_0, bits: 4, factors: factors1},
	tensor.Q4_1: {span: 1, codes: 256, scales: 64, minima: true, pack: packQ4_1, bits: 4, factors: factors2},
	tensor.Q5_0: {span: 1, codes: 320, scales: 32, start: start16, offset: 16, pack: packQ5_0, bits: 5, factors: factors1},
	tensor.Q5_1: {span: 1, codes: 320, scales: 64, minima: true, pack: packQ5_1, bits: 5, factors: factors2},
	tensor.Q8_0: {span: 1, codes: 512, scales: 32, start: start128, offset: 128, pack: packQ8_0, bits: 8, factors: factors1},
	tensor.Q4_K: {span: 8, codes: 256, scales: 320, minima: true, pack: packQ4_K, bits: 4, factors: factorsK},
	tensor.Q5_K: {span: 8, codes: 320, scales: 320, minima: true, pack: packQ5_K, bits: 5, factors: factorsK},
	tensor.Q6_K: {span: 8, codes: 384, scales: 288, start: start32, offset: 32, pack: packQ6_K, bits: 6, factors: factors6},
}

func init() {
	for d, f := range formats {
		if f != nil {
			f.dtype = tensor.DType(d)
		}
	}
}

// plain reports that weights are no codes.
func (f *format) plain() bool { return f.bits == 0 }

// formatOf returns the format of a dtype, nil if it is none of weights.
func formatOf(d tensor.DType) *format {
	if int(d) < dtypes {
		return formats[d]
	}
	return nil
}

// blocks returns the blocks of a row of in elements, whole spans of them.
func (f *format) blocks(in int) int {
	n := (in + blockLen - 1) / blockLen
	return (n + f.span - 1) / f.span * f.span
}

// regions returns the bytes of a panel's codes and of its scales.
func (f *format) regions(in int) (codes, scales int) {
	n := f.blocks(in)
	return align(n * f.codes), align(n / f.span * f.scales)
}

// align returns n rounded up to a multiple of a cache line and a ZMM register.
func align(n int) int { return (n + 63) &^ 63 }
