//go:build amd64 && !purego

package matmul

import (
	"unsafe"

	"github.com/farlabs/inference/kernels/tensor"
)

//go:generate go -C ../_asm run ./matmul -out ../matmul/int8_avx512_amd64.s -decls ../matmul/int8_avx512_decl_amd64.go -pkg matmul int8AVX512

// int8AVX512 returns the form of 8-bit activations for AVX-512.
func int8AVX512() form {
	return form{
		widths: []int{1, 2, 3, 4, 6, 8, 10, 12},
		prepare: func(dst unsafe.Pointer, stride int, x []float32) {
			if len(x) > 0 {
				quantizeAVX512((*byte)(dst), stride, &x[0], len(x)/blockLen)
			}
		},
		kernels: [dtypes]kernel{
			tensor.Q4_0: {
				one: []func(*tile){int8Q4_0_1x1AVX512, int8Q4_0_1x2AVX512, int8Q4_0_1x3AVX512, int8Q4_0_1x4AVX512,
					int8Q4_0_1x6AVX512, int8Q4_0_1x8AVX512, int8Q4_0_1x10AVX512, int8Q4_0_1x12AVX512},
				two: []func(*tile){int8Q4_0_2x1AVX512, int8Q4_0_2x2AVX512, int8Q4_0_2x3AVX512, int8Q4_0_2x4AVX512},
			},
			tensor.Q4_1: {
				one: []func(*tile){int8Q4_1_1x1AVX512, int8Q4_1_1x2AVX512, int8Q4_1_1x3AVX512, int8Q4_1_1x4AVX512,
					int8Q4_1_1x6AVX512, int8Q4_1_1x8AVX512, int8Q4_1_1x10AVX512, int8Q4_1_1x12AVX512},
				two: []func(*tile){int8Q4_1_2x1AVX512, int8Q4_1_2x2AVX512, int8Q4_1_2x3AVX512, int8Q4_1_2x4AVX512},
			},
			tensor.Q5_0: {
				one: []func(*tile){int8Q5_0_1x1AVX512, int8Q5_0_1x2AVX512, int8Q5_0_1x3AVX512, int8Q5_0_1x4AVX512,
					int8Q5_0_1x6AVX512, int8Q5_0_1x8AVX512, int8Q5_0_1x10AVX512, int8Q5_0_1x12AVX512},
				two: []func(*tile){int8Q5_0_2x1AVX512, int8Q5_0_2x2AVX512, int8Q5_0_2x3AVX512, int8Q5_0_2x4AVX512},
			},
			tensor.Q5_1: {
				one: []func(*tile){int8Q5_1_1x1AVX512, int8Q5_1_1x2AVX512, int8Q5_1_1x3AVX512, int8Q5_1_1x4AVX512,
					int8Q5_1_1x6AVX512, int8Q5_1_1x8AVX512, int8Q5_1_1x10AVX512, int8Q5_1_1x12AVX512},
				two: []func(*tile){int8Q5_1_2x1AVX512, int8Q5_1_2x2AVX512, int8Q5_1_2x3AVX512, int8Q5_1_2x4AVX512},
			},
			tensor.Q8_0: {
				one: []func(*tile){int8Q8_0_1x1AVX512, int8Q8_0_1x2AVX512, int8Q8_0_1x3AVX512, int8Q8_0_1x4AVX512,
					int8Q8_0_1x6AVX512, int8Q8_0_1x8AVX512, int8Q8_0_1x10AVX512, int8Q8_0_1x12AVX512},
				two: []func(*tile){int8Q8_0_2x1AVX512, int8Q8_0_2x2AVX512, int8Q8_0_2x3AVX512, int8Q8_0_2x4AVX512},
			},
			tensor.Q4_K: {
				one: []func(*tile){int8Q4_K_1x1AVX512, int8Q4_K_1x2AVX512, int8Q4_K_1x3AVX512, int8Q4_K_1x4AVX512,
					int8Q4_K_1x6AVX512, int8Q4_K_1x8AVX512, int8Q4_K_1x10AVX512, int8Q4_K_1x12AVX512},
				two: []func(*tile){int8Q4_K_2x1AVX512, int8Q4_K_2x2AVX512, int8Q4_K_2x3AVX512, int8Q4_K_2x4AVX512},
			},
			tensor.Q5_K: {
				one: []func(*tile){int8Q5_K_1x1AVX512, int8Q5_K_1x2AVX512, int8Q5_K_1x3AVX512, int8Q5_K_1x4AVX512,
					int8Q5_K_1x6AVX512, int8Q5_K_1x8AVX512, int8Q5_K_1x10AVX512, int8Q5_K_1x12AVX512},
				two: []func(*tile){int8Q5_K_2x1AVX512, int8Q5_K_2x2AVX512, int8Q5_K_2x3AVX512, int8Q5_K_2x4AVX512},
			},
			tensor.Q6_K: {
				one: []func(*tile){int8Q6_K_1x1AVX512, int8Q6_K_1x2AVX512, int8Q6_K_1x3AVX512, int8Q6_K_1x4AVX512,
					int8Q6_K_1x6AVX512, int8Q6_K_1x8AVX512, int8Q6_K_1x10AVX512, int8Q6_K_1x12AVX512},
				two: []func(*tile){int8Q6_K_2x1AVX512, int8Q6_K_2x2AVX512, int8Q6_K_2x3AVX512, int8Q6_K_2x4AVX512},
			},
		},
	}
}
