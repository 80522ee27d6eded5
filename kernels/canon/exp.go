package canon

import "math"

// Exp returns eˣ with an error below 1 unit in the last place: 0.991 at worst,
// at x = 70.4, measured over all float32. Exp(0) is 1 exactly. Results below
// 2⁻¹²⁶, the smallest normal number, are 0; those above the largest number are
// +Inf; Exp(NaN) is NaN.
//
// x = n·ln 2 + r with |r| ≤ ln 2 / 2, ln 2 being split so that n times its high
// part is exact; eʳ = 1 + r + r²·p(r), where p is the degree-5 minimax
// polynomial of Cephes' expf (S. Moshier).
func Exp(x float32) float32 {
	const (
		log2e = 1.44269504
		ln2hi = 0.693359375
		ln2lo = -2.12194440e-4
		magic = 3 << 22 // adding it rounds to an integer, which is then in the low bits
	)
	switch {
	case !(x < 88.72284): // above ln of the largest number, or NaN
		if x != x {
			return x
		}
		return float32(math.Inf(1))
	case x < -87.33654:
		return 0
	}
	t := float32(x*log2e) + magic
	n := t - magic
	r := x - float32(n*ln2hi)
	r -= float32(n * ln2lo)
	p := float32(1.9875691500e-4)
	p = float32(p*r) + 1.3981999507e-3
	p = float32(p*r) + 8.3334519073e-3
	p = float32(p*r) + 4.1665795894e-2
	p = float32(p*r) + 1.6666665459e-1
	p = float32(p*r) + 5.0000001201e-1
	p = float32(p*float32(r*r)) + r + 1
	// n reaches 128, for which 2ⁿ is no float32: scale in two steps.
	k := int32(math.Float32bits(t)) - 0x4b40_0000
	half := k >> 1
	return p * pow2(half) * pow2(k-half)
}

// pow2 returns 2ᵏ for −126 ≤ k ≤ 127.
func pow2(k int32) float32 { return math.Float32frombits(uint32(k+127) << 23) }

// SiLU returns x/(1+e⁻ˣ).
func SiLU(x float32) float32 { return x / (1 + Exp(-x)) }
