//go:build amd64 && !purego

package matmul

import (
	"unsafe"

	"github.com/farlabs/inference/kernels/tensor"
)

//go:generate go -C ../_asm run ./matmul -out ../matmul/f32_amd64.s -decls ../matmul/f32_decl_amd64.go -pkg matmul f32

// f32AVX512 returns the form of activations that are not quantised, for AVX-512.
func f32AVX512() form {
	f := form{
		widths:  []int{1, 2, 3, 4, 6, 8, 12},
		prepare: spread,
		kernels: [dtypes]kernel{
			tensor.F32: {
				one: []func(*tile){plainF32_1x1AVX512, plainF32_1x2AVX512, plainF32_1x3AVX512, plainF32_1x4AVX512,
					plainF32_1x6AVX512, plainF32_1x8AVX512, plainF32_1x12AVX512},
				two: []func(*tile){plainF32_2x1AVX512, plainF32_2x2AVX512, plainF32_2x3AVX512, plainF32_2x4AVX512},
			},
			tensor.F16: {
				one: []func(*tile){plainF16_1x1AVX512, plainF16_1x2AVX512, plainF16_1x3AVX512, plainF16_1x4AVX512,
					plainF16_1x6AVX512, plainF16_1x8AVX512, plainF16_1x12AVX512},
				two: []func(*tile){plainF16_2x1AVX512, plainF16_2x2AVX512, plainF16_2x3AVX512, plainF16_2x4AVX512},
			},
			tensor.BF16: {
				one: []func(*tile){plainBF16_1x1AVX512, plainBF16_1x2AVX512, plainBF16_1x3AVX512, plainBF16_1x4AVX512,
					plainBF16_1x6AVX512, plainBF16_1x8AVX512, plainBF16_1x12AVX512},
				two: []func(*tile){plainBF16_2x1AVX512, plainBF16_2x2AVX512, plainBF16_2x3AVX512, plainBF16_2x4AVX512},
			},
		},
	}
	codedF32(&f)
	return f
}

// f32AVX2 is f32AVX512 for AVX2.
func f32AVX2() form {
	f := form{
		widths:  []int{1, 2, 3, 4, 6},
		prepare: spread,
		kernels: [dtypes]kernel{
			tensor.F32: {
				one: []func(*tile){plainF32_1x1AVX2, plainF32_1x2AVX2, plainF32_1x3AVX2, plainF32_1x4AVX2, plainF32_1x6AVX2},
				two: []func(*tile){plainF32_2x1AVX2, plainF32_2x2AVX2},
			},
			tensor.F16: {
				one: []func(*tile){plainF16_1x1AVX2, plainF16_1x2AVX2, plainF16_1x3AVX2, plainF16_1x4AVX2, plainF16_1x6AVX2},
				two: []func(*tile){plainF16_2x1AVX2, plainF16_2x2AVX2},
			},
			tensor.BF16: {
				one: []func(*tile){plainBF16_1x1AVX2, plainBF16_1x2AVX2, plainBF16_1x3AVX2, plainBF16_1x4AVX2, plainBF16_1x6AVX2},
				two: []func(*tile){plainBF16_2x1AVX2, plainBF16_2x2AVX2},
			},
		},
	}
	codedF32(&f)
	return f
}

// spread is spreadGeneric, for either set.
func spread(dst unsafe.Pointer, stride int, x []float32) {
	spreadAVX2((*byte)(dst), stride, unsafe.SliceData(x), len(x)/blockLen)
}
