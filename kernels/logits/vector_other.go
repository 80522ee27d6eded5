//go:build !amd64 || purego

package logits

import "math"

// There is no assembly: none of the elements are done.

func cleanVectors(_, _ []float32) int { return 0 }

func maxVectors(_ []float32) (high float32, done int) { return float32(math.Inf(-1)), 0 }

func firstVectors(_ []float32, _ float32) (i int, found bool) { return 0, false }

func weightsVectors(_, _ []float64, _ []float32, _ float32, _ float64) int { return 0 }
