//go:build !amd64 || purego

package matmul

func formsAVX2() *[numActivations]form { return new([numActivations]form) }

func formsAVX512() *[numActivations]form { return new([numActivations]form) }
