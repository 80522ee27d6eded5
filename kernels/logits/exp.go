package logits

import "math"

// ln 2 in two parts; products of the first with |k| < 2¹¹ are exact.
const (
	ln2Hi = 6.93147180369123816490e-01
	ln2Lo = 1.90821492927058770002e-10
)

// Exp returns eˣ for x ≤ 0 within two units in the last place; below −708 it
// is 0, so that no result is subnormal. Exp(−∞) and Exp(NaN) are 0.
//
// math.Exp differs in its last bits from processor to processor (assembly on
// some, fused multiply-adds on others), and a token must not depend on where it
// was sampled. float64(…) around each product forbids fusing it with an
// addition.
//
// x = k·ln 2 + r with |r| ≤ ln 2 / 2, and eʳ by its Taylor series to r¹³,
// whose remainder is below 2⁻⁵⁷, 1, even and odd powers apart.
func Exp(x float64) float64 {
	if !(x >= -708) {
		return 0
	}
	k := math.Floor(float64(x*math.Log2E) + 0.5)
	r := (x - float64(k*ln2Hi)) - float64(k*ln2Lo)
	z := float64(r * r)
	even := float64(z * (1./2 + float64(z*(1./24+float64(z*(1./720+float64(z*(1./40320+float64(z*(1./3628800+float64(z*(1./479001600))))))))))))
	odd := 1 + float64(z*(1./6+float64(z*(1./120+float64(z*(1./5040+float64(z*(1./362880+float64(z*(1./39916800+float64(z*(1./6227020800))))))))))))
	sum := 1 + (even + float64(r*odd))
	return float64(sum * math.Float64frombits(uint64(int64(k)+1023)<<52))
}
