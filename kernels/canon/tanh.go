package canon

import "math"

// Tanh returns the hyperbolic tangent of x with an error below 1.5 units in
// the last place. It is odd; Tanh(±0) is +0, Tanh(NaN) is NaN.
//
// Below 0.625 it is x + x³·p(x²) with the degree-4 polynomial of Cephes' tanhf
// (S. Moshier), above it 1 − 2/(e²ˣ + 1), which is 1 from 10 on.
func Tanh(x float32) float32 {
	const sign = 1 << 31
	z := math.Float32frombits(math.Float32bits(x) &^ sign)
	if z < 0.625 {
		s := float32(x * x)
		p := float32(-5.70498872745e-3)
		p = float32(p*s) + 2.06390887954e-2
		p = float32(p*s) - 5.37397155531e-2
		p = float32(p*s) + 1.33314422036e-1
		p = float32(p*s) - 3.33332819422e-1
		return float32(float32(p*s)*x) + x
	}
	if z > 10 {
		z = 10
	}
	y := 1 - 2/(Exp(2*z)+1)
	return math.Float32frombits(math.Float32bits(y) | math.Float32bits(x)&sign)
}
