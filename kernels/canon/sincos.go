package canon

import "math"

// Sincos returns the sine and cosine of x radians, |x| < 2²⁸, computed in
// float64 and rounded: the error is that of one rounding, 0.5 units in the last
// place but for ties nearer than 10⁻¹⁶. For larger or non-finite x the result
// is unspecified, yet the same on every processor.
//
// x = j·π/2 + r, π/2 being split in three parts of which the first two, times
// j, are exact; the polynomials are those of Cephes' sin and cos (S. Moshier).
func Sincos(x float32) (sin, cos float32) {
	const (
		twoOverPi = 0.63661977236758134308
		magic     = 3 << 51 // adding it rounds to an integer
		// Twice Cephes' parts of π/4: 24 bits, 24 bits, the rest.
		pa = 2 * 7.85398125648498535156e-1
		pb = 2 * 3.77489470793079817668e-8
		pc = 2 * 2.69515142907905952645e-15
	)
	y := float64(x)
	t := float64(y*twoOverPi) + magic
	j := t - magic
	r := y - float64(j*pa)
	r -= float64(j * pb)
	r -= float64(j * pc)
	z := float64(r * r)

	s := 1.58962301576546568060e-10
	s = float64(s*z) - 2.50507477628578072866e-8
	s = float64(s*z) + 2.75573136213857245213e-6
	s = float64(s*z) - 1.98412698295895385996e-4
	s = float64(s*z) + 8.33333333332211858878e-3
	s = float64(s*z) - 1.66666666666666307295e-1
	s = r + float64(float64(s*z)*r)

	c := -1.13585365213876817300e-11
	c = float64(c*z) + 2.08757008419747316778e-9
	c = float64(c*z) - 2.75573141792967388112e-7
	c = float64(c*z) + 2.48015872888517045348e-5
	c = float64(c*z) - 1.38888888888730564116e-3
	c = float64(c*z) + 4.16666666666665929218e-2
	c = 1 - float64(0.5*z) + float64(float64(c*z)*z)

	switch math.Float64bits(t) & 3 { // j mod 4, also where j fits no integer
	case 0:
		return float32(s), float32(c)
	case 1:
		return float32(c), float32(-s)
	case 2:
		return float32(-s), float32(-c)
	}
	return float32(-c), float32(s)
}
