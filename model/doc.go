// Package model computes with part of a model: a [Span] holds consecutive
// transformer blocks, [Ends] the embedding and the head.
//
// Hidden states go in and come out as float32 rows [n, d], changed in place by
// [Span.Forward]; [Ends.Embed] makes them from token ids, [Ends.Head] turns
// them into logits [n, V]. A [Pass] is a list of rows of any branches of any
// sessions, prompt chunks and single tokens mixed. What a row's result is
// depends on its own branch alone: not on the other rows of the pass, on how
// the prompt was cut into passes, on the number of workers, nor on how the
// blocks are cut into spans, because the residual is rounded to the pass's wire
// dtype after every block.
//
// Keys and values live in a [Cache] of pages (16 positions of one block) under
// a byte budget; a [Branch] is one sequence's pages, forked by sharing them.
//
// A [Source] loads both: matrices packed for the kernels, from a cache of files
// that processes share, or packed into memory where there is none.
//
// Which blocks exist and what they do stands in an arch.Spec, interpreted by
// block.go and one file per mixer; the arithmetic is in kernels. The package
// owns its caches and scratch memory, borrows the checkpoint's packed weights,
// and knows nothing of sessions, prices or the network.
package model
