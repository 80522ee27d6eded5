package canon

import "math"

// FMA returns a·b + c rounded once, as the instruction of that name does, also
// where the result is subnormal. Which NaN comes out is unspecified.
//
// The product of two float32 is exact in float64; the sum is rounded to float64
// and then to float32. The second rounding goes wrong only if the first one
// made a tie of what was none, which it cannot unless the 28 bits below half of
// float32's last place are zero; then slow takes the first one's error along.
func FMA(a, b, c float32) float32 {
	p := float64(float64(a) * float64(b))
	s := p + float64(c)
	if math.Float64bits(s)&(1<<28-1) != 0 {
		return float32(s)
	}
	return fmaSlow(p, float64(c), s)
}

// fmaSlow rounds p + c, which is s in float64, to float32 by way of an odd
// float64: one whose last bit is set wherever the sum is not exact, so that it
// is never a tie (Boldo and Melquiond, Emulation of FMA and correctly rounded
// sums, 2008).
//
//go:noinline
func fmaSlow(p, c, s float64) float32 {
	t := s - p
	e := (p - (s - t)) + (c - t) // Knuth's two-sum: p + c = s + e exactly
	u := math.Float64bits(s)
	if u&1 == 0 && (e < 0 || e > 0) { // neither where s is infinite or NaN
		if (e > 0) == (s > 0) {
			u++
		} else {
			u--
		}
	}
	return float32(math.Float64frombits(u))
}
