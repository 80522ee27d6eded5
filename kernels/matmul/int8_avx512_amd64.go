//go:build amd64 && !purego

package matmul

//go:generate go -C ../_asm run ./matmul -out ../matmul/int8_avx512_amd64.s -decls ../matmul/int8_avx512_decl_amd64.go -pkg matmul int8AVX512

// int8AVX512 returns the form of 8-bit activations for AVX-512.
func int8AVX512() form {
	return form{
		widths:  int8WidthsAVX512,
		prepare: quantize,
		kernels: int8KernelsAVX512,
	}
}
