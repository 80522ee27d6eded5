package weights

import (
	"fmt"
	"math"

	"github.com/farlabs/inference/kernels/tensor"
)

// ggmlTypes maps the numbers that GGUF files hold to our dtypes.
var ggmlTypes = map[uint32]tensor.DType{
	0: tensor.F32, 1: tensor.F16, 2: tensor.Q4_0, 3: tensor.Q4_1, 6: tensor.Q5_0, 7: tensor.Q5_1,
	8: tensor.Q8_0, 12: tensor.Q4_K, 13: tensor.Q5_K, 14: tensor.Q6_K, 26: tensor.I32, 30: tensor.BF16,
}

// foreignTypes names those that exist and are not read, for errors.
var foreignTypes = map[uint32]string{
	4: "Q4_2 (withdrawn)", 5: "Q4_3 (withdrawn)", 9: "Q8_1", 10: "Q2_K", 11: "Q3_K", 15: "Q8_K",
	16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S",
	23: "IQ4_XS", 24: "I8", 25: "I16", 27: "I64", 28: "F64", 29: "IQ1_M", 34: "TQ1_0", 35: "TQ2_0",
	39: "MXFP4", 40: "NVFP4", 41: "Q1_0",
}

// maxDims is ggml's limit on a tensor's dimensions.
const maxDims = 4

// packedSize returns the bytes of a tensor, or why the shape is impossible.
func packedSize(dtype tensor.DType, shape []int) (int64, error) {
	if len(shape) < 1 || len(shape) > maxDims {
		return 0, fmt.Errorf("%d dimensions, want 1 to %d", len(shape), maxDims)
	}
	// 2⁴⁸ elements are 1 PiB of F32: no overflow below, and beyond any model.
	elems := int64(1)
	for _, n := range shape {
		if n < 1 || int64(n) > 1<<48/elems {
			return 0, fmt.Errorf("impossible shape %v", shape)
		}
		elems *= int64(n)
	}
	block := dtype.BlockElems()
	if block == 0 {
		return 0, fmt.Errorf("unknown %s", dtype)
	}
	if in := shape[len(shape)-1]; in%block != 0 {
		return 0, fmt.Errorf("rows of %d elements are no whole number of %s blocks of %d", in, dtype, block)
	}
	size := elems / int64(block) * int64(dtype.BlockBytes())
	if size > math.MaxInt {
		return 0, fmt.Errorf("shape %v of %s does not fit this machine's memory", shape, dtype)
	}
	return size, nil
}
