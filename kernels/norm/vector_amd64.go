//go:build amd64 && !purego

package norm

import "github.com/farlabs/inference/kernels/device"

//go:generate go -C ../_asm run ./vector -out ../norm/norm_amd64.s -stubs ../norm/asm_amd64.go -pkg norm

// squaresVectors sets sums to the lanes of the sum of squares over the first
// whole groups of 16 elements and returns how many elements that are.
func squaresVectors(sums *[16]float32, x []float32) int {
	n := len(x) &^ 15
	if n == 0 {
		return 0
	}
	switch device.Kernels() {
	case device.AVX512:
		squaresAVX512(sums, &x[0], n)
	case device.AVX2:
		squaresAVX2(sums, &x[0], n)
	default:
		return 0
	}
	return n
}

// scaleVectors writes x·scale·weight for the first whole groups of 16 elements
// and returns how many elements that are.
func scaleVectors(dst, x, weight []float32, scale float32) int {
	n := len(dst) &^ 15
	if n == 0 {
		return 0
	}
	switch device.Kernels() {
	case device.AVX512:
		scaleAVX512(&dst[0], &x[0], &weight[0], scale, n)
	case device.AVX2:
		scaleAVX2(&dst[0], &x[0], &weight[0], scale, n)
	default:
		return 0
	}
	return n
}
