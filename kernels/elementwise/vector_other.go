//go:build !amd64 || purego

package elementwise

// There is no assembly: none of the elements are done, plain Go does all.

func addVectors(_, _ []float32) int { return 0 }

func gateSiLUVectors(_, _, _ []float32) int { return 0 }

func roundBF16Vectors(_ []float32) int { return 0 }

func putBF16Vectors(_ []byte, _ []float32) int { return 0 }

func getBF16Vectors(_ []float32, _ []byte) int { return 0 }

func putF16Vectors(_ []byte, _ []float32) int { return 0 }

func getF16Vectors(_ []float32, _ []byte) int { return 0 }
