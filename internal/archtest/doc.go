// Package archtest holds the architecture by test: which package may import
// which, that every package says what it is, that each foreign world has one
// door, and that nothing but the CUDA device needs cgo. It has no code of its
// own.
package archtest
