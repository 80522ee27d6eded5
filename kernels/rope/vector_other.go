//go:build !amd64 || purego

package rope

// rotateVectors reports that there is no assembly.
func rotateVectors(_ []float32, _ int, _, _ []float32, _ Style) bool { return false }
