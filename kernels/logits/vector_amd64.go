//go:build amd64 && !purego

package logits

import (
	"math"

	"github.com/farlabs/inference/kernels/device"
)

//go:generate go -C ../_asm run ./vector -out ../logits/logits_amd64.s -stubs ../logits/asm_amd64.go -pkg logits

// What one call of assembly is given at most, so that it ends soon: elements
// that are looked at, and blocks of weights.
const (
	stretch = 1 << 16
	batch   = 16
)

// cleanVectors does whole groups of 16 elements and returns how many elements
// that are.
func cleanVectors(dst, x []float32) int {
	f := cleanAVX2
	switch device.Kernels() {
	case device.Generic:
		return 0
	case device.AVX512:
		f = cleanAVX512
	}
	n := len(x) &^ 15
	for lo := 0; lo < n; lo += stretch {
		f(&dst[lo], &x[lo], min(stretch, n-lo))
	}
	return n
}

// maxVectors returns the highest of the first elements, and how many that are.
func maxVectors(x []float32) (high float32, done int) {
	high = float32(math.Inf(-1))
	f := maxAVX2
	switch device.Kernels() {
	case device.Generic:
		return high, 0
	case device.AVX512:
		f = maxAVX512
	}
	n := len(x) &^ 15
	for lo := 0; lo < n; lo += stretch {
		if v := f(&x[lo], min(stretch, n-lo)); v > high {
			high = v
		}
	}
	return high, n
}

// firstVectors returns the index if it is among the first elements, or how many
// they are.
func firstVectors(x []float32, limit float32) (i int, found bool) {
	f := firstAVX2
	switch device.Kernels() {
	case device.Generic:
		return 0, false
	case device.AVX512:
		f = firstAVX512
	}
	n := len(x) &^ 15
	for lo := 0; lo < n; lo += stretch {
		m := min(stretch, n-lo)
		if i := f(&x[lo], limit, m); i < m {
			return lo + i, true
		}
	}
	return n, false
}

// weightsVectors does the first whole blocks and returns how many.
func weightsVectors(dst, sums []float64, x []float32, high float32, scale float64) int {
	set := device.Kernels()
	if set == device.Generic {
		return 0
	}
	n := len(x) / Block
	var s [batch][lanes]float64 // on the stack: no call through a variable sees it
	for b := 0; b < n; b += batch {
		m := min(batch, n-b)
		if set == device.AVX512 {
			weightsAVX512(&dst[b*Block], &s[0][0], &x[b*Block], float64(high), scale, m)
		} else {
			weightsAVX2(&dst[b*Block], &s[0][0], &x[b*Block], float64(high), scale, m)
		}
		for i := range m {
			sums[b+i] = tree(&s[i])
		}
	}
	return n
}
