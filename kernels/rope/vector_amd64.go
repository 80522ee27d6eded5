//go:build amd64 && !purego

package rope

import "github.com/farlabs/inference/kernels/device"

//go:generate go -C ../_asm run ./vector -out ../rope/rope_amd64.s -stubs ../rope/asm_amd64.go -pkg rope

// rotateVectors rotates the heads of a row with assembly, or does nothing and
// reports false: where plain Go is wanted, or the pairs are no whole vectors.
func rotateVectors(row []float32, headDim int, sin, cos []float32, style Style) bool {
	half := len(sin)
	if device.Kernels() == device.Generic {
		return false
	}
	switch {
	case style == Half && half%8 == 0:
		halfAVX2(&row[0], len(row)/headDim, 4*headDim, &sin[0], &cos[0], half)
	case style == Interleaved && half%4 == 0:
		interleavedAVX2(&row[0], len(row)/headDim, 4*headDim, &sin[0], &cos[0], half)
	default:
		return false
	}
	return true
}
