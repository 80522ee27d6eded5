// Package ceiling measures what the machine could do at most: bytes read from
// memory and integer operations in a second. Decode is bounded by the first,
// prefill by the second, and what kernels reach is told as a share of them,
// measured in the same run because a shared machine drifts.
//
// Nothing goes in but the number of threads; bytes/s and operations/s come out,
// medians of the rounds. The package knows nothing of models.
package ceiling
