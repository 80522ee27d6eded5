package rope

import (
	"fmt"
	"math"
	"math/big"
)

// Frequencies returns the angular frequencies, in radians per position, of the
// dims/2 pairs of a rotation of dims dimensions: theta^(−2j/dims), correctly
// rounded, divided by factors[j] where factors is not nil (the tensor
// rope_freqs of a GGUF file, which carries a model's scaling). theta is finite
// and at least 1.
//
// math.Pow differs from processor to processor in its last place; this does not.
func Frequencies(dims int, theta float64, factors []float32) []float32 {
	half := dims / 2
	if dims < 0 || dims%2 != 0 || !(theta >= 1) || math.IsInf(theta, 1) || factors != nil && len(factors) != half {
		panic(fmt.Sprintf("rope: frequencies of %d dimensions, theta %v, %d factors", dims, theta, len(factors)))
	}
	inv := make([]float32, half)
	if half == 0 {
		return inv
	}
	root := nthRoot(theta, half)
	p := big.NewFloat(1).SetPrec(precision)
	for j := range inv {
		q := new(big.Float).SetPrec(precision).Quo(big.NewFloat(1), p)
		inv[j], _ = q.Float32()
		if factors != nil {
			inv[j] /= factors[j]
		}
		p.Mul(p, root)
	}
	return inv
}

// precision of the computation in bits; 24 are used in the end.
const precision = 160

// nthRoot returns x^(1/n) for x ≥ 1 to about precision bits, by Newton's method
// on y^n − x: y ← y − y/n·(1 − x/yⁿ). The start has 45 good bits or more and
// each step doubles them.
func nthRoot(x float64, n int) *big.Float {
	num := func(v float64) *big.Float { return new(big.Float).SetPrec(precision).SetFloat64(v) }
	y := num(math.Pow(x, 1/float64(n)))
	for range 4 {
		power := num(1)
		for range n {
			power.Mul(power, y)
		}
		step := new(big.Float).Quo(num(x), power)
		step.Sub(num(1), step)
		step.Mul(step, y)
		step.Quo(step, num(float64(n)))
		y.Sub(y, step)
	}
	return y
}
