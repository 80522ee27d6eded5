package kerneltest

import (
	"math"
	"testing"

	"github.com/farlabs/inference/kernels/tensor"
)

// unit is half a unit in the last place of numbers just above 1: the relative
// error of one rounding to dtype.
var unit = map[tensor.DType]float64{
	tensor.F32:  0x1p-24,
	tensor.F16:  0x1p-11,
	tensor.BF16: 0x1p-8,
}

// Tolerance returns the greatest error that a sum of k products may have,
// relative to the sum of the products' magnitudes, when it is computed in 16
// lanes of float32 and rounded to dtype: one rounding for the product,
// ⌈k/16⌉ − 1 for its lane, 4 for the tree. A sum of one term, k = 1, stands for
// an op that adds nothing: 4 roundings.
//
//	k      16      256     576     1536    4096    53248
//	F32    3.0e-7  1.2e-6  2.4e-6  6.0e-6  1.6e-5  2.0e-4
//
// Higham, Accuracy and Stability of Numerical Algorithms, 4.2.
func Tolerance(dtype tensor.DType, k int) float64 {
	u := unit[tensor.F32] * float64((k+15)/16+4)
	if dtype != tensor.F32 {
		u += unit[dtype]
	}
	return u
}

// Near fails the test unless got is within Tolerance of want, relative to
// magnitude: the sum of the magnitudes of the terms, or of the result where
// nothing is added. It returns whether it was.
func Near(t testing.TB, got float32, want, magnitude float64, dtype tensor.DType, k int) bool {
	t.Helper()
	if e := math.Abs(float64(got) - want); !(e <= Tolerance(dtype, k)*magnitude+1e-37) {
		t.Errorf("%v, want %v: error %.3g, tolerance %.3g", got, want, e, Tolerance(dtype, k)*magnitude)
		return false
	}
	return true
}

// Same fails the test unless got and want have the same bits.
func Same(t testing.TB, what string, got, want []float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d elements, want %d", what, len(got), len(want))
	}
	for i := range got {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			t.Fatalf("%s: element %d: %v (%#08x), want %v (%#08x)", what, i,
				got[i], math.Float32bits(got[i]), want[i], math.Float32bits(want[i]))
		}
	}
}

// Equal is Same, but that any NaN equals any other: which one comes of two is
// the processor's choice.
func Equal(t testing.TB, what string, got, want []float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d elements, want %d", what, len(got), len(want))
	}
	for i := range got {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) && (got[i] == got[i] || want[i] == want[i]) {
			t.Fatalf("%s: element %d: %v (%#08x), want %v (%#08x)", what, i,
				got[i], math.Float32bits(got[i]), want[i], math.Float32bits(want[i]))
		}
	}
}
