// Package logits looks at rows of logits: what sampling does to a whole
// vocabulary for each token.
//
// In: a row of float32, one element per id. Out: its highest element, where
// elements above a limit stand, or float64 weights exp((x − high) ÷ temperature)
// with their sums. All of it runs on the calling goroutine: a row is little
// work beside the matrix product that it came from.
//
// Exponentials and sums have the same bits on every processor. The package
// keeps no state and knows nothing of tokens or of randomness.
package logits

import "math"

// Block is the number of elements that share a sum.
const Block = 256

// lanes of a block's sum: lane i adds the elements i, i+16, i+32 …
const lanes = 16

// Clean writes x to dst, which may be x, with −∞ for NaN and the largest
// float32 for +∞.
func Clean(dst, x []float32) {
	dst = dst[:len(x)]
	for i := cleanVectors(dst, x); i < len(x); i++ {
		dst[i] = Cleaned(x[i])
	}
}

// Cleaned is [Clean] of one element.
func Cleaned(x float32) float32 {
	if x <= math.MaxFloat32 { // false for NaN
		return x
	}
	if x > 0 {
		return math.MaxFloat32
	}
	return float32(math.Inf(-1))
}

// Max returns the highest element. NaN counts as −∞, which is also what an
// empty row gives.
func Max(x []float32) float32 {
	high, done := maxVectors(x)
	for _, v := range x[done:] {
		if v > high {
			high = v
		}
	}
	return high + 0 // which of two zeros came is chance: +0
}

// First returns the first index at which x is at least limit, len(x) if there
// is none. NaN is less than any limit.
func First(x []float32, limit float32) int {
	i, found := firstVectors(x, limit)
	for ; !found && i < len(x) && !(x[i] >= limit); i++ {
	}
	return i
}

// Blocks returns the number of sums that [Weights] writes for n elements.
func Blocks(n int) int { return (n + Block - 1) / Block }

// Weights writes to dst the weights exp((x − high)·scale) of a clean row, whose
// highest element is high, and to sums the sum of each block of [Block] of
// them; the last may be shorter. scale is positive. dst has len(x) elements,
// sums Blocks(len(x)).
//
// A sum has 16 lanes, which are added pairwise over distances 8, 4, 2 and 1.
// Weights are not negative, so neither a sum nor its partial sums are below any
// of the weights in them.
func Weights(dst, sums []float64, x []float32, high float32, scale float64) {
	dst, sums = dst[:len(x)], sums[:Blocks(len(x))]
	for b := weightsVectors(dst, sums, x, high, scale); b < len(sums); b++ {
		var s [lanes]float64
		end := min((b+1)*Block, len(x))
		for i := b * Block; i < end; i++ {
			w := Exp(float64((float64(x[i]) - float64(high)) * scale))
			dst[i] = w
			s[i%lanes] += w
		}
		sums[b] = tree(&s)
	}
}

func tree(s *[lanes]float64) float64 {
	for d := lanes / 2; d > 0; d /= 2 {
		for i := range d {
			s[i] += s[i+d]
		}
	}
	return s[0]
}
