//go:build amd64 && !purego

package elementwise

import "github.com/farlabs/inference/kernels/device"

//go:generate go -C ../_asm run ./vector -out ../elementwise/elementwise_amd64.s -stubs ../elementwise/asm_amd64.go -pkg elementwise

// Each of these computes the first whole groups of 16 elements with assembly
// and returns how many elements that are; plain Go does the rest.

func addVectors(dst, x []float32) int {
	n := len(dst) &^ 15
	if n == 0 {
		return 0
	}
	switch device.Kernels() {
	case device.AVX512:
		addAVX512(&dst[0], &x[0], n)
	case device.AVX2:
		addAVX2(&dst[0], &x[0], n)
	default:
		return 0
	}
	return n
}

func gateSiLUVectors(dst, gate, up []float32) int {
	n := len(dst) &^ 15
	if n == 0 {
		return 0
	}
	switch device.Kernels() {
	case device.AVX512:
		gateSiLUAVX512(&dst[0], &gate[0], &up[0], n)
	case device.AVX2:
		gateSiLUAVX2(&dst[0], &gate[0], &up[0], n)
	default:
		return 0
	}
	return n
}

func roundBF16Vectors(x []float32) int {
	n := len(x) &^ 15
	if n == 0 {
		return 0
	}
	switch device.Kernels() {
	case device.AVX512:
		roundBF16AVX512(&x[0], n)
	case device.AVX2:
		roundBF16AVX2(&x[0], n)
	default:
		return 0
	}
	return n
}

// convert runs one of the conversions between 2n bytes and n numbers.
func convert(x []float32, raw []byte, asm func(x *float32, raw *byte, n int)) int {
	n := len(x) &^ 15
	if n == 0 || device.Kernels() == device.Generic {
		return 0
	}
	for lo := 0; lo < n; lo += grain { // a call of assembly ends soon
		asm(&x[lo], &raw[2*lo], min(grain, n-lo))
	}
	return n
}

func putBF16Vectors(dst []byte, x []float32) int {
	return convert(x, dst, func(x *float32, raw *byte, n int) { putBF16AVX2(raw, x, n) })
}

func getBF16Vectors(x []float32, src []byte) int { return convert(x, src, getBF16AVX2) }

func putF16Vectors(dst []byte, x []float32) int {
	return convert(x, dst, func(x *float32, raw *byte, n int) { putF16AVX2(raw, x, n) })
}

func getF16Vectors(x []float32, src []byte) int { return convert(x, src, getF16AVX2) }
