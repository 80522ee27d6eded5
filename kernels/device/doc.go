// Package device runs operations on a processor.
//
// A [Queue] executes ops in the order they are enqueued. The CPU queue, the
// only one so far, runs each op at once, spread over a pool of workers:
// [Queue.Parallel] cuts a range of indices into chunks that idle workers take
// one by one. Which worker takes which chunk is chance, so an op must compute
// each index in a way that does not depend on the chunk around it.
//
// The package owns the workers and their scratch memory. It does no arithmetic
// and knows nothing of tensors or models.
package device
