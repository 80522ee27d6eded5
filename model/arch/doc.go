// Package arch says what a model is made of, as data.
//
// In goes a checkpoint's metadata and the names and shapes of its tensors
// ([Metadata]); out comes a [Spec]: sizes, the mixer, MLP, norm and rotation of
// each block, and the tensors that hold the weights. A family is one literal
// (llama.go) that [FromGGUF] fills with the file's sizes. The zero value of a
// field means that the behaviour is absent.
//
// A file that asks for anything else, by a metadata key or a tensor that would
// change results, is refused by name with an [*UnsupportedError]: a model
// answers right or not at all.
//
// The package computes nothing, reads no tensor data, and knows nothing of
// kernels or caches; package model interprets what stands here.
package arch
