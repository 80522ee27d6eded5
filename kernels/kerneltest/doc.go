// Package kerneltest runs one test of an op on every implementation of it, and
// supplies what such tests need: seeded data, float64 references' tolerances.
//
// A test of an op states what the op's contract says: equality of bits where
// the contract promises it (batch, cutting of the prompt, workers,
// implementations), and nearness to mathematics in float64 within [Tolerance].
package kerneltest
