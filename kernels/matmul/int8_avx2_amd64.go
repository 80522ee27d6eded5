//go:build amd64 && !purego

package matmul

import (
	"unsafe"

	"github.com/farlabs/inference/kernels/tensor"
)

//go:generate go -C ../_asm run ./matmul -out ../matmul/int8_avx2_amd64.s -decls ../matmul/int8_avx2_decl_amd64.go -pkg matmul int8AVX2

// int8AVX2 returns the form of activations of eight bits for AVX2.
func int8AVX2() form {
	return form{
		widths:  []int{1, 2, 4},
		prepare: quantize,
		kernels: [dtypes]kernel{
			tensor.Q4_0: {
				one: []func(*tile){int8Q4_0_1x1AVX2, int8Q4_0_1x2AVX2, int8Q4_0_1x4AVX2},
				two: []func(*tile){int8Q4_0_2x1AVX2},
			},
			tensor.Q4_1: {
				one: []func(*tile){int8Q4_1_1x1AVX2, int8Q4_1_1x2AVX2, int8Q4_1_1x4AVX2},
				two: []func(*tile){int8Q4_1_2x1AVX2},
			},
			tensor.Q5_0: {
				one: []func(*tile){int8Q5_0_1x1AVX2, int8Q5_0_1x2AVX2, int8Q5_0_1x4AVX2},
				two: []func(*tile){int8Q5_0_2x1AVX2},
			},
			tensor.Q5_1: {
				one: []func(*tile){int8Q5_1_1x1AVX2, int8Q5_1_1x2AVX2, int8Q5_1_1x4AVX2},
				two: []func(*tile){int8Q5_1_2x1AVX2},
			},
			tensor.Q8_0: {
				one: []func(*tile){int8Q8_0_1x1AVX2, int8Q8_0_1x2AVX2, int8Q8_0_1x4AVX2},
				two: []func(*tile){int8Q8_0_2x1AVX2},
			},
			tensor.Q4_K: {
				one: []func(*tile){int8Q4_K_1x1AVX2, int8Q4_K_1x2AVX2, int8Q4_K_1x4AVX2},
				two: []func(*tile){int8Q4_K_2x1AVX2},
			},
			tensor.Q5_K: {
				one: []func(*tile){int8Q5_K_1x1AVX2, int8Q5_K_1x2AVX2, int8Q5_K_1x4AVX2},
				two: []func(*tile){int8Q5_K_2x1AVX2},
			},
			tensor.Q6_K: {
				one: []func(*tile){int8Q6_K_1x1AVX2, int8Q6_K_1x2AVX2, int8Q6_K_1x4AVX2},
				two: []func(*tile){int8Q6_K_2x1AVX2},
			},
		},
	}
}

// quantize prepares activations of eight bits. Registers twice as wide take
// longer for it (about 550 against 446 ns for a row of 2048, Zen 4), so it serves
// AVX-512 too.
func quantize(dst unsafe.Pointer, stride int, x []float32) {
	if len(x) > 0 {
		quantizeAVX2((*byte)(dst), stride, &x[0], len(x)/blockLen)
	}
}
