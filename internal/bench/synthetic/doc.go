// Package synthetic writes models of a given shape with random weights as GGUF
// files that we and llama.cpp read alike: speed does not depend on what the
// weights are, and such a file needs no download.
//
// In go a [Model] and a seed, out comes a file, the same bytes everywhere. The
// weights are packed blocks of random codes whose scales keep activations
// finite; the vocabulary is a byte-level one with made-up merges. [Plain] makes
// of a quantised model the one whose weights are the same numbers in float32.
// The package knows nothing of kernels or of measuring.
package synthetic
