//go:build amd64 && !purego

package matmul

func formsAVX2() *[numActivations]form {
	return &[numActivations]form{Int8: int8AVX2(), F32: f32AVX2()}
}

func formsAVX512() *[numActivations]form {
	return &[numActivations]form{Int8: int8AVX512(), F32: f32AVX512()}
}
