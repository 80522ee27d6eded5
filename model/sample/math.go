package sample

import "math"

// ln 2 in two parts; products of the first with |k| < 2¹¹ are exact.
const (
	ln2Hi = 6.93147180369123816490e-01
	ln2Lo = 1.90821492927058770002e-10
)

// log returns the natural logarithm of a normal x > 0 within two units in the
// last place. It is written out for the reason that [logits.Exp] is.
//
// x = 2ᵏ·m with √½ ≤ m < √2, and log m = 2·artanh(s), s = (m−1)/(m+1), by its
// series to s²³; |s| ≤ 0.172, so the remainder is below 2⁻⁶³ of it.
func log(x float64) float64 {
	m, k := math.Frexp(x)
	if m < math.Sqrt2/2 {
		m *= 2
		k--
	}
	s := (m - 1) / (m + 1)
	z := float64(s * s)
	sum := 0.0
	for i := 23; i >= 3; i -= 2 {
		sum = float64(sum*z) + 1/float64(i)
	}
	// 2s + 2s·z·sum: the small part is added last.
	series := float64(2*s) + float64(float64(2*s)*float64(z*sum))
	return float64(float64(k)*ln2Hi) + (series + float64(float64(k)*ln2Lo))
}
