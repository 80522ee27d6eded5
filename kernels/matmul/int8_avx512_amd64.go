//go:build amd64 && !purego

package matmul

import "unsafe"

//go:generate go -C ../_asm run ./matmul -out ../matmul/int8_avx512_amd64.s -decls ../matmul/int8_avx512_decl_amd64.go -pkg matmul int8AVX512

// int8AVX512 returns the form of 8-bit activations for AVX-512.
func int8AVX512() form {
	return form{
		widths: int8WidthsAVX512,
		prepare: func(dst unsafe.Pointer, stride int, x []float32) {
			if len(x) > 0 {
				quantizeAVX512((*byte)(dst), stride, &x[0], len(x)/blockLen)
			}
		},
		kernels: int8KernelsAVX512,
	}
}
